"""Options that several commands share. Imports neither TensorFlow nor TFX."""

import functools
import json
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import click

from components.example_gen.input_files import span_number
from pipeline.config import REFERENCE_CONFIG, PipelineConfig, load_config
from pipeline.config_errors import LONGEST_VALUE, ConfigError
from pipeline.run_record import ExitCode, RunPaths

set_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Use VALUE for a key of the config, for example trainer.num_epochs=1. Repeatable.",
)


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the argument CONFIG and `--set`, as `config_file` and `overrides`."""
    return click.argument("config_file", metavar="[CONFIG]", default=REFERENCE_CONFIG)(set_option(command))


def _checked_root(context: click.Context, parameter: click.Parameter, root: Path) -> Path:
    try:
        root.is_dir()
    except OSError as err:  # as of a name that is too long, or a folder that may not be entered
        raise click.BadParameter(f"{str(root)[:LONGEST_VALUE]} cannot be used: {err.strerror}.") from err
    return root


root_option = click.option(
    "--root",
    callback=_checked_root,
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("output"),
    show_default=True,
    help="Folder of everything that a run writes.",
)


def destination_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that name a push destination, together as `base_dir`."""

    @functools.wraps(command)
    def with_base_dir(config_file: str, root: Path, model_dir: Path | None, **arguments: Any) -> None:
        name = "" if model_dir else load_or_exit(config_file, ()).pipeline_name
        base_dir = model_dir or RunPaths(root, name, "").serving_model_dir
        command(base_dir=base_dir.resolve(), **arguments)

    for option in (
        click.option("--config", "config_file", default=REFERENCE_CONFIG, help="Config that names the pipeline."),
        root_option,
        click.option(
            "--model-dir",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder of numbered versions, instead of the one of --config under --root.",
        ),
    ):
        with_base_dir = option(with_base_dir)
    return with_base_dir


def checked_reason(context: click.Context, parameter: click.Parameter, reason: str | None) -> str:
    """Returns a reason in one line; empty if the option is not given.

    Raises:
        click.BadParameter: If it says nothing.
    """
    if reason is None:
        return ""
    words = " ".join(reason.split())
    if not any(map(str.isalnum, words)) or words.startswith("-"):
        raise click.BadParameter(f"must say why in words; the manifest keeps them. Received: {reason!r}.")
    return words


def load_or_exit(config_file: str, overrides: tuple[str, ...]) -> PipelineConfig:
    """Reads a config; prints its mistakes and exits with 2 if it has any."""
    try:
        return load_config(config_file, overrides)
    except ConfigError as err:
        click.echo(f"ConfigError: {err}", err=True)
        sys.exit(ExitCode.USAGE)


def check_credentials(config: PipelineConfig) -> None:
    """Checks that the environment says who logs in to the metadata store.

    Raises:
        click.UsageError: If it does not.
    """
    if sentence := config.metadata.missing_credentials():
        raise click.UsageError(sentence)


def span_overrides(text: str | None) -> tuple[str, ...]:
    """Returns overrides of a config for an option `--span`, if it was given.

    Raises:
        click.UsageError: If it names no span, or a range that ends before it begins.
    """
    if text is None:
        return ()
    if text == "newest":
        return ("example_gen.span=null",)
    first, colon, last = text.partition(":")
    try:
        spans = [int(each) if each.isdecimal() else date.fromisoformat(each) for each in (first, last or first)]
        num_spans = span_number(spans[1]) - span_number(spans[0]) + 1
    except ValueError as err:
        message = f"--span: '{text}' is no number, no date such as 2026-01-31, no FIRST:LAST and not `newest`."
        raise click.UsageError(message) from err
    if num_spans < 1 or (colon and not last) or type(spans[0]) is not type(spans[1]):
        raise click.UsageError(f"--span: {text} is no range FIRST:LAST.")
    return (f"example_gen.span={spans[1]}", *[f"example_gen.num_spans={num_spans}"] * bool(colon))


def image_override(overrides: tuple[str, ...], image: str | None) -> tuple[str, ...]:
    """Returns overrides of a config with the image of an option `--image`, if it was given.

    Raises:
        click.UsageError: If it is empty, as where a shell's variable is not set.
    """
    if image is None:
        return overrides
    if not image.strip():
        raise click.UsageError("--image is empty.")
    return (*overrides, f"image={json.dumps(image)}")


def name_value_pairs(usage: str, texts: Sequence[str]) -> dict[str, str]:
    """Takes texts such as `num_epochs=2` apart.

    Args:
        usage: How such an option is written: `--parameter NAME=VALUE`.
        texts: As given.

    Raises:
        click.UsageError: If one has no name or no equals sign.
    """
    for text in texts:
        name, equals, _ = text.partition("=")
        if not (name and equals):
            raise click.UsageError(f"{text} is not as in {usage}.")
    return dict(text.split("=", maxsplit=1) for text in texts)
