"""What a run shows of DataGate's report. Imports neither TensorFlow nor TFX."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.data_gate import REPORT_FILE
from pipeline.run_record import ComponentRun, RunPaths
from pipeline.terminal import Terminal

_MOST_ROWS = 12


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
