"""Puts what is wrong with a config in words. Runs at compile time."""

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

LONGEST_VALUE = 60
_SECRET = ("notification",)  # the one section that may hold secrets


class ConfigError(ValueError):
    """A config with mistakes; the message has a line or more for each, with its file and dotted key."""


def dotted(path: Sequence[int | str]) -> str:
    """Returns the key of a place in a config: `evaluator.thresholds[0].metric`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def leaves(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leaves out that a list is too short when it is so only because its items are wrong."""
    locs = [error["loc"] for error in errors]
    return [
        error
        for error in errors
        if error["type"] != "too_short"
        or not any(loc != error["loc"] and loc[: len(error["loc"])] == error["loc"] for loc in locs)
    ]


def explain(error: ErrorDetails, model: type[BaseModel]) -> list[str]:
    """Returns a line, with lines of hints below it, for each problem of an error."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"]).splitlines()
    return [_sentence(error, model)]


def _sentence(error: ErrorDetails, model: type[BaseModel]) -> str:
    value = repr(error["input"])
    value = value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 3] + "..."
    if error["loc"][:1] == _SECRET and error["type"] != "literal_error":
        value = "what may be a secret"
    name = error["loc"][-1] if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"is not a known key.{choices(str(name), _known_keys(error['loc'], model))}"
    if error["type"] == "missing":
        return "is missing."
    if error["type"] == "literal_error":
        expected = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        return f"{value} is not one of its values.{choices(str(error['input']), expected)}"
    if error["type"] in ("model_type", "dict_type"):
        return f"must be a section of 'key: value' lines. Received: {value}."
    if error["type"] == "tuple_type":
        return f"must be a list. Received: {value}."
    message = error["msg"].removeprefix("Input ").removeprefix("String ")
    return f"{message[:1].lower()}{message[1:]}. Received: {value}."


def choices(given: str, expected: Sequence[str]) -> str:
    """Returns a line of what is possible, and which of it may have been meant."""
    matches = difflib.get_close_matches(given, expected, n=1) or difflib.get_close_matches(given.lower(), expected, n=1)
    hint = f" Did you mean '{matches[0]}'?" if matches else ""
    return f"\nExpected one of: {', '.join(expected)}.{hint}"


def _known_keys(loc: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """Returns the keys of the section that holds the unknown key at `loc`."""
    section = model
    for part in loc[:-1]:
        if field := section.model_fields.get(str(part)):  # else a place in a list, or a key of a dict, of sections
            section = _section_in(field.annotation) or section
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if hasattr(annotation, "model_fields"):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)
