"""One command at a time: who holds a pipeline, who waits, who died with it. And what signals do meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.interruption import noted_interruption
from pipeline.run_lock import LockedError, locked_pipeline

HOLDER = """\
import sys, time
from pathlib import Path
from pipeline.run_lock import locked_pipeline
with locked_pipeline(Path(sys.argv[1])) as lock:
    lock.name("sluice run", run_id="20260101T000000.000000")
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
DEAF = """\
import sys, time
from pipeline.interruption import noted_interruption
with noted_interruption() as interruption:
    interruption.is_raised = False
    print("ready", flush=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        time.sleep(0.1)
sys.exit(7)
"""


@pytest.fixture
def lock_file(tmp_path):
    return tmp_path / "metadata" / "run.lock"


@pytest.fixture
def start():
    """Starts Python on a text, and waits for its first line."""
    processes = []

    def popen(text, *arguments):
        command = ["env", "--default-signal=INT,TERM", sys.executable, "-c", text, *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        processes[-1].stdout.readline()
        return processes[-1]

    yield popen
    for process in processes:
        process.kill()
        process.communicate()


def test_second_command_is_told_who_holds_it(lock_file, start):
    holder = start(HOLDER, lock_file, 30)
    told = rf"sluice run 20260101T000000\.000000 \(process {holder.pid} on \S+, since \S+\) holds .*run\.lock; `--wait"
    with pytest.raises(LockedError, match=told), locked_pipeline(lock_file):
        pass


def test_second_command_gives_up_after_its_time(lock_file, start):
    start(HOLDER, lock_file, 30)
    said = []
    with (
        pytest.raises(LockedError, match=r"run\.lock after 0\.5 s; "),
        locked_pipeline(lock_file, wait_secs=0.5, on_wait=said.append),
    ):
        pass
    assert [each.partition(" 2026")[0] for each in said] == ["Waiting up to 0.5 s for sluice run"]


def test_command_that_waits_gets_the_lock(lock_file, start):
    holder = start(HOLDER, lock_file, 1)
    with locked_pipeline(lock_file, wait_secs=30) as lock:
        assert holder.wait(timeout=10) == 0
        assert lock.died is None


def test_next_holder_knows_who_died(lock_file, start):
    holder = start(HOLDER, lock_file, 30)
    holder.kill()
    holder.wait()
    with locked_pipeline(lock_file) as lock:
        assert (lock.died.pid, lock.died.run_id) == (holder.pid, "20260101T000000.000000")
        lock.name("sluice clean")  # which puts nothing right
    with locked_pipeline(lock_file) as lock:
        assert lock.died.pid == holder.pid
        lock.name("sluice run", run_id="20260102T000000.000000")
    with locked_pipeline(lock_file) as lock:
        assert lock.died is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\0" * 20])
def test_damaged_lock_file_holds_nobody(lock_file, text):
    lock_file.parent.mkdir()
    lock_file.write_text(text)
    with locked_pipeline(lock_file) as lock:
        assert lock.died is None
        lock.name("sluice clean")
        assert json.loads(lock_file.read_text())["pid"] == os.getpid()


def test_lock_is_not_let_go_of_in_words_by_a_command_that_fails(lock_file):
    def fail():
        with locked_pipeline(lock_file) as lock:
            lock.name("sluice run", run_id="20260101T000000.000000")
            raise RuntimeError("fault")

    with pytest.raises(RuntimeError, match="fault"):
        fail()
    with locked_pipeline(lock_file) as lock:
        assert lock.died.run_id == "20260101T000000.000000"


@pytest.fixture
def unhandled(request):
    """A signal as it is when Python starts; libraries of other tests may have taken it."""
    default = signal.default_int_handler if request.param == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(request.param, default)
    yield request.param
    signal.signal(request.param, before)


@pytest.mark.parametrize("unhandled", [signal.SIGINT, signal.SIGTERM], indirect=True)
def test_first_signal_is_raised_and_kept(unhandled):
    before = signal.getsignal(unhandled)
    noted = []

    def run():
        with noted_interruption() as interruption:
            noted.append(interruption)
            os.kill(os.getpid(), unhandled)
            time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        run()
    (interruption,) = noted
    assert interruption.signal_number == unhandled
    assert signal.getsignal(unhandled) is before
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_the_process_at_once(start, number):
    process = start(DEAF)
    process.send_signal(number)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=5) == 128 + number


def test_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted_interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal_number == 0
    finally:
        signal.signal(signal.SIGINT, before)
