"""`sluice compile`: from a config to the file that a backend runs. Imports TFX only once it runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from components.imports import quick_imports
from pipeline.cli_options import config_options, image_override, load_or_exit
from pipeline.config_errors import ConfigError
from pipeline.deployment_config import Target
from pipeline.log_file import discarded_stderr
from pipeline.run_record import ExitCode
from pipeline.terminal import shown

if TYPE_CHECKING:
    from pipeline.kubeflow_v2_runner import CompiledPipeline


@click.command(name="compile")
@config_options
@click.option("--target", type=click.Choice(get_args(Target)), required=True, help="The backend that runs the file.")
@click.option("--image", metavar="REF", help="Container image of every task, in place of the config's.")
@click.option(
    "--output",
    "spec_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the YAML goes.  [default: PIPELINE-TARGET.yaml]",
)
def compile_command(
    config_file: str, overrides: tuple[str, ...], target: Target, image: str | None, spec_file: Path | None
) -> None:
    """Compile the pipeline for Vertex AI or Kubeflow Pipelines.

    Needs no cloud, no bucket and no credentials. For Vertex AI, a PipelineJob as JSON is written beside the YAML.

    \b
    Examples:
      sluice compile --target kubeflow
      sluice compile my.yaml --target vertex --image europe-docker.pkg.dev/my-project/ml/sluice:1
    """
    if spec_file and spec_file.suffix == ".json":
        raise click.UsageError(f"--output {spec_file}: is the YAML; a PipelineJob is written beside it as JSON.")
    config = load_or_exit(config_file, image_override(overrides, image))
    with discarded_stderr(), quick_imports():  # TensorFlow's remarks
        from pipeline.kubeflow_v2_runner import compile_pipeline

    try:
        compiled = compile_pipeline(config, target=target)
        spec_file = spec_file or Path(f"{config.pipeline_name}-{target}.yaml")
        files = _write(compiled, spec_file)
    except ConfigError as err:
        click.echo(f"ConfigError: {err}", err=True)
        sys.exit(ExitCode.USAGE)
    except OSError as err:
        click.echo(f"Error: {spec_file} cannot be written: {err.strerror}.", err=True)
        sys.exit(ExitCode.FAILED)
    click.echo(f"{compiled.summary} -> {', '.join(map(shown, files))}")
    if required := compiled.required_parameters:
        click.echo(f"Parameters without a default: {', '.join(required)}; give them when it is rehearsed or submitted.")


def _write(compiled: "CompiledPipeline", spec_file: Path) -> list[Path]:
    spec_file.write_text(compiled.yaml_text)
    if not compiled.job:
        return [spec_file]
    job_file = spec_file.with_suffix(".json")
    job_file.write_text(compiled.job_text)
    return [spec_file, job_file]
