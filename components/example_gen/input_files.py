"""Finds the files of a span, or of several, and what they hold. Imports neither TensorFlow nor TFX."""

import glob as local_files
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Any, BinaryIO

from components.example_gen import NEWEST_SPAN

ALL_SPANS = 0  # as a number of spans
_EPOCH = date(1970, 1, 1)  # TFX's span 0 of dates
_BLOCK_BYTES = 1 << 20
_PARTS = {
    "{YYYY}": "(?P<year>[0-9]{4})",
    "{MM}": "(?P<month>[0-9]{2})",
    "{DD}": "(?P<day>[0-9]{2})",
    "*": "[^/]*",
    "?": "[^/]",
}


def span_number(span: int | date) -> int:
    """Returns the number of a span that may be named by its date."""
    return span if isinstance(span, int) else (span - _EPOCH).days


def with_span(pattern: str, span: int) -> str:
    """Returns a pattern of files with a span's number or date in it; `{VERSION}` becomes a wildcard."""
    pattern = re.sub(r"\{SPAN(?::(\d+))?\}", lambda match: str(span).zfill(int(match[1] or 0)), pattern)
    day = _EPOCH + timedelta(days=span) if "{YYYY}" in pattern else _EPOCH
    for name, text in (("{YYYY}", f"{day:%Y}"), ("{MM}", f"{day:%m}"), ("{DD}", f"{day:%d}")):
        pattern = pattern.replace(name, text)
    return any_span(pattern)


def any_span(pattern: str) -> str:
    """Returns a pattern of the files of all spans."""
    return re.sub(r"\{[^}]*\}", "*", pattern)


def find_files(
    input_dir: str,
    pattern: str,
    *,
    span: int = NEWEST_SPAN,
    num_spans: int = 1,
    glob: Callable[[str], Iterable[str]] = local_files.glob,
) -> list[str]:
    """Returns the files of the spans `span - num_spans + 1` to `span`, of each span its newest version, sorted.

    Args:
        input_dir: Folder of the files.
        pattern: Of the files under it, with `{SPAN}`, or `{YYYY}`, `{MM}` and `{DD}`, perhaps `{VERSION}`, or none.
        span: The last one; `NEWEST_SPAN` is the one with the highest number.
        num_spans: How many numbers or days to go back; not each needs to be there. `ALL_SPANS` for all before.
        glob: Lists the files that match a pattern.
    """
    files = sorted(glob(os.path.join(input_dir, any_span(pattern))))
    if "{" not in pattern:
        return files
    found: dict[int, dict[int, list[str]]] = {}
    expression = re.compile(re.escape(os.path.join(input_dir, "")) + _expression(pattern))
    for file in files:
        if (match := expression.fullmatch(file)) and (number := _number(match)) is not None:
            version = int(match.groupdict().get("version") or 0)
            found.setdefault(number, {}).setdefault(version, []).append(file)
    last = max(found, default=0) if span == NEWEST_SPAN else span
    first = 0 if num_spans == ALL_SPANS else last - num_spans + 1
    return sorted(file for number in found if first <= number <= last for file in found[number][max(found[number])])


def files_digest(files: Sequence[str], open_file: Callable[[str, str], Any] = open) -> str:
    """Returns the SHA-256 of the names and the contents of files."""
    digest = hashlib.sha256()
    for path in files:
        content = hashlib.sha256()
        with open_file(path, "rb") as file:
            _read_into(content, file)
        digest.update(os.path.basename(path).encode() + b"\0" + content.digest())
    return digest.hexdigest()


def _read_into(digest: Any, file: BinaryIO) -> None:
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)


def _expression(pattern: str) -> str:
    parts = re.split(r"(\{[^}]*\}|\*|\?)", pattern)
    texts = []
    for part in parts:
        name = re.fullmatch(r"\{(SPAN|VERSION)(?::\d+)?\}", part)
        texts.append(f"(?P<{name[1].lower()}>[0-9]+)" if name else _PARTS.get(part) or re.escape(part))
    return "".join(texts)


def _number(match: re.Match[str]) -> int | None:
    groups = match.groupdict()
    if "span" in groups:
        return int(groups["span"])
    try:
        return span_number(date(int(groups["year"]), int(groups["month"]), int(groups["day"])))
    except ValueError:  # no such day
        return None
