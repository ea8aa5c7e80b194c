"""Keeps the rows of a file that have faults aside. Runs on Beam workers. Imports neither TensorFlow, TFX nor Beam."""

import json
import math
import tempfile
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_MOST_IN_MEMORY = 1 << 20  # bytes; the rest waits on the worker's disk
_MOST_PLACES = 100_000  # of rows: the place of each costs memory


class Quarantine:
    """Rows with faults of one file, of which there may be too many for memory."""

    def __init__(self) -> None:
        self._texts = tempfile.SpooledTemporaryFile(_MOST_IN_MEMORY)  # noqa: SIM115 - it lives as long as this
        self._records, self._lengths = array("q"), array("q")

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: int, reasons: Sequence[str], cells: str | Mapping[str, Any]) -> None:
        """Adds a row: its record, counted from 0, why it is here, and its cells by column or as one text."""
        texts = cells if isinstance(cells, str) else {name: _json_value(value) for name, value in cells.items()}
        text = json.dumps({"reasons": list(reasons), "cells": texts}).encode()
        self._texts.write(text)
        self._records.append(record)
        self._lengths.append(len(text))

    def lines(self, file: str, places: Callable[[Collection[int]], Mapping[int, str]]) -> Iterator[str]:
        """Yields each row as a line of JSON, `place`, `reasons` and `cells`, in the order of the file.

        Args:
            file: Its name.
            places: Says where records are.
        """
        records, lengths = np.array(self._records, np.int64), np.array(self._lengths, np.int64)
        starts, order = np.cumsum(lengths) - lengths, np.argsort(records, kind="stable")
        known = places(records[order[:_MOST_PLACES]].tolist())
        for index in order.tolist():
            self._texts.seek(int(starts[index]))
            record = int(records[index])
            place = known.get(record, f"{file} row {record + 1}")
            yield json.dumps({"place": place, **json.loads(self._texts.read(int(lengths[index])))}) + "\n"


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    is_json = isinstance(value, int | str | None) or (isinstance(value, float) and math.isfinite(value))
    return value if is_json else str(value)
