"""`sluice submit`: from a config or a compiled spec to a run in the cloud. Imports what it needs only once it runs."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import click

from pipeline.cli_options import config_options, image_override, load_or_exit, name_value_pairs
from pipeline.config import PipelineConfig
from pipeline.config_errors import ConfigError
from pipeline.deployment_config import Target
from pipeline.log_file import discarded_stderr
from pipeline.run_record import ExitCode
from pipeline.submission.api import SUCCEEDED, Api, ApiError, Request
from pipeline.submission.settings import check_settings
from pipeline.submission.submission import (
    Submission,
    compile_submission,
    read_submission,
    with_parameters,
    without_cache,
)
from pipeline.submission.watch import verdict, watch
from pipeline.terminal import Terminal


@dataclass(frozen=True)
class _Options:
    target: Target
    spec_file: Path | None
    parameters: tuple[str, ...]
    image: str | None
    run_name: str | None
    wait: bool
    no_cache: bool
    dry_run: bool


@click.command()
@config_options
@click.option("--target", type=click.Choice(get_args(Target)), required=True, help="The backend that runs it.")
@click.option(
    "--spec",
    "spec_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Submit what `sluice compile` or kfp's compiler wrote; CONFIG then only says where to.",
)
@click.option(
    "--parameter",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    help="Value of a runtime parameter. Repeatable.",
)
@click.option("--image", metavar="REF", help="Container image of every task, in place of the config's.")
@click.option(
    "--run-name",
    metavar="NAME",
    help="Of the run, in Vertex AI its id too, which must be new; or of the schedule.  [default: PIPELINE-TIME]",
)
@click.option("--wait", is_flag=True, help="Show the state of every task until the run ends.")
@click.option("--no-cache", is_flag=True, help="Execute every task.")
@click.option("--dry-run", is_flag=True, help="Print the requests and send nothing; needs no network and no login.")
def submit(config_file: str, overrides: tuple[str, ...], **options: Any) -> None:
    """Run the pipeline on Vertex AI or Kubeflow Pipelines.

    CONFIG's section `vertex` or `kubeflow` says where and as whom. With a `schedule` in it, runs start by that: each
    submission adds a schedule, and those that are there stay. Logins come from the environment: Google's application
    default credentials; a token in the file KF_PIPELINES_SA_TOKEN_PATH for Kubeflow Pipelines.

    \b
    Exit codes: 0 submitted, with --wait succeeded   1 refused, unreachable, or failed   2 wrong usage or config
                130 no longer watched; the run goes on

    \b
    Examples:
      sluice submit vertex.yaml --target vertex --parameter num_epochs=20 --wait
      sluice submit kubeflow.yaml --target kubeflow --spec reference-kubeflow.yaml
      sluice submit vertex.yaml --target vertex --dry-run
    """
    chosen = _Options(**options)
    config = load_or_exit(config_file, image_override(overrides, chosen.image))
    _check_usage(config, chosen)
    sys.exit(_submit(config, chosen))


def _check_usage(config: PipelineConfig, options: _Options) -> None:
    if options.wait and options.dry_run:
        raise click.UsageError("--dry-run sends nothing to wait for; leave out --wait.")
    if options.wait and getattr(config, options.target).schedule:
        raise click.UsageError(f"{options.target}.schedule starts the runs, each at its time; leave out --wait.")
    if options.spec_file and options.image:
        raise click.UsageError("--spec names the images already; leave out --image.")


def _submit(config: PipelineConfig, options: _Options) -> ExitCode:
    from pipeline.rehearsal.spec import SpecError

    try:
        # The images of a file are its own matter.
        check_settings(config, options.target, image=options.image or str(options.spec_file or ""))
        submission = _make_submission(config, options)
        with discarded_stderr():  # remarks of the HTTP and gRPC libraries
            return (_dry_run if options.dry_run else _run)(config, options, submission)
    except (ConfigError, SpecError) as err:
        click.echo(f"{type(err).__name__}: {err}", err=True)
        return ExitCode.USAGE
    except ApiError as err:
        click.echo(f"Error: {err}", err=True)
        return ExitCode.FAILED


def _make_submission(config: PipelineConfig, options: _Options) -> Submission:
    given = name_value_pairs("--parameter NAME=VALUE", options.parameters)
    submission = (
        read_submission(options.spec_file, options.target)
        if options.spec_file
        else compile_submission(config, options.target, options.image)
    )
    is_scheduled = bool(getattr(config, options.target).schedule)
    time = "" if is_scheduled else datetime.now(UTC).strftime("-%Y%m%d%H%M%S")
    run_name = options.run_name or submission.pipeline_name + time
    submission = dataclasses.replace(with_parameters(submission, given), run_name=run_name)
    return without_cache(submission) if options.no_cache else submission


def _make_api(config: PipelineConfig, target: Target, requests: list[Request] | None = None) -> Api:
    if target == "vertex":
        from pipeline.submission.vertex import VertexApi

        return VertexApi(config.vertex, requests)
    from pipeline.submission.kubeflow import KubeflowApi

    return KubeflowApi(config.kubeflow, requests)


def _dry_run(config: PipelineConfig, options: _Options, submission: Submission) -> ExitCode:
    requests: list[Request] = []
    _make_api(config, options.target, requests).submit(submission)
    for request in requests:
        click.echo(request.call)
        if request.body is not None:
            click.echo(json.dumps(request.body, indent=2, sort_keys=True))
    return ExitCode.PUSHED


def _run(config: PipelineConfig, options: _Options, submission: Submission) -> ExitCode:
    terminal = Terminal(sys.stdout)
    api = _make_api(config, options.target)
    submitted = api.submit(submission)
    terminal.print(f"Submitted {submission.run_name}: {submitted.link}")
    if not options.wait:
        return ExitCode.PUSHED
    try:
        status = watch(lambda: api.status(submitted), terminal, submission.task_names())
    except KeyboardInterrupt:
        terminal.stop()
        terminal.print(f"No longer watched; the run goes on: {submitted.link}")
        terminal.print(f"To cancel it: {submitted.cancel_command}")
        return ExitCode.INTERRUPTED
    except ApiError as err:
        raise ApiError(f"{err} The run may go on: {submitted.link}") from err
    has_succeeded = status.state == SUCCEEDED
    terminal.print(verdict(status), "bold green" if has_succeeded else "bold red")
    return ExitCode.PUSHED if has_succeeded else ExitCode.FAILED
