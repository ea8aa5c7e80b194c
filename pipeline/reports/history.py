"""The runs of a pipeline as a table. Imports neither TensorFlow nor TFX."""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.reports.runs import Run
from pipeline.run_record import ExitCode
from pipeline.terminal import printable

_PIPE_WIDTH = 110
_NAMES = ("run", "when", "outcome", "accuracy", "seconds", "rows", "data", "code", "version")
_FOR_THE_WIDE = ("when", "data", "code")
_STYLES: dict[int, str] = {ExitCode.PUSHED: "green", ExitCode.FAILED: "bold red", ExitCode.INTERRUPTED: "yellow"}


def print_history(runs: Sequence[Run], *, limit: int) -> None:
    """Prints a line for each run, newest first; a `*` marks data or code that are not those of the run before.

    Args:
        runs: Newest first.
        limit: How many are shown.
    """
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False)
    names = _NAMES if console.width >= _PIPE_WIDTH else [name for name in _NAMES if name not in _FOR_THE_WIDE]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name in ("accuracy", "seconds", "rows") else "left", no_wrap=True)
    for run, before in zip(runs[:limit], [*runs[1:], None], strict=False):
        cells = dict(zip(_NAMES, _cells(run, before), strict=True))
        table.add_row(*(cells[name] for name in names))
    console.print(table)
    if len(runs) > limit:
        console.print(f"and {len(runs) - limit} older; --limit {len(runs)} shows all")


def _cells(run: Run, before: Run | None) -> Iterator[str | Text]:
    summary = run.summary
    yield run.run_id[:15]
    yield _when(summary.started)
    words = run.verdict.partition(":")[0].partition(";")[0].lower()
    yield Text(printable(summary.outcome or words), _STYLES.get(run.exit_code, "red"))
    yield "" if summary.accuracy is None else f"{summary.accuracy:.3f}"
    yield f"{run.seconds:.1f}"
    yield "" if summary.rows is None else str(summary.rows)
    yield _digest(summary.data_digest, before.summary.data_digest if before else "")
    yield _digest(summary.code_digest, before.summary.code_digest if before else "")
    yield printable(summary.version)


def _when(started: str) -> str:
    try:
        return datetime.fromisoformat(started).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def _digest(digest: str, before: str) -> str:
    """Returns the beginning of a digest, marked if the run before has another."""
    return printable(digest[:8]) + "*" * bool(digest and before and digest != before)
