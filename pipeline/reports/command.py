"""`sluice report`, `sluice history` and `sluice compare`. Imports neither TensorFlow nor TFX."""

import contextlib
import functools
import json
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from components.imports import quick_imports
from components.pusher.versions import VersionError, served_versions
from components.run_report import PAGE_FILE
from components.run_report.facts import facts_text
from pipeline.cli_options import load_or_exit, root_option
from pipeline.config import REFERENCE_CONFIG
from pipeline.reports.compare import compare_facts
from pipeline.reports.compare_view import print_comparison, render_comparison
from pipeline.reports.history import print_history
from pipeline.reports.runs import Run, RunError, find_run, list_runs
from pipeline.run_record import ExitCode, RunPaths, write_whole
from pipeline.terminal import shown


def _pipeline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that name a pipeline, together as `paths`."""

    @functools.wraps(command)
    def with_paths(config_file: str, root: Path, **arguments: Any) -> None:
        name = load_or_exit(config_file, ()).pipeline_name
        with _run_errors():
            command(paths=RunPaths(root.resolve(), name, ""), **arguments)

    config = click.option("--config", "config_file", default=REFERENCE_CONFIG, help="Config that names the pipeline.")
    return root_option(config(with_paths))


@contextlib.contextmanager
def _run_errors() -> Iterator[None]:
    try:
        yield
    except (RunError, VersionError, OSError) as err:
        click.echo(f"Error: {err}", err=True)
        sys.exit(ExitCode.USAGE)


@click.command()
@click.argument("run", default="last")
@_pipeline_options
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print facts.json, all that the page tells, instead.")
def report(paths: RunPaths, run: str, opens: bool, as_json: bool) -> None:
    """Render the report of RUN again and print where it is.

    RUN is a run's id or the beginning of one, last (the default), last~1 for the one before it, a version for the run
    that pushed it, or served.

    \b
    Examples:
      sluice report --open
      sluice report last~1 --json | jq .evaluation.metrics
    """
    found = _find(paths, run)
    facts = found.facts()
    if as_json:
        click.echo(facts_text(facts), nl=False)
        return
    with quick_imports():
        from components.run_report.page import render_page

    page = found.folder / PAGE_FILE
    write_whole(page, render_page(facts))
    click.echo(shown(page))
    if opens and not webbrowser.open(page.as_uri()):
        raise RunError(f"there is no browser to open {page.as_uri()} in.")


@click.command()
@_pipeline_options
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The newest runs alone.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead, an object for each run.")
def history(paths: RunPaths, limit: int, as_json: bool) -> None:
    """List the runs of a pipeline, newest first.

    \b
    Examples:
      sluice history
      sluice history --limit 100 --json
    """
    runs, damaged = list_runs(paths.reports_dir)
    if as_json:
        click.echo(json.dumps([run.to_json() for run in runs[:limit]], indent=1))
    elif runs:
        print_history(runs, limit=limit)
    else:
        raise RunError(f"there is no run in {shown(paths.reports_dir)} yet. `sluice run` makes one.")
    if damaged:
        click.echo(f"Left out, for their {paths.record_file.name} cannot be read: {', '.join(damaged)}", err=True)


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@_pipeline_options
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead.")
def compare(paths: RunPaths, a: str, b: str, html: Path | None, as_json: bool) -> None:
    """Show what differs between the runs A and B: config, data, schema, metrics, slices, seconds, versions.

    Runs are named as for `sluice report`.

    \b
    Examples:
      sluice compare last~1 last
      sluice compare served last --html comparison.html
    """
    runs = {"a": _find(paths, a), "b": _find(paths, b)}
    comparison = compare_facts(runs["a"].facts(), runs["b"].facts())
    if html:
        folders = {name: run.folder for name, run in runs.items()}
        html.write_text(render_comparison(comparison, folders), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(comparison, indent=1))
        return
    print_comparison(comparison)
    if html:
        click.echo(f"Page    {shown(html)}")


def _find(paths: RunPaths, name: str) -> Run:
    serving = served_versions(paths.serving_model_dir) if name == "served" else []
    return find_run(paths.reports_dir, name, [str(version) for version in serving])
