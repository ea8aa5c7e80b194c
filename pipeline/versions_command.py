"""`sluice versions`: what was pushed, what is served, and changing it. Imports neither TensorFlow nor TFX."""

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from components.evaluator import EXAMPLE_COUNT
from components.model_manifest import (
    Manifest,
    ManifestError,
    check_companions,
    list_files,
    make_manifest,
    read_manifest,
)
from components.pusher.versions import (
    ServingPolicy,
    VersionError,
    assign_label,
    list_versions,
    read_policy,
    served_versions,
)
from components.pusher.versions import prune as remove_versions
from components.pusher.versions import rollback as roll_back
from pipeline.cli_options import destination_options
from pipeline.run_record import ExitCode

_MOST_METRICS = 4
_PIPE_WIDTH = 140


@click.group()
def versions() -> None:
    """List, promote, roll back and prune pushed versions.

    \b
    Example:
      sluice versions list
    """


@versions.command("list")
@destination_options
@click.option("--verify", is_flag=True, help="Compare every file with its manifest; exit 1 if one differs.")
def list_(base_dir: Path, verify: bool) -> None:
    """List what was pushed, and what is served.

    \b
    Example:
      sluice versions list --verify
    """
    with _version_errors():
        sys.exit(ExitCode.PUSHED if print_versions(base_dir, verify=verify) else ExitCode.FAILED)


@versions.command()
@destination_options
@click.argument("version", type=int, required=False)
@click.option("--label", type=click.Choice(["stable", "canary"]), default="stable", show_default=True)
@click.option("--base-path", help="Where the server finds the folder, if not under its path here.")
def promote(base_dir: Path, version: int | None, label: str, base_path: str | None) -> None:
    """Give VERSION, by default the newest, a label, and serve it.

    Writes models.config, which TF Serving reads with --model_config_file. From then on a server serves the labelled
    versions alone, and a new push waits for its promotion. Remove models.config to serve the newest version again; the
    next push writes it anew.

    \b
    Examples:
      sluice versions promote
      sluice versions promote 1795377531 --label canary
    """
    with _version_errors():
        chosen = max(list_versions(base_dir), default=0) if version is None else version
        click.echo(describe_policy(assign_label(base_dir, chosen, label, base_path=base_path)))


@versions.command()
@destination_options
def rollback(base_dir: Path) -> None:
    """Make the next older version stable; a running server follows within 2 s.

    \b
    Example:
      sluice versions rollback
    """
    with _version_errors():
        click.echo(describe_policy(roll_back(base_dir)))


@versions.command()
@destination_options
@click.option("--keep", type=click.IntRange(min=1), required=True, help="How many of the newest versions stay.")
def prune(base_dir: Path, keep: int) -> None:
    """Remove all but the newest versions, and never one that is served or labelled.

    \b
    Example:
      sluice versions prune --keep 5
    """
    with _version_errors():
        removed = remove_versions(base_dir, keep)
        click.echo(f"Removed: {', '.join(map(str, removed)) or 'nothing'}. The newest, served and labelled ones stay.")


@contextlib.contextmanager
def _version_errors() -> Iterator[None]:
    try:
        yield
    except (VersionError, OSError) as err:
        click.echo(f"Error: {err}", err=True)
        sys.exit(ExitCode.USAGE)


def print_versions(base_dir: Path, *, verify: bool) -> bool:
    """Prints a table of the versions in a push destination, newest first.

    Args:
        base_dir: The destination.
        verify: Whether to compare every file with its version's manifest.

    Returns:
        Whether every version is what was pushed, as far as was looked.
    """
    versions, policy, served = list_versions(base_dir), read_policy(base_dir), served_versions(base_dir)
    if not versions:
        raise VersionError(f"nothing was pushed to {base_dir} yet.")
    manifests = {version: _manifest(base_dir / str(version)) for version in reversed(versions)}
    found = {name for manifest in manifests.values() for name in manifest["metrics"]} - {EXAMPLE_COUNT}
    metrics = sorted(found, key=lambda name: (name not in ("accuracy", "loss"), name))[:_MOST_METRICS]
    table = Table("version", "pushed", "served", "labels", box=box.SIMPLE_HEAD)
    for name in metrics:
        table.add_column(name.replace("_", " "), justify="right")
    for name in ("span", "model", "run", "KiB", *["files"] * verify):
        table.add_column(name, justify="right" if name == "KiB" else "left")
    states = {version: _state(base_dir / str(version)) if verify else "" for version in versions}
    for version, manifest in manifests.items():
        folder = base_dir / str(version)
        labels = sorted(label for label, labelled in policy.labels.items() if labelled == version)
        marks = ", ".join([*labels, *["forced"] * ("forced" in manifest)])
        figures = [f"{manifest['metrics'][name]:.4g}" if name in manifest["metrics"] else "" for name in metrics]
        facts = [manifest["span"], manifest["digest"][:12], _run(manifest["run_id"]), _kib(folder)]
        row = [str(version), _pushed_at(folder), "yes" * (version in served), marks, *figures, *facts]
        table.add_row(*row, *[states[version]] * verify)
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width, highlight=False, markup=False).print(table)
    return all(state in ("", "ok") for state in states.values())


def describe_policy(policy: ServingPolicy) -> str:
    """Returns what a policy serves, in words."""
    labels = ", ".join(f"{label} is {version}" for label, version in sorted(policy.labels.items(), reverse=True))
    return f"{labels}; loaded: {', '.join(map(str, policy.versions or ()))}"


def _manifest(folder: Path) -> Manifest:
    """Returns what a version says of itself; another tool may have pushed it."""
    try:
        manifest = read_manifest(str(folder))
    except ManifestError:
        manifest = {"digest": "no manifest"}
    metrics = manifest.get("metrics")
    figures = metrics.items() if isinstance(metrics, dict) else ()
    manifest["metrics"] = {name: value for name, value in figures if isinstance(value, int | float)}
    return manifest | {name: str(manifest.get(name, "")) for name in ("span", "run_id")}


def _state(folder: Path) -> str:
    try:
        manifest = read_manifest(str(folder))
        check_companions(str(folder), manifest)
        return "ok" if make_manifest(str(folder))["digest"] == manifest["digest"] else "changed since the push"
    except ManifestError as err:
        return str(err)
    except OSError as err:
        return f"{err.filename} cannot be read: {err.strerror}"


def _pushed_at(folder: Path) -> str:
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _kib(folder: Path) -> str:
    return f"{sum((folder / name).lstat().st_size for name in list_files(str(folder))) / 1024:.0f}"


def _run(run_id: str) -> str:
    """Returns a run's id to the second, or a backend's without its project and region."""
    return run_id.rpartition("/")[2] if "/" in run_id else run_id[:15]
