"""Commands beside each other: two runs, a run and `clean`, a push and `rollback`, two pipelines under one root."""

import itertools
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.e2e

KILLED_CLEAN = """\
import os, signal, sys
from pipeline import cleaning
from pipeline.cli import main
def remove_and_die(folder):
    next(file for file in folder.rglob("*") if file.is_file()).unlink()
    os.kill(os.getpid(), signal.SIGKILL)
cleaning.shutil = type("shutil", (), {"rmtree": remove_and_die})
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def run(new_command):
    """A root with two pushes."""
    command = new_command()
    assert command().exit_code == 0
    assert command("--set", "trainer.seed=2").exit_code == 0
    return command


@pytest.fixture(scope="module")
def start(run):
    """Starts `sluice` beside whatever there is; `run` with the root and a model that is new."""
    seeds = itertools.count(10)
    new_run = [*run.command, "--set", "evaluator.thresholds=[{metric: accuracy, lower_bound: 0.5}]"]

    def popen(*arguments):
        command = [run.command[0], *arguments]
        if arguments[0] == "run":
            command = [*new_run, "--set", f"trainer.seed={next(seeds)}", *arguments[1:]]
        return subprocess.Popen(
            command, cwd=run.cwd, env=run.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return popen


def until_locked(run):
    lock_file = run.root / "metadata" / "reference" / "run.lock"
    deadline = time.monotonic() + 60
    while not lock_file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_second_run_is_told_who_is_at_work(run, start, problems_of):
    first = start("run")
    until_locked(run)
    second = start("run")
    _, stderr = second.communicate()
    assert second.returncode == 6
    assert stderr.startswith("BUSY: sluice run ")
    assert f"(process {first.pid} on " in stderr
    assert len(stderr.splitlines()) == 1
    first.communicate()
    assert first.returncode == 0
    assert problems_of(run.root) == []


def test_second_run_waits(run, start, problems_of):
    first = start("run")
    until_locked(run)
    second = start("run", "--wait", "120")
    assert (first.wait(), second.wait()) == (0, 0)
    assert "Waiting up to 120 s for sluice run" in second.stderr.read()
    assert problems_of(run.root) == []


def test_clean_leaves_a_run_alone(run, start, problems_of):
    first = start("run")
    until_locked(run)
    cleaning = start("clean", "--root", run.root, *run.metadata, "--keep", "1")
    _, stderr = cleaning.communicate()
    assert cleaning.returncode == 6
    assert stderr.startswith("BUSY: sluice run ")
    first.communicate()
    assert first.returncode == 0
    assert problems_of(run.root) == []


def test_run_and_clean_started_together_both_end_right(run, start, problems_of):
    together = [
        start("run", "--wait", "120"),
        start("clean", "--root", run.root, *run.metadata, "--keep", "2", "--wait", "120"),
    ]
    for process in together:
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stdout + stderr
    assert problems_of(run.root) == []


def test_next_run_after_a_clean_that_was_killed(run, problems_of):
    arguments = ["clean", "--root", run.root, *run.metadata, "--keep", "1"]
    killed = subprocess.run([sys.executable, "-c", KILLED_CLEAN, *arguments], cwd=run.cwd, env=run.environment)
    assert killed.returncode == -signal.SIGKILL
    assert any("belongs to no live artifact" in each for each in problems_of(run.root))
    result = run("--set", "trainer.seed=10")
    assert result.exit_code == 0, result.stdout
    assert problems_of(run.root) == []


def test_rollbacks_during_pushes(run, start, problems_of):
    destination = ["--model-dir", run.root / "serving_model" / "reference"]
    codes, said = set(), []
    for _ in range(2):
        process = start("run")
        while process.poll() is None:
            for arguments in (["rollback"], ["promote"]):
                change = start("versions", *arguments, *destination)
                said += change.communicate()
                codes.add(change.returncode)
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stdout + stderr
        assert problems_of(run.root) == []
    assert codes == {0}, said


def test_two_pipelines_at_once_under_one_root(run, start, tmp_path, problems_of):
    root = tmp_path / "output"
    names = ("one", "two")
    both = [start("run", "--root", root, "--set", f"pipeline_name={name}") for name in names]
    for process in both:
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stdout + stderr
    for name in names:
        assert problems_of(root, name=name, num_runs=1) == []
