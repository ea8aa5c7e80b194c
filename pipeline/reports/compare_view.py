"""Shows a comparison in the terminal and as a page of its own. Imports neither TensorFlow nor TFX."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from rich import box
from rich.console import Console
from rich.table import Table

from components.run_report import PAGE_FILE
from pipeline.reports.compare import Comparison, Part
from pipeline.terminal import printable

_PIPE_WIDTH = 110
_LONGEST = 60


def print_comparison(comparison: Comparison) -> None:
    """Prints what differs, a table for each part, and what does not in a line."""
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False)
    console.print(f"a  {comparison['a']}\nb  {comparison['b']}")
    for part in comparison["parts"]:
        if part["rows"]:
            console.print(_table(part))
    same = [f"{part['title'].lower()} ({part['same']})" for part in comparison["parts"] if part["same"]]
    console.print(f"The same in both: {', '.join(same) or 'nothing'}", soft_wrap=True)


def render_comparison(comparison: Comparison, links: Mapping[str, Path]) -> str:
    """Returns a comparison as a page that needs neither a server nor a script.

    Args:
        comparison: Of the runs `a` and `b`.
        links: Folder of each run's report.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("pipeline.reports", "."), jinja2.PackageLoader("components.run_report", ".")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown_value
    pages = {name: (folder / PAGE_FILE).resolve().as_uri() for name, folder in links.items()}
    return environment.get_template("compare.html.j2").render(comparison=comparison, pages=pages)


def shown_value(value: Any) -> str:
    """Returns a value as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = printable(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _table(part: Part) -> Table:
    table = Table(part["title"].lower(), box=box.SIMPLE_HEAD)
    numbers = all(row["change"] is not None for row in part["rows"])
    for name in ("a", "b"):
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    has_change = any(row["change"] is not None for row in part["rows"])
    if has_change:
        table.add_column("change", justify="right")
    for row in part["rows"]:
        change = [] if not has_change else ["" if row["change"] is None else f"{row['change']:+.4g}"]
        table.add_row(printable(row["what"]), shown_value(row["a"]), shown_value(row["b"]), *change)
    return table
