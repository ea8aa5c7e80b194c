"""Runs that are killed or ended at a known point, and the run after each of them.

`make faults` kills at every point, `make faults ARGS="--faults random --faults-seed 7"` at moments that a seed gives.
"""

import itertools
import json
import random
import signal
import subprocess
import time

import pytest

from pipeline.run_record import COMPONENTS

pytestmark = pytest.mark.e2e

PHASES = ("prepared", "writing", "executed", "publishing", "published")  # of fault_driver.py
EVERY_POINT = (*itertools.product(COMPONENTS, PHASES), ("report", "writing"))
FEW_POINTS = (
    ("ExampleGen", "writing"),
    ("SchemaGen", "prepared"),
    ("StatisticsGen", "executed"),
    ("ExampleValidator", "publishing"),
    ("DataGate", "published"),
    ("Transform", "writing"),
    ("Trainer", "writing"),
    ("InfraValidator", "executed"),
    ("Evaluator", "publishing"),
    ("Pusher", "writing"),
    ("Pusher", "executed"),
    ("report", "writing"),
)
NOT_CACHED = {"DataGate", "Pusher"}  # which look at what is served


def pytest_generate_tests(metafunc):
    faults = metafunc.config.getoption("--faults")
    if "killed_at" in metafunc.fixturenames:
        points = {"few": FEW_POINTS, "all": EVERY_POINT, "random": ()}[faults]
        metafunc.parametrize("killed_at", points, ids="-".join)
    if "moment" in metafunc.fixturenames:
        option = metafunc.config.getoption
        generator = random.Random(option("--faults-seed"))
        moments = [round(generator.uniform(0.0, 9.0), 2) for _ in range(option("--faults-runs"))]
        metafunc.parametrize("moment", moments if faults == "random" else ())


@pytest.fixture(scope="module")
def campaign(new_command):
    """A root with one push, and the number that the next model's seed gets."""
    run = new_command()
    assert run().exit_code == 0
    return run, itertools.count(100)


def new_model(numbers):
    return (
        "--set",
        f"trainer.seed={next(numbers)}",
        "--set",
        "evaluator.thresholds=[{metric: accuracy, lower_bound: 0.5}]",
    )


def check_next_run(run, arguments, problems_of):
    """What a run must find and leave, whatever happened to the one before it."""
    assert problems_of_served(run, problems_of) == []
    result = run(*arguments)
    assert result.exit_code == 0, result.stdout
    assert result.stderr == ""
    assert problems_of(run.root) == []
    return result


def problems_of_served(run, problems_of):
    return [each for each in problems_of(run.root) if each.startswith("version ")]


def test_next_run_after_one_that_was_killed(campaign, new_command, problems_of, killed_at):
    run, numbers = campaign
    model = new_model(numbers)
    killed = new_command(*killed_at, "kill", root=run.root)
    process = subprocess.run([*killed.command, "--no-cache", *model], cwd=run.cwd, env=run.environment)
    assert process.returncode == -signal.SIGKILL
    result = check_next_run(run, model, problems_of)

    component, phase = killed_at
    in_component = f" in {component}" if component != "report" and phase != "published" else ""
    assert f") was killed{in_component}" in result.stdout
    last = len(COMPONENTS) if component == "report" else COMPONENTS.index(component) + (phase == "published")
    assert {name for name in COMPONENTS[:last] if result.states[name] != "cached"} <= NOT_CACHED
    *_, dead, _ = sorted(run.root.glob("reports/reference/*/run.json"))
    assert json.loads(dead.read_text())["summary"]["outcome"] == "killed"


def test_next_run_after_one_that_was_killed_at_any_moment(campaign, problems_of, moment):
    run, numbers = campaign
    model = new_model(numbers)
    process = subprocess.Popen([*run.command, "--no-cache", *model], cwd=run.cwd, env=run.environment)
    time.sleep(moment)
    process.kill()
    process.wait()
    check_next_run(run, model, problems_of)


@pytest.mark.parametrize("point", [("Transform", "writing"), ("Trainer", "executed"), ("Pusher", "published")])
def test_terminated_run_leaves_nothing(campaign, new_command, problems_of, point):
    run, numbers = campaign
    model = new_model(numbers)
    ended = new_command(*point, "term", root=run.root)("--no-cache", *model)
    assert ended.exit_code == 143
    assert ended.last_line.startswith("TERMINATED; serving ")
    assert ended.record["summary"]["outcome"] == "interrupted"
    assert ended.facts["run"]["outcome"] == "interrupted"
    assert problems_of(run.root) == []
    result = check_next_run(run, model, problems_of)
    assert "was killed" not in result.stdout
