"""Runs under whose feet the disk fills, and the run after each of them, on a small file system of their own."""

import itertools
import shutil
import subprocess

import pytest

from pipeline.run_record import COMPONENTS

pytestmark = pytest.mark.e2e

FEW = ("ExampleGen", "Transform", "Trainer", "Pusher", "report")
LAX = ("--set", "evaluator.thresholds=[{metric: accuracy, lower_bound: 0.5}]")


def pytest_generate_tests(metafunc):
    if "component" in metafunc.fixturenames:
        is_few = metafunc.config.getoption("--faults") == "few"
        metafunc.parametrize("component", FEW if is_few else (*COMPONENTS, "report"))


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A file system of 160 MiB."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "sluice-test", folder]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(autouse=True)
def emptied(disk):
    """Frees the room again that a test took."""
    yield
    (disk / "ballast").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def run(new_command, disk):
    """A root on the small file system with one push, and seeds of models that are new."""
    command = new_command(root=disk / "output")
    assert command().exit_code == 0
    return command, itertools.count(200)


def test_disk_that_fills_is_told_in_a_sentence(run, disk, new_command, problems_of, component):
    command, seeds = run
    model = (*LAX, "--set", f"trainer.seed={next(seeds)}")
    filled = new_command(component, "writing", "fill", root=command.root)("--no-cache", *model)
    assert filled.stderr == ""
    assert "Traceback" not in filled.stdout
    if component == "report":  # the model was pushed before it
        assert filled.exit_code == 0
        assert "No space left on device" in filled.stdout
    else:
        assert filled.exit_code == 1
        assert filled.last_line.startswith(f"FAILED: {component}: the disk is full: ")
        assert filled.record["components"][-1]["component"] == component
    assert problems_of(command.root) == []

    (disk / "ballast").unlink()
    result = command(*model)
    assert result.exit_code == 0, result.stdout
    assert problems_of(command.root) == []


def test_run_begins_only_where_there_is_room(run, disk, problems_of):
    command, _ = run
    free_bytes = shutil.disk_usage(disk).free
    subprocess.run(["fallocate", "--length", str(free_bytes - (20 << 20)), disk / "ballast"], check=True)
    result = command("--no-cache")
    assert result.exit_code == 1
    assert result.last_line.startswith("FAILED: a run of this input writes about 32 MiB, and output has ")
    assert problems_of(command.root) == []


def test_full_disk_is_told_before_a_run(run, disk, problems_of):
    command, _ = run
    subprocess.run(["fallocate", "--length", str(shutil.disk_usage(disk).free), disk / "ballast"], check=True)
    result = command()
    assert result.exit_code == 1
    assert result.stderr.startswith("FAILED: the disk is full: 0.0 MiB are free under output. ")
    assert problems_of(command.root) == []
