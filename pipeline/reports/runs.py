"""Finds the runs of a pipeline by their records. Imports neither TensorFlow nor TFX."""

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from components.run_report import FACTS_FILE
from components.run_report.facts import Facts, load_facts
from pipeline.run_record import RECORD_FILE, Summary

_MOST_NAMED = 5
_SUMMARY = pydantic.TypeAdapter(Summary)
_LAST = re.compile(r"last(?:~(\d{1,6}))?")


class RunError(ValueError):
    """A run that there is not, or whose report cannot be read."""


@dataclass(frozen=True)
class Run:
    """A run by its record.

    Attributes:
        folder: With the record, the facts and the page.
        run_id: When it began.
        exit_code: As of `sluice run`.
        verdict: Its last line.
        seconds: It took.
        summary: What else a list tells of it; of a run of an older Sluice nothing.
    """

    folder: Path
    run_id: str
    exit_code: int
    verdict: str
    seconds: float
    summary: Summary

    def facts(self) -> Facts:
        """Reads what its report tells.

        Raises:
            RunError: If there is nothing that can be read.
        """
        try:
            return load_facts(self.folder / FACTS_FILE)
        except OSError as err:
            raise RunError(
                f"run {self.run_id} has no report: {self.folder / FACTS_FILE}: {err.strerror}. Its record is "
                f"{self.folder / RECORD_FILE}."
            ) from err
        except (ValueError, RecursionError) as err:
            raise RunError(f"the report of run {self.run_id} cannot be read: {err}") from err

    def to_json(self) -> dict[str, Any]:
        """Returns what a list tells of it, as JSON values."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in ("folder", "summary")} | values["summary"]


def list_runs(reports_dir: Path) -> tuple[list[Run], list[str]]:
    """Returns the runs of a pipeline, newest first, and the names of folders whose record cannot be read.

    Args:
        reports_dir: `reports/<name>` under a root.
    """
    runs, damaged = [], []
    for file in sorted(reports_dir.glob(f"*/{RECORD_FILE}"), reverse=True):
        try:
            runs.append(_read(file))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            damaged.append(file.parent.name)
    return runs, damaged


def find_run(reports_dir: Path, name: str, serving: Sequence[str] = ()) -> Run:
    """Returns the run that a name means.

    Args:
        reports_dir: `reports/<name>` under a root.
        name: A run's id or the beginning of one alone; `last`, `last~1` for the one before it, and so on; a version,
            for the run that pushed it; or `served`.
        serving: Versions that are served.

    Raises:
        RunError: If no run or more than one is meant.
    """
    runs, _ = list_runs(reports_dir)
    if not runs:
        raise RunError(f"there is no run in {reports_dir} yet. `sluice run` makes one.")
    if last := _LAST.fullmatch(name):
        back = int(last[1] or 0)
        if back >= len(runs):
            raise RunError(f"{name}: there are {len(runs)} runs, so last~{len(runs) - 1} is the first.")
        return runs[back]
    if name == "served" and not serving:
        raise RunError("served: nothing is served yet.")
    versions = serving if name == "served" else [name]
    pushed = [run for run in runs if run.summary.version in versions and run.summary.outcome == "pushed"]
    found = pushed or [run for run in runs if name and run.run_id.startswith(name)]
    if len(found) != 1 and not pushed:
        which = "no run" if not found else f"{len(found)} runs"
        newest = ", ".join(run.run_id for run in (found or runs)[:_MOST_NAMED])
        raise RunError(f"{name!r} is the beginning of {which}. Name one of: last, {newest}; `sluice history` has all.")
    return found[0]


def _read(file: Path) -> Run:
    record = json.loads(file.read_text(encoding="utf-8"))
    known = {field.name for field in dataclasses.fields(Summary)}
    summary = {name: value for name, value in (record.get("summary") or {}).items() if name in known}
    return Run(
        file.parent,
        str(record["run_id"]),
        int(record["exit_code"]),
        str(record["verdict"]),
        float(record["seconds"]),
        _SUMMARY.validate_python(summary),
    )
