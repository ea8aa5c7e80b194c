"""Fills in the placeholders of a command, in one pass, as launchers do (component/launcher_v2.go, getPlaceholders)."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PLACEHOLDER = re.compile(r"\{\{\$(.*?)\}\}")
_LONGEST = 300
_INPUT_OR_OUTPUT = re.compile(r"\.(inputs|outputs)\.(parameters|artifacts)\['([^']+)'\](?:\.(\w+))?(?:\['([^']+)'\])?")


class PlaceholderError(ValueError):
    """A placeholder that stands for nothing."""


def fill_in(command: Sequence[str], executor_input: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Returns a command with a value in place of each placeholder.

    Args:
        command: Arguments; one may be `{"IfPresent": ...}` or `{"Concat": ...}` as JSON.
        executor_input: The ExecutorInput, for `{{$}}` and the inputs and outputs of the task.
        names: Values of the other placeholders, such as `pipeline_job_name`.

    Raises:
        PlaceholderError: If a placeholder is not known, or names what the task does not have.
    """
    arguments: list[str] = []
    for argument in command:
        arguments += _expand(argument, executor_input.get("inputs", {}))
    return [fill_in_text(argument, executor_input, names) for argument in arguments]


def fill_in_text(text: str, executor_input: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Returns a text with a value in place of each placeholder; errors as of `fill_in`."""
    return _PLACEHOLDER.sub(lambda match: _value(match[1], executor_input, names), text)


def _value(placeholder: str, executor_input: Mapping[str, Any], names: Mapping[str, str]) -> str:
    if not placeholder:
        return json.dumps(executor_input)
    if placeholder in (".outputs.output_file", ".outputMetadataUri"):
        return executor_input["outputs"]["outputFile"]
    if placeholder.removeprefix(".") in names:
        return names[placeholder.removeprefix(".")]
    match = _INPUT_OR_OUTPUT.fullmatch(placeholder)
    try:
        if match:
            return _input_or_output(executor_input, *match.groups())
    except (LookupError, TypeError):
        raise PlaceholderError(f"{{{{${placeholder}}}}} names what the task does not have") from None
    raise PlaceholderError(f"{{{{${placeholder}}}}} is no placeholder that is known")


def _input_or_output(
    executor_input: Mapping[str, Any], side: str, kind: str, name: str, field: str | None, key: str | None
) -> str:
    if kind == "artifacts":
        artifact = executor_input[side]["artifacts"][name]["artifacts"][0]
        found = artifact[{"path": "uri", None: "uri"}.get(field, field)]
        return as_text(found[key] if key else found)
    if side == "outputs":
        return executor_input["outputs"]["parameters"][name]["outputFile"]
    return as_text(executor_input["inputs"]["parameterValues"][name])


def as_text(value: Any) -> str:
    """Writes a parameter as launchers do: text as it is, whole numbers without a point, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def _expand(argument: str, inputs: Mapping[str, Any]) -> list[str]:
    if not argument.startswith(('{"IfPresent":', '{"Concat":')):
        return [argument]
    try:
        return _expand_struct(json.loads(argument), inputs)
    except (ValueError, LookupError, TypeError) as err:
        raise PlaceholderError(f"{argument[:_LONGEST]} is no IfPresent or Concat that is known") from err


def _expand_struct(struct: Any, inputs: Mapping[str, Any]) -> list[str]:
    if isinstance(struct, str):
        return [struct]
    if isinstance(struct, list):
        return [text for item in struct for text in _expand_struct(item, inputs)]
    if "Concat" in struct:
        return ["".join(_expand_struct(struct["Concat"], inputs))]
    branch = struct["IfPresent"]
    present = branch["InputName"] in {**inputs.get("parameterValues", {}), **inputs.get("artifacts", {})}
    return _expand_struct(branch["Then"] if present else branch.get("Else", []), inputs)
