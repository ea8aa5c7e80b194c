"""`sluice clean`: removes the artifacts of old runs. Imports TFX's metadata only once it looks."""

import os
import sys
from pathlib import Path

import click

from components.imports import quick_imports
from components.pusher.versions import VersionError
from pipeline.cli_options import check_credentials, load_or_exit, root_option, set_option
from pipeline.config import REFERENCE_CONFIG
from pipeline.log_file import discarded_stderr
from pipeline.metadata_config import MetadataConfig
from pipeline.run_lock import LockedError, locked_pipeline
from pipeline.run_outcome import MetadataError
from pipeline.run_record import ExitCode, RunPaths
from pipeline.terminal import shown

_MOST_NAMED = 20


@click.command()
@click.option("--config", "config_file", default=REFERENCE_CONFIG, help="Config that names the pipeline.")
@set_option
@root_option
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    required=True,
    metavar="N",
    help="How many of the newest runs keep their artifacts.",
)
@click.option("--unknown", is_flag=True, help="Remove artifacts, too, that the metadata store does not know.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option(
    "--wait",
    "wait_secs",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for a run of this pipeline to end, instead of giving up at once.",
)
def clean(
    config_file: str,
    overrides: tuple[str, ...],
    root: Path,
    keep: int,
    unknown: bool,
    dry_run: bool,
    wait_secs: float,
) -> None:
    """Remove the artifacts and logs of all but the newest N runs.

    What these took from the cache stays, what the newest complete run used, and what the runs used whose models are
    served or labelled. Pushed versions (`sluice versions prune`), records and reports stay all.

    \b
    Examples:
      sluice clean --keep 5 --dry-run
      sluice clean --keep 5 --wait 600
    """
    config = load_or_exit(config_file, overrides)
    paths = RunPaths(root.resolve(), config.pipeline_name, "")
    if not paths.metadata_file.parent.is_dir():
        raise click.UsageError(f"--root: {shown(root)} holds no run of pipeline {config.pipeline_name}.")
    check_credentials(config)
    try:
        with locked_pipeline(
            paths.lock_file, wait_secs=wait_secs, on_wait=lambda text: click.echo(text, err=True)
        ) as lock:
            lock.name("sluice clean")
            _clean(config.metadata, paths, keep=keep, unknown=unknown, dry_run=dry_run)
    except LockedError as err:
        click.echo(f"BUSY: {err}", err=True)
        sys.exit(ExitCode.BUSY)
    except (OSError, MetadataError, VersionError) as err:
        click.echo(f"FAILED: {err}", err=True)
        sys.exit(ExitCode.FAILED)


def _clean(settings: MetadataConfig, paths: RunPaths, *, keep: int, unknown: bool, dry_run: bool) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own remarks
    with discarded_stderr(), quick_imports():
        from pipeline.cleaning import find_doomed, remove
        from pipeline.metadata_store import check_store, claim, connection_config, opened

    connection = connection_config(settings, paths.metadata_file)
    with discarded_stderr():  # remarks of MLMD's client about a server that refuses it
        check_store(connection)
    with opened(connection) as handle:
        claim(handle, paths)
        doomed = find_doomed(handle, paths, keep=keep, with_unknown=unknown)
        for path in (*doomed.folders, *doomed.logs)[:_MOST_NAMED]:
            click.echo(f"  {shown(path, paths.root)}")
        if (num_more := len(doomed.folders) + len(doomed.logs) - _MOST_NAMED) > 0:
            click.echo(f"  and {num_more} more")
        if not dry_run:
            remove(handle, doomed)
    kept = f"{doomed.num_kept} run{'s' * (doomed.num_kept != 1)} keep{'s' * (doomed.num_kept == 1)} artifacts"
    served = f", those of version {', '.join(map(str, doomed.versions))} among them" * bool(doomed.versions)
    done = "would be removed" if dry_run else "removed"
    click.echo(
        f"{len(doomed.folders)} folders of artifacts and {len(doomed.logs)} logs, {doomed.num_bytes / 2**20:.1f} MiB, "
        f"{done}; {kept}{served}."
    )
