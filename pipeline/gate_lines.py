"""What a run shows of its data: the reports of ExampleGen and DataGate. Imports neither TensorFlow nor TFX."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.data_gate import REPORT_FILE
from components.example_gen.input_report import QUARANTINE_FILE, load_report
from pipeline.run_record import ComponentRun, RunPaths
from pipeline.terminal import Terminal, shown

_MOST_ROWS = 12


def print_input(terminal: Terminal, components: Sequence[ComponentRun]) -> None:
    """Prints how many rows were read and what is unusual about them, if the columnar ExampleGen has read them."""
    for run in components:
        with contextlib.suppress(OSError, KeyError):  # the stock ExampleGen writes no report
            report = load_report(run.outputs["examples"])
            heading = "Input   " if run.component == "ExampleGen" else "Input   unlabelled: "
            terminal.print(f"{heading}{report}")
            for warning in report.warnings():
                terminal.print(f"Input   warning: {warning}", "yellow")
            if report.num_quarantined:
                terminal.print(f"Input   they are kept in {shown(Path(run.outputs['examples'], QUARANTINE_FILE))}")


def print_gate(terminal: Terminal, components: Sequence[ComponentRun], paths: RunPaths) -> None:
    """Prints each warning and how far the rows are from others, if DataGate has looked at them.

    Args:
        terminal: Where to.
        components: What has been done.
        paths: Of the run.
    """
    folders = [run.outputs["findings"] for run in components if "findings" in run.outputs]
    file = Path(folders[0], REPORT_FILE) if folders else paths.gate_file
    if not file.exists():
        return
    report = json.loads(file.read_text())
    for finding in report["findings"]:
        if finding["severity"] == "warn":
            terminal.print(f"Data    warning: {' '.join(finding['sentence'].split())}", "yellow")
    for name in ("drift", "skew"):
        if report[name] and report[name]["against"]:  # else nothing is served yet
            _print_comparison(terminal, f"{name.capitalize():<8}", report[name])


def _print_comparison(terminal: Terminal, heading: str, comparison: Mapping[str, Any]) -> None:
    against, distances = comparison["against"], comparison["distances"]
    if not distances:
        terminal.print(f"{heading}not measured against {against}: {comparison['note']}")
        return
    measured = [each for each in distances if each["value"] is not None]
    num_high = sum(each["value"] > each["threshold"] for each in measured)
    if not any(each["value"] for each in measured):
        terminal.print(f"{heading}none: no feature differs from {against}")
    else:
        terminal.print(f"{heading}from {against}: {num_high} of {len(distances)} features above their threshold")
        terminal.print_distances(measured[:_MOST_ROWS])
    if len(measured) > _MOST_ROWS:
        terminal.print(f"{heading}and {len(measured) - _MOST_ROWS} features that differ less")
    for each in distances[len(measured) :]:
        terminal.print(f"{heading}not measured: '{each['feature']}' {each['note']}")
