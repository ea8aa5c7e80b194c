"""The reference pipeline through the real command: pushed, cached, refused, failed, interrupted."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pipeline.run_record import COMPONENTS

pytestmark = pytest.mark.e2e


def test_reference_run_pushes_one_version(reference):
    assert reference.exit_code == 0, reference.stdout
    assert set(reference.states.values()) == {"done"}
    assert tuple(reference.states) == COMPONENTS
    (version,) = reference.versions
    accuracy = r"accuracy 0\.9\d\d \(95%: 0\.9\d\d to 0\.9\d\d\) >= 0\.900"
    pattern = rf"PUSHED: {accuracy}, loss 0\.\d+ <= 0\.350 on \d+ eval rows; .*/{version}"
    assert re.fullmatch(pattern, reference.last_line)


def test_terminal_is_short_and_without_the_libraries_chatter(reference):
    assert len(reference.stdout.splitlines()) <= 60
    assert reference.stderr == ""
    assert not re.search(r"(?i)warning|deprecated|absl|I0000|tensorflow/", reference.stdout)
    assert "Going to run a new execution" in reference.log


def test_run_never_tries_the_network(reference, sluice):
    assert reference.exit_code == 0
    assert not sluice.guard_file.exists(), sluice.guard_file.read_text()


def test_network_guard_sees_an_attempt(sluice, tmp_path):
    script = "import urllib.request as r; r.urlopen('http://example.com')"
    environment = sluice.environment | {"NETWORK_GUARD_FILE": str(tmp_path / "attempts")}
    assert subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True).returncode != 0
    assert "example.com" in (tmp_path / "attempts").read_text()


def test_training_reaches_the_published_trace_in_five_epochs(reference):
    losses = [epoch["loss"] for epoch in reference.trace]
    assert len(losses) == 5
    assert np.all(np.diff(losses) < 0)
    assert reference.trace[-1]["val_accuracy"] >= 0.90
    assert reference.trace[-1]["val_loss"] <= 0.35
    assert losses[-1] <= 0.35
    assert reference.trace[0]["accuracy"] < 0.7  # it had something to learn


def test_another_run_trains_to_the_same_figures(reference, sluice, tmp_path):
    other = type(sluice)(sluice.command[:1], tmp_path / "output", tmp_path)()
    for ours, theirs in zip(reference.trace, other.trace, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, err_msg=name)


def test_unchanged_run_executes_nothing_and_says_how_long_both_took(reference, sluice):
    again = sluice()
    assert again.exit_code == 0
    assert again.executed == {"DataGate"}  # which looks at what is served
    assert again.last_line.startswith(f"NOTHING TO DO: serving stays on version {reference.versions[0]} (accuracy")
    assert again.versions == reference.versions
    assert re.search(
        r"s; components executed: 1, cached: 11 \(the last run that executed all took \d+\.\d s\)", again.stdout
    )


def test_record_is_all_that_a_machine_reads(reference, sluice, edited_csv):
    again = sluice("--json")
    assert json.loads(again.stdout) == again.record
    assert (again.record["format"], again.record["exit_code"]) == (1, 0)
    assert again.record["summary"]["outcome"] == again.facts["run"]["outcome"] == "nothing to do"
    assert again.stderr.splitlines()[-1] == again.record["verdict"]
    assert again.facts["row"] == reference.facts["row"]
    refused = sluice("--json", "--set", f"example_gen.input_dir={edited_csv(lambda lines: lines[:1])}")
    assert (refused.exit_code, json.loads(refused.stdout)["exit_code"]) == (4, 4)


def test_refused_model_is_not_pushed(reference, sluice):
    before = sluice().versions
    refused = sluice("--set", "evaluator.thresholds[0].lower_bound=0.999")
    assert refused.exit_code == 3
    assert refused.executed == {"DataGate", "Evaluator", "Pusher", "RunReport"}
    assert refused.versions == before
    pattern = (
        rf"NOT PUSHED: accuracy 0\.9\d\d \(95%: .*\) < 0\.999 on \d+ eval rows; serving stays on version {before[-1]}.*"
    )
    assert re.fullmatch(pattern, refused.last_line)
    again = sluice("--set", "evaluator.thresholds[0].lower_bound=0.999")
    assert (again.exit_code, again.executed) == (3, {"DataGate"})
    for run in (refused, again):
        facts = run.facts
        assert (facts["run"]["outcome"], facts["run"]["version"]) == ("model refused", "")
        assert facts["run"]["verdict"] == run.last_line
        assert (facts["evaluation"]["blessed"], facts["problems"]) == (False, [])


def test_linear_model_does_not_reach_the_bound(reference, sluice):
    linear = sluice("--set", "trainer.hidden_units=[]", "--set", "trainer.learning_rate=0.05")
    assert linear.exit_code == 3
    assert linear.trace[-1]["val_accuracy"] < 0.8


def edit_cell(column, value):
    def change(lines):
        lines[57][lines[0].index(column)] = value
        return lines

    return change


def drop_column(column):
    def change(lines):
        index = lines[0].index(column)
        return [cells[:index] + cells[index + 1 :] for cells in lines]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_cell("rainfall_mm", "nan"), r"rows.csv line 58: column 'rainfall_mm' 'nan' is not a finite number"),
        (edit_cell("ph", "inf"), r"rows.csv line 58: column 'ph' 'inf' is not a finite number"),
        (edit_cell("ph", "99.0"), r"'ph' in the \w+ split: .*99"),
        (edit_cell("ph", ""), r"rows.csv line 58: column 'ph' is empty, but must have a value in every row"),
        (edit_cell("ph", "sour"), r"rows.csv line 58: column 'ph' 'sour' is not a number"),
        (edit_cell("gate_action", ""), r"rows.csv line 58: column 'gate_action' is empty"),
        (edit_cell("gate_action", "7"), r"rows.csv line 58: column 'gate_action' '7' is no class; classes are 0 to 2"),
        (drop_column("ph"), r"rows.csv has no column 'ph', which every row must have"),
        (lambda lines: lines[:1], "there are no rows in the files"),
    ],
    ids=[
        "NaN",
        "infinity",
        "outside the domain",
        "empty cell",
        "text",
        "no label",
        "unknown label",
        "missing column",
        "no rows",
    ],
)
def test_bad_data_are_refused_before_anything_is_trained(reference, sluice, edited_csv, change, message):
    before = sluice.root / "serving_model" / "reference"
    versions = sorted(before.iterdir())
    refused = sluice("--set", f"example_gen.input_dir={edited_csv(change)}")
    assert refused.exit_code == 4, refused.stdout
    assert re.search(f"^DATA REFUSED: .*{message}.*; serving stays on version", refused.last_line)
    is_gates = "split" in message
    assert list(refused.states)[-1] == ("DataGate" if is_gates else "ExampleGen")
    facts = refused.facts
    assert (facts["run"]["outcome"], facts["problems"], facts["model"]) == ("data refused", [], None)
    found = [each["sentence"] for each in facts["data"]["findings"]] if is_gates else []
    assert any(re.search(message, sentence) for sentence in found) == is_gates
    assert sorted(before.iterdir()) == versions


def test_from_executes_a_component_and_what_depends_on_it(reference, sluice):
    assert sluice("--from", "Evaluator").executed == {"DataGate", "Evaluator", "Pusher", "RunReport"}


def test_run_on_a_terminal_shows_no_more_than_on_a_pipe(reference, sluice):
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [*sluice.command, "--from", "Trainer"],
        cwd=sluice.cwd, env=sluice.environment, stdin=writer, stdout=writer, stderr=writer,
    )  # fmt: skip
    os.close(writer)
    output = b""
    with contextlib.suppress(OSError):  # raised at the end of the terminal
        while chunk := os.read(reader, 4096):
            output += chunk
    os.close(reader)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", output.decode())
    assert "Trainer" in text
    assert len(text.splitlines()) <= 300  # the moving line counts anew each time it is drawn
    assert not re.search(r"(?i)warning|absl|[IW]\d{4} |metadata_store", text)


def test_push_that_is_no_longer_served_is_done_again(reference, sluice):
    served, away = sluice.root / "serving_model", sluice.root / "away"
    served.rename(away)
    again = sluice()
    shutil.rmtree(served)
    away.rename(served)
    assert {"DataGate", "Pusher"} <= again.executed <= {"DataGate", "Baseline", "Evaluator", "Pusher", "RunReport"}
    assert len(again.versions) == 1
    assert again.last_line.startswith("PUSHED: ")


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("raise RuntimeError('no memory\\nleft')", "RuntimeError: no memory left"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_failure_names_component_and_cause_and_logs_the_traceback(reference, sluice, tmp_path, statement, cause):
    (tmp_path / "module.py").write_text(f"def run_fn(fn_args):\n    {statement}\n")
    failed = sluice("--set", f"trainer.module_file={tmp_path}/module.py")
    assert failed.exit_code == 1
    assert failed.last_line.startswith(f"FAILED: Trainer: {cause}; serving stays on version")
    assert failed.states["Trainer"] == "failed"
    facts = failed.facts
    assert (facts["run"]["outcome"], facts["problems"], facts["model"]) == ("failed", [], None)
    assert all(each["scaled"] for each in facts["data"]["features"] if each["kind"] == "numeric")
    assert "Traceback" in failed.log


def test_interrupted_run_exits_130(reference, sluice):
    process = subprocess.Popen(
        [*sluice.hearing_command, "--no-cache"],
        cwd=sluice.cwd, env=sluice.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "ExampleGen" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output.splitlines()[-1].startswith("INTERRUPTED; serving stays on version")


@pytest.mark.parametrize("handling", ["pass", "raise RuntimeError('in a library')"])
def test_interruption_that_a_library_takes_for_its_own_ends_the_run(reference, sluice, tmp_path, handling):
    (tmp_path / "module.py").write_text(
        "import os, signal, time\n"
        "def run_fn(fn_args):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        f"        {handling}\n"
    )
    interrupted = sluice("--set", f"trainer.module_file={tmp_path}/module.py")
    assert interrupted.exit_code == 130
    assert interrupted.last_line.startswith("INTERRUPTED; serving stays on version")
    assert list(interrupted.states)[-1] == "Trainer"
    assert (interrupted.facts["run"]["outcome"], interrupted.facts["problems"]) == ("interrupted", [])
