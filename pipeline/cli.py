"""The command line. `--help` and `validate` import neither TensorFlow nor TFX."""

import os
import shlex
import sys
from pathlib import Path

import click

from pipeline.clean_command import clean
from pipeline.cli_options import (
    check_credentials,
    checked_reason,
    config_options,
    destination_options,
    load_or_exit,
    root_option,
    set_option,
    span_overrides,
)
from pipeline.compile_command import compile_command
from pipeline.config import REFERENCE_CONFIG
from pipeline.init.command import init
from pipeline.log_file import discarded_stderr
from pipeline.prediction.command import predict
from pipeline.rehearsal.command import rehearse
from pipeline.reports.command import compare, history, report
from pipeline.run_record import COMPONENTS, OPTIONAL_COMPONENTS, ExitCode
from pipeline.submission.command import submit
from pipeline.versions_command import versions


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice")
def main() -> None:
    """A TFX pipeline for tabular classification: only a model that has earned it is pushed."""


main.add_command(init)
main.add_command(versions)
main.add_command(clean)
main.add_command(predict)
main.add_command(compile_command)
main.add_command(rehearse)
main.add_command(submit)
main.add_command(report)
main.add_command(history)
main.add_command(compare)


@main.command()
@config_options
@root_option
@click.option("--no-cache", is_flag=True, help="Execute every component.")
@click.option(
    "--from",
    "from_component",
    type=click.Choice((*COMPONENTS, *OPTIONAL_COMPONENTS)),
    metavar="COMPONENT",
    help=f"Execute COMPONENT and all that depends on it: {', '.join((*COMPONENTS, *OPTIONAL_COMPONENTS))}.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on after the last component that finished, also where the config has `enable_cache: false`.",
)
@click.option(
    "--force-push",
    metavar="REASON",
    callback=checked_reason,
    help="Push the model also if the Evaluator refuses it; its manifest keeps REASON.",
)
@click.option(
    "--span",
    metavar="SPAN",
    help="Read this span, a number or a date such as 2026-01-31; FIRST:LAST reads a range, `newest` the newest.",
)
@click.option("--if-new-data", is_flag=True, help="Do nothing if neither data nor config changed since the last run.")
@click.option(
    "--wait",
    "wait_secs",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for another run of this pipeline to end, instead of giving up at once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON; what people read goes to stderr.")
def run(
    config_file: str,
    overrides: tuple[str, ...],
    root: Path,
    no_cache: bool,
    from_component: str | None,
    resume: bool,
    force_push: str,
    span: str | None,
    if_new_data: bool,
    wait_secs: float,
    as_json: bool,
) -> None:
    """Run the pipeline on this machine.

    CONFIG is a YAML file; without one, the reference pipeline runs.

    \b
    Exit codes: 0 pushed, or nothing to do   1 failed          2 wrong usage or config   3 model refused
                4 data refused               5 infra refused   6 another run is at work
                130 interrupted              143 terminated

    \b
    Examples:
      sluice run
      sluice run my.yaml --set trainer.num_epochs=20 --set 'evaluator.thresholds[0].lower_bound=0.95'
      sluice run --from Trainer
      sluice run --resume
      sluice run nightly.yaml --span 2026-01-01:2026-01-31
      sluice run nightly.yaml --if-new-data --wait 3600
      sluice run --force-push "sensor 3 was replaced; agreed in review 118"
    """
    from pipeline.run_command import RunOptions, run_pipeline, without_run
    from pipeline.run_lock import LockedError

    if no_cache and from_component:
        raise click.UsageError("--no-cache executes every component; leave out --from.")
    if resume and no_cache:
        raise click.UsageError("--resume goes on from the cache; leave out --no-cache.")
    if if_new_data and (no_cache or from_component or force_push):
        raise click.UsageError("--if-new-data may do nothing; leave out --no-cache, --from and --force-push.")
    config = load_or_exit(config_file, (*overrides, *span_overrides(span), *["enable_cache=true"] * resume))
    if force_push and config.pusher.executor == "stock":
        raise click.UsageError("--force-push needs the manifest that pusher.executor: atomic keeps.")
    if names := config.beam.distributed_components:
        raise click.UsageError(
            f"the Beam workers of {', '.join(names)} cannot read --root {root}. Compile the pipeline, or run Beam in "
            "this process with --set 'beam={}'."
        )
    check_credentials(config)
    _make_dir(root)
    options = RunOptions(not no_cache, from_component, force_push, wait_secs, if_new_data)
    try:
        exit_code = run_pipeline(config, options, config_file=config_file, root=root, as_json=as_json)
    except (LockedError, OSError) as err:
        click.echo(without_run(err, root), err=True)
        sys.exit(ExitCode.BUSY if isinstance(err, LockedError) else ExitCode.FAILED)
    _leave(exit_code)


@main.command()
@config_options
def validate(config_file: str, overrides: tuple[str, ...]) -> None:
    """Check a config, its schema and its paths; nothing runs.

    \b
    Example:
      sluice validate my.yaml
    """
    config = load_or_exit(config_file, overrides)
    roles = config.feature_roles()
    click.echo(
        f"{config_file} is valid: pipeline {config.pipeline_name}, {len(roles.numeric)} numeric "
        f"and {len(roles.categorical)} categorical features, "
        f"label {roles.label} with {len(roles.class_names)} classes ({', '.join(roles.class_names)})."
    )


@main.command()
@destination_options
@click.option("--rest-port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0 for a free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8500, show_default=True, help="0 for a free one.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "builtin", "tensorflow_model_server", "docker"]),
    default="auto",
    show_default=True,
    help="auto: tensorflow_model_server if it is installed, else the built-in one. docker prints the command.",
)
def serve(base_dir: Path, rest_port: int, grpc_port: int, engine: str) -> None:
    """Serve what was pushed, with TF Serving's REST and gRPC API, on this machine.

    New versions, promotions and rollbacks take effect within a second or two. The built-in server is for development:
    it runs the model in TensorFlow's C++ runtime, listens on 127.0.0.1 and has neither TLS nor batching.

    \b
    Examples:
      sluice serve
      sluice serve --engine docker
    """
    from components.pusher.versions import VersionError
    from pipeline.serving import engine as engines

    if engine == "auto":
        engine = "tensorflow_model_server" if engines.has_model_server() else "builtin"
    try:
        if engine == "docker":
            command = engines.docker_command(base_dir, rest_port=rest_port, grpc_port=grpc_port)
            click.echo(shlex.join(command))
        elif engine == "tensorflow_model_server":
            if not engines.has_model_server():
                raise click.UsageError("tensorflow_model_server is not on the PATH; --engine builtin needs nothing.")
            command = engines.model_server_command(base_dir, rest_port=rest_port, grpc_port=grpc_port)
            click.echo(shlex.join(command))
            os.execvp(command[0], command)
        else:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own remarks
            with discarded_stderr():
                from pipeline.serving.server import serve as serve_builtin

            serve_builtin(base_dir, rest_port=rest_port, grpc_port=grpc_port)
    except (OSError, VersionError) as err:
        click.echo(f"Error: {err}", err=True)
        sys.exit(ExitCode.FAILED)


@main.command()
@click.option("--config", "config_file", default=REFERENCE_CONFIG, help="Config whose metadata store is tried.")
@set_option
@root_option
def doctor(config_file: str, overrides: tuple[str, ...], root: Path) -> None:
    """Check this machine: Python, glibc, native wheels, kfp, Beam's runner, metadata store, disk.

    \b
    Examples:
      sluice doctor
      sluice doctor --config team.yaml
    """
    from pipeline.doctor import examine_and_print

    sys.exit(examine_and_print(root, load_or_exit(config_file, overrides).metadata))


def _leave(exit_code: ExitCode) -> None:
    if exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        # Worker threads of a Beam pipeline that was interrupted may never end, and the interpreter would wait for them.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


def _make_dir(root: Path) -> None:
    if set("*?[") & set(str(root.resolve())):
        raise click.UsageError(f"--root: {root.resolve()} holds one of * ? [, which Beam reads as patterns.")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise click.UsageError(f"--root: {root} cannot be made: {err.strerror}.") from err
