"""How the page of a run writes numbers, and text that others wrote. Imported where the page is rendered."""

import re
import shlex
from typing import Any

from markupsafe import Markup

NONE = "\N{EN DASH}"
MOST_CHARACTERS = 120
MOST_SENTENCE_CHARACTERS = 1000
MOST_CONFIG_CHARACTERS = 60_000
_NO_HTML = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
_MOST_COMMAND_CHARACTERS = 400


def clean(value: Any, most: int = MOST_CHARACTERS) -> Any:
    """Returns text of which every character may stand in HTML and which is not too long; all else as it is."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = _NO_HTML.sub("\N{REPLACEMENT CHARACTER}", value[: most + 1].replace("\r\n", "\n"))
    return text if len(value) <= most else f"{text[:most]}\N{HORIZONTAL ELLIPSIS} ({count(len(value))} characters)"


def isolated(value: Any, most: int = MOST_CHARACTERS) -> Markup:
    """Returns text that others wrote, so that its direction stays its own."""
    return Markup('<bdi dir="auto">{}</bdi>').format(clean(str(value), most))


def command(*words: str) -> str:
    """Returns a command line; an empty one if it cannot be shown whole and as it is."""
    line = shlex.join(words)
    return line if len(line) <= _MOST_COMMAND_CHARACTERS and clean(line, len(line)) == line else ""


def count(number: float | None) -> str:
    """Returns a number of things, in groups of three digits from 10 000 on; of weights, with a decimal."""
    if number is None:
        return NONE
    if number != int(number):
        return f"{number:.1f}"
    return f"{int(number):,}".replace(",", _THIN_SPACE) if abs(number) >= 10_000 else str(int(number))


def figure(number: float | None) -> str:
    """Returns a metric with four decimals, or with four digits if that would hide it."""
    if number is None:
        return NONE
    return f"{number:.4f}" if number == 0 or 0.001 <= abs(number) < 1000 else f"{number:.4g}"


def statistic(number: float | None) -> str:
    """Returns a number with four digits."""
    return NONE if number is None else f"{number:.4g}"


def change(number: float | None) -> str:
    """Returns a difference of metrics with its sign."""
    return NONE if number is None else f"{number:+.4f}"


def share(number: float | None) -> str:
    """Returns a share in percent."""
    return NONE if number is None else f"{100 * number:.1f}{_THIN_SPACE}%"


def seconds(number: float | None) -> str:
    """Returns a duration."""
    if number is None:
        return NONE
    if number < 60:
        return f"{number:.2f}{_THIN_SPACE}s" if number < 1 else f"{number:.1f}{_THIN_SPACE}s"
    minutes, rest = divmod(round(number), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}{_THIN_SPACE}h {minutes}{_THIN_SPACE}min"
        if hours
        else f"{minutes}{_THIN_SPACE}min {rest}{_THIN_SPACE}s"
    )


def size(num_bytes: int | None) -> str:
    """Returns a number of bytes."""
    if num_bytes is None:
        return NONE
    return f"{num_bytes / 1024:.1f} KiB" if num_bytes < 1024**2 else f"{num_bytes / 1024**2:.1f} MiB"


def moment(text: str) -> str:
    """Returns a time of ISO 8601 as people write it."""
    return text.replace("T", " ", 1).replace("+00:00", " UTC")
