import io
import subprocess
import sys

import pytest

from components.baseline import Baseline
from components.evaluator.rules import Rule, Score, Slice
from components.evaluator.verdict import BROKEN, HELD, NOT_JUDGED, Judgement, Verdict
from pipeline.config import EpochFigures
from pipeline.run_record import ComponentRun
from pipeline.terminal import Terminal


def test_trace_puts_losses_first_and_the_published_trace_last():
    stream = io.StringIO()
    epoch = {"epoch": 1, "seconds": 0.5, "accuracy": 0.6, "loss": 1.0, "val_accuracy": 0.7, "val_loss": 0.9}
    Terminal(stream).print_training_trace([epoch], [EpochFigures(loss=1.2, accuracy=0.55)], 1)
    *header, _, row = (line for line in stream.getvalue().splitlines() if line.strip())
    assert [line.split() for line in header] == [
        ["val", "val", "published", "published"],
        ["epoch", "loss", "accuracy", "loss", "accuracy", "seconds", "loss", "accuracy"],
    ]
    assert row.split() == ["1", "1.0000", "0.6000", "0.9000", "0.7000", "0.50", "1.20", "0.55"]


@pytest.mark.parametrize(
    ("num_epochs", "line"),
    [
        (3, "* The weights of epoch 2 are kept."),
        (9, "* The weights of epoch 2 are kept; training stopped early, after 3 of 9 epochs."),
    ],
)
def test_trace_marks_the_epoch_whose_weights_are_kept(num_epochs, line):
    stream = io.StringIO()
    epochs = [{"epoch": n, "seconds": 0.1, "loss": 1.0, "val_loss": 1.0, "best": n == 2} for n in (1, 2, 3)]
    Terminal(stream).print_training_trace(epochs, [], num_epochs)
    _, _, _, *rows, last = (line.rstrip() for line in stream.getvalue().splitlines() if line.strip())
    assert [row[: row.index("1.0")].strip() for row in rows] == ["1", "* 2", "3"]
    assert last == line


def test_trace_without_early_stopping_marks_nothing():
    stream = io.StringIO()
    Terminal(stream).print_training_trace([{"epoch": 1, "seconds": 0.1, "loss": 1.0}], [], 5)
    assert "*" not in stream.getvalue()


def test_a_pipe_gets_a_line_per_finished_component_and_no_control_codes():
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.start("ExampleGen")
    terminal.finish_component(ComponentRun("ExampleGen", "done", 2.44))
    terminal.finish_component(ComponentRun("Pusher", "cached", 0.01))
    assert stream.getvalue() == "  ExampleGen            2.4 s  done\n  Pusher                       cached\n"


def test_text_in_brackets_is_printed_as_it_is():
    stream = io.StringIO()
    Terminal(stream).print("FAILED: [bold]x[/bold] " + "y" * 200)
    assert stream.getvalue() == "FAILED: [bold]x[/bold] " + "y" * 200 + "\n"


def test_control_codes_of_data_are_shown_and_not_obeyed():
    stream = io.StringIO()
    Terminal(stream).print("'\x1b[2J\ufeffname'")
    assert stream.getvalue() == "'\\x1b[2J\\ufeffname'\n"


def test_nobody_reading_does_not_end_the_run():
    script = """
import os, sys
from pipeline.run_record import ComponentRun
from pipeline.terminal import Terminal
reader, writer = os.pipe()
os.close(reader)
terminal = Terminal(os.fdopen(writer, "w", buffering=1))
for _ in range(3):
    terminal.finish_component(ComponentRun("ExampleGen", "done", 1.0))
    terminal.print("more")
print("went on", flush=True)
os._exit(0)
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == ("went on\n", "")


def test_output_of_c_of_python_and_of_child_processes_goes_to_the_log(tmp_path):
    script = """
import os, pathlib, subprocess, sys, warnings
from pipeline.log_file import redirected_output
with redirected_output(pathlib.Path(sys.argv[1])) as terminal:
    os.write(1, b"from C\\n")
    print("from Python", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    print("for the user", file=terminal)
print("after")
"""
    log_file = tmp_path / "logs" / "run.log"
    process = subprocess.run([sys.executable, "-c", script, str(log_file)], capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == ("for the user\nafter\n", "")
    assert log_file.read_text().splitlines() == ["from C", "from Python", "from a child"]


@pytest.mark.parametrize(("width", "has_rows"), [(110, True), (80, False)])
def test_judgements_put_refusals_first_and_fit_the_terminal(monkeypatch, width, has_rows):
    monkeypatch.setattr("pipeline.terminal._PIPE_WIDTH", width)
    held = Judgement(Rule(Score("accuracy"), "lower_bound", 0.9), HELD, 325, 0.95, 0.94)
    where = Slice("gate_opening_pct", buckets=(25.0, 50.0))
    change = Rule(Score("recall", "flush"), "relative_change", -0.05, where, 30, 0.95)
    broken = Judgement(change, BROKEN, 41, 0.8, 0.9, (-0.2, -0.01), "25 to 50")
    small = Judgement(change, NOT_JUDGED, 7, 1.0, None, None, "< 25", "fewer than 30 rows")
    stream = io.StringIO()
    verdict = Verdict(False, (small, held, broken), 325, {}, Baseline(17, "abc"))
    Terminal(stream).print_judgements(verdict)
    lines = [line.rstrip() for line in stream.getvalue().splitlines() if line.strip()]
    assert max(map(len, lines)) <= width
    states = [state for line in lines for state in (HELD, BROKEN, NOT_JUDGED) if f" {state}" in line]
    assert states[:3] == [HELD, BROKEN, NOT_JUDGED]
    assert "95%: -0.200 to -0.010" in stream.getvalue()
    assert "change >= -5%" in stream.getvalue()
    assert ("  rows  " in lines[0] and "baseline" in lines[0]) == has_rows
    assert "Gate    the baseline is version 17" in lines
