"""Which faults of a component can pass, what a full disk looks like, and how much room a run needs."""

import errno
import shutil
import sqlite3

import pytest
import tensorflow as tf
from ml_metadata import errors as mlmd_errors

from components.data_gate import DataRefusedError
from pipeline.config import load_config
from pipeline.disk import NoSpaceError, check_space, free_reserve, is_full, keep_reserve
from pipeline.retries import can_pass, delay_secs


def caused_by(err, text="Beam says that a step failed"):
    outer = RuntimeError(text)
    outer.__cause__ = err
    return outer


@pytest.mark.parametrize(
    "err",
    [
        OSError(errno.EIO, "Input/output error", "rows.csv"),
        OSError(errno.ESTALE, "Stale file handle"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError("timed out"),
        caused_by(OSError(errno.EIO, "Input/output error")),
        caused_by(caused_by(BrokenPipeError(errno.EPIPE, "Broken pipe"))),
        sqlite3.OperationalError("database is locked"),
        mlmd_errors.UnavailableError("Connection refused"),
        mlmd_errors.AbortedError("deadlock"),
        mlmd_errors.InternalError("Error when executing query: database is locked"),
        tf.errors.UnavailableError(None, None, "try again"),
        tf.errors.UnknownError(None, None, "model.h5; Input/output error"),
    ],
)
def test_faults_that_can_pass(err):
    assert can_pass(err)


@pytest.mark.parametrize(
    "err",
    [
        ValueError("Input/output error"),  # of the code, whatever its words
        DataRefusedError("refused"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ENOSPC, "No space left on device"),
        MemoryError(),
        KeyboardInterrupt(),
        tf.errors.InvalidArgumentError(None, None, "shapes differ"),
        tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
        sqlite3.DatabaseError("database disk image is malformed"),
        mlmd_errors.InvalidArgumentError("no such type"),
    ],
)
def test_faults_that_come_again(err):
    assert not can_pass(err)


def test_waits_double_and_end_at_a_minute():
    delays = [delay_secs(attempt, 1.0) for attempt in range(1, 11)]
    expected = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert all(0.75 * want <= delay <= 1.25 * want for delay, want in zip(delays, expected, strict=True))
    assert delay_secs(1, 0.0) == 0.0


@pytest.mark.parametrize(
    "err",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        caused_by(OSError(errno.ENOSPC, "No space left on device")),
        sqlite3.OperationalError("database or disk is full"),
        tf.errors.ResourceExhaustedError(None, None, "variables.data; No space left on device"),
    ],
)
def test_full_disk_is_known_by_any_name(err):
    assert is_full(err)


def test_other_errors_are_no_full_disk():
    loop = ValueError("fault")
    loop.__context__ = caused_by(loop)
    assert not is_full(loop)


def test_room_is_reserved_and_given_back(tmp_path):
    keep_reserve(tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_blocks * 512 >= 2**20
    free_reserve(tmp_path)
    free_reserve(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_run_needs_room_by_the_size_of_its_input(tmp_path, reference_config_file, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    config = load_config(reference_config_file)
    data = tmp_path / "rows.csv"
    with data.open("wb") as file:
        file.truncate(200 * 2**20)
    large = config.model_copy(
        update={"example_gen": config.example_gen.model_copy(update={"input_dir": str(tmp_path)})}
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 * 2**20))
    check_space(config, tmp_path)
    with pytest.raises(NoSpaceError, match=r"writes about 252 MiB, and \S+ has 100 MiB free. `sluice clean --keep 1`"):
        check_space(large, tmp_path)
