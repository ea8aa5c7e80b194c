"""Models that look good in evaluation and would fail in service: each is refused, and the served version stays."""

import copy
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

MODULES = Path(__file__).parent / "modules"
ANY_ACCURACY = ["--set", "evaluator.thresholds=[{metric: accuracy, lower_bound: 0.0}]"]


@pytest.fixture(scope="module")
def served(sluice, tmp_path_factory):
    """The command on a root of its own, where the reference model is served."""
    folder = tmp_path_factory.mktemp("infra")
    run = type(sluice)([sluice.command[0]], folder / "output", folder)
    first = run()
    assert first.exit_code == 0, first.stdout
    return run, first


def model_dir(result):
    (trainer,) = (run for run in result.record["components"] if run["component"] == "Trainer")
    return Path(trainer["outputs"]["model"], "Format-Serving")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("naive_export.py", "running 'serving_default' failed: .*Could not find variable"),
        ("write_file.py", "WriteFile reads or writes files, in __inference_"),
        ("nan_weights.py", "the logits that the Trainer recorded are not finite: the trained model is broken"),
    ],
)
def test_exported_model_that_no_server_may_run_is_refused(served, module, reason):
    run, first = served
    result = run("--set", f"trainer.module_file={MODULES / module}", *ANY_ACCURACY)
    assert result.exit_code == 5, result.stdout
    assert result.last_line.startswith("NOT PUSHED: ")
    assert result.last_line.endswith(f"serving stays on version {first.versions[-1]}")
    assert re.search(reason, result.stdout), result.stdout
    assert result.versions == first.versions


def test_model_without_its_variables_is_refused_before_it_is_evaluated(served):
    run, first = served
    arguments = ["--set", "trainer.num_epochs=6"]
    candidate = run(*arguments, "--set", "evaluator.thresholds[0].lower_bound=1.0")
    assert candidate.exit_code == 3
    shutil.rmtree(model_dir(candidate) / "variables")
    result = run(*arguments, *ANY_ACCURACY, "--from", "InfraValidator")
    assert result.exit_code == 5, result.stdout
    assert "NOT PUSHED: variables/variables.data-00000-of-00001 is missing" in result.last_line
    assert result.versions == first.versions


def test_byte_that_flipped_after_evaluation_is_refused(served):
    run, _ = served
    arguments = ["--set", "trainer.num_epochs=7"]
    candidate = run(*arguments)
    again = run()
    assert (candidate.exit_code, again.exit_code) == (0, 0)
    flip_a_byte(model_dir(candidate) / "variables" / "variables.data-00000-of-00001")
    result = run(*arguments)
    assert result.executed == {"DataGate", "Pusher"}
    assert result.exit_code == 5, result.stdout
    reason = "variables/variables.data-00000-of-00001 has changed since the Trainer wrote it"
    assert result.last_line == f"NOT PUSHED: {reason}; serving stays on version {again.versions[-1]}"
    assert result.versions == again.versions


@pytest.mark.parametrize(
    ("script", "exit_code", "says"),
    [
        (
            f'exec "{sys.executable}" -m pipeline.serving.server "$@"',
            0,
            "Infra   C++ loader and tensorflow_model_server: ",
        ),
        ("exit 3", 5, "NOT PUSHED: tensorflow_model_server ended with exit code 3; serving stays on version "),
    ],
)
def test_model_server_on_the_path_is_asked_too(served, tmp_path, script, exit_code, says):
    """No TF Serving can be installed here: a wrapper of the development server, which takes its flags, stands in."""
    run = copy.copy(served[0])
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    run.environment = run.environment | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = run("--from", "InfraValidator")
    assert result.exit_code == exit_code, result.stdout
    assert says in result.stdout


def flip_a_byte(file):
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
