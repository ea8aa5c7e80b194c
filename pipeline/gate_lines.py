"""What a run shows of DataGate's report. Imports neither TensorFlow nor TFX."""

import json
from collections.abc import Sequence
from pathlib import Path

from components.data_gate import REPORT_FILE
from pipeline.run_record import ComponentRun, RunPaths
from pipeline.terminal import Terminal


def print_gate(terminal: Terminal, components: Sequence[ComponentRun], paths: RunPaths) -> None:
    """Prints a line for each warning, if DataGate has run.

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
