"""`sluice rehearse`: executes a compiled spec on this machine. Imports neither TensorFlow nor TFX."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.cli_options import name_value_pairs
from pipeline.run_record import ExitCode


@click.command()
@click.argument("spec_file", metavar="SPEC", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--parameter",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    help="Value of a runtime parameter; a relative path that exists is made absolute. Repeatable.",
)
@click.option(
    "--map",
    "folders",
    metavar="PREFIX=FOLDER",
    multiple=True,
    help="Folder in place of a remote one, or of one in a container: gs://bucket/data=./data. Repeatable.",
)
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("output/rehearsals"),
    show_default=True,
    help="Folder of everything that tasks write, also to buckets and volumes without --map.",
)
@click.option(
    "--max-backoff",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECS",
    help="Longest wait before a retry, whatever the spec says.",
)
def rehearse(
    spec_file: Path, parameters: Sequence[str], folders: Sequence[str], root: Path, max_backoff: float
) -> None:
    """Execute a compiled pipeline on this machine, task by task, as the backend would.

    SPEC is what `sluice compile` or kfp's compiler wrote. Each task is a process of its own that runs the spec's own
    command in this environment: images are not pulled, resources and caching are not enforced, loops are refused.

    \b
    Exit codes: 0 succeeded   1 failed   2 wrong usage or spec   130 interrupted

    \b
    Examples:
      sluice rehearse reference-kubeflow.yaml --map /mnt/sluice/data=schema/reference/data
      sluice rehearse reference-vertex.json --parameter input_dir=schema/reference/data --parameter num_epochs=2
    """
    from pipeline.rehearsal.run import run_rehearsal
    from pipeline.rehearsal.spec import SpecError, load_spec, resolve_parameters

    try:
        specification = load_spec(spec_file)
        given = name_value_pairs("--parameter NAME=VALUE", parameters)
        values = {name: _absolute(value) for name, value in resolve_parameters(specification, given).items()}
        pairs = name_value_pairs("--map PREFIX=FOLDER", folders)
    except SpecError as err:
        click.echo(f"SpecError: {err}", err=True)
        sys.exit(ExitCode.USAGE)
    path_map = {prefix: Path(folder).absolute() for prefix, folder in pairs.items()}
    for prefix, folder in path_map.items():
        if not (prefix.strip("/") and pairs[prefix]):
            raise click.UsageError(f"--map {prefix}={pairs[prefix]}: is not PREFIX=FOLDER.")
        if not folder.is_dir():
            raise click.UsageError(f"--map: there is no folder {folder}.")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(run_rehearsal(specification, values, folders=path_map, root=root, max_backoff_secs=max_backoff))
    except OSError as err:
        click.echo(f"Error: {err.filename or root}: {err.strerror}.", err=True)
        sys.exit(ExitCode.FAILED)


def _absolute(value: object) -> object:
    """Returns a text that is the relative path of something that exists as the absolute one."""
    try:
        return str(Path(value).absolute()) if isinstance(value, str) and value and Path(value).exists() else value
    except (OSError, ValueError):  # longer than a path may be, or with a null character
        return value
