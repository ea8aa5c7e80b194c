"""A metadata store that was lost or damaged, artifacts that are gone, faults that pass and faults that do not."""

import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.e2e

MODULE = """\
import errno
from pathlib import Path
from components.trainer import module

def run_fn(fn_args):
    marks = Path({folder!r})
    attempt = len(list(marks.iterdir()))
    (marks / str(attempt)).touch()
    Path(fn_args.model_run_dir).mkdir(parents=True, exist_ok=True)
    Path(fn_args.model_run_dir, f"attempt-{{attempt}}").touch()
    if attempt < {faults}:
        raise {error}
    module.run_fn(fn_args)
"""
INPUT_OUTPUT_ERROR = 'OSError(errno.EIO, "Input/output error", "rows.csv")'


@pytest.fixture(scope="module")
def ran(new_command):
    """A root after two runs, with a copy of the store from between them."""
    run = new_command()
    assert run().exit_code == 0
    store = run.root / "metadata" / "reference" / "metadata.db"
    shutil.copy(store, run.root.parent / "old.db")
    assert run("--set", "trainer.seed=2").exit_code == 0
    return run


@pytest.fixture
def run(ran, new_command, tmp_path):
    """The same, in a root of its own under the same name: artifacts know theirs by its path."""
    moved = ran.root.with_name("kept")
    shutil.copytree(ran.root, moved, symlinks=True)
    yield ran
    shutil.rmtree(ran.root)
    moved.rename(ran.root)


def delete(store):
    store.unlink()


def put_an_old_copy_back(store):
    shutil.copy(store.parents[3] / "old.db", store)


def cut(store):
    with store.open("r+b") as file:
        file.truncate(store.stat().st_size // 2)


def overwrite(store):
    with store.open("r+b") as file:
        file.seek(store.stat().st_size // 3)
        file.write(b"\0" * 40000)


@pytest.mark.parametrize("damage", [delete, put_an_old_copy_back])
def test_store_that_does_not_know_the_artifacts_is_refused(run, problems_of, damage):
    damage(run.root / "metadata" / "reference" / "metadata.db")
    before = sorted(run.root.glob("pipelines/reference/*/*/*"))
    result = run()
    assert result.exit_code == 1
    assert result.last_line.startswith("FAILED: the metadata store does not know ")
    assert "`sluice clean --keep 1 --unknown` removes these. " in result.last_line
    assert "; serving stays on version " in result.last_line
    assert sorted(run.root.glob("pipelines/reference/*/*/*")) == before
    make_whole(run, problems_of)


@pytest.mark.parametrize("damage", [cut, overwrite])
def test_damaged_store_is_refused(run, problems_of, damage):
    store = run.root / "metadata" / "reference" / "metadata.db"
    damage(store)
    damaged = store.read_bytes()
    result = run()
    assert result.exit_code == 1
    assert result.last_line.startswith(f"FAILED: the metadata store {store} is damaged (")
    assert store.read_bytes() == damaged
    refused = subprocess.run(
        [run.command[0], "clean", "--root", run.root, "--keep", "1"], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("FAILED: the metadata store ")
    store.rename(store.with_name("damaged.db"))
    make_whole(run, problems_of)


def make_whole(run, problems_of):
    clean = [run.command[0], "clean", "--root", run.root, "--keep", "1", "--unknown"]
    cleaned = subprocess.run(clean, capture_output=True, text=True)
    assert cleaned.returncode == 0, cleaned.stderr
    result = run()
    assert result.exit_code == 0, result.stdout
    assert problems_of(run.root) == []


@pytest.mark.parametrize("folder", ["Transform", "Trainer/model"])
def test_artifacts_that_are_gone_are_made_again(run, problems_of, folder):
    shutil.rmtree(run.root / "pipelines" / "reference" / folder)
    result = run("--set", "trainer.seed=2")
    assert result.exit_code == 0, result.stdout
    assert result.states[folder.partition("/")[0]] == "done"
    assert re.search(r"Notice  \d+ artifacts are gone; what wrote them runs again\.", result.stdout)
    assert problems_of(run.root) == []


def test_resume_takes_what_finished_also_where_the_config_does_without_the_cache(ran):
    without = ("--set", "enable_cache=false")
    assert set(ran(*without).states.values()) == {"done"}
    assert ran(*without, "--resume").executed == {"DataGate"}


@pytest.fixture
def module_that(tmp_path):
    """A Trainer's module file that fails so many times."""

    def write(error, faults):
        (tmp_path / "attempts").mkdir()
        file = tmp_path / "module.py"
        file.write_text(MODULE.format(folder=str(tmp_path / "attempts"), error=error, faults=faults))
        return ("--set", f"trainer.module_file={file}", "--set", "retry.backoff_secs=0.1")

    return write


def test_fault_that_passes_is_no_fault(ran, problems_of, module_that):
    result = ran(*module_that(INPUT_OUTPUT_ERROR, faults=2))
    assert result.exit_code == 0, result.stdout
    assert "Trainer is tried again in 0.1 s, attempt 2 of 3: OSError: [Errno 5] Input/output error: " in result.stdout
    assert "attempt 3 of 3: " in result.stdout
    (trainer,) = (each for each in result.record["components"] if each["component"] == "Trainer")
    attempts = {file.name for file in ran.root.glob("pipelines/reference/Trainer/model_run/*/attempt-*")}
    assert attempts == {"attempt-2"}, trainer  # what the first two wrote is gone
    assert problems_of(ran.root) == []


@pytest.mark.parametrize(
    ("error", "faults", "settings", "attempts"),
    [
        (INPUT_OUTPUT_ERROR, 9, (), 3),
        (INPUT_OUTPUT_ERROR, 9, ("--set", "retry.max_retries=0"), 1),
        (INPUT_OUTPUT_ERROR, 9, ("--set", "retry.components={Trainer: 1}"), 2),
        ('ValueError("Input/output error")', 9, (), 1),
    ],
)
def test_fault_that_stays_fails_the_run(ran, problems_of, module_that, tmp_path, error, faults, settings, attempts):
    result = ran(*module_that(error, faults), *settings)
    assert result.exit_code == 1
    assert result.last_line.startswith("FAILED: Trainer: ")
    assert len(list((tmp_path / "attempts").iterdir())) == attempts
    assert result.stdout.count("is tried again") == attempts - 1
    assert problems_of(ran.root) == []
