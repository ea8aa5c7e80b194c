"""Says to which split each row goes. Runs on Beam workers and in ExampleGen's process.

Of a row alone it depends where a hash, a column or a time decides, so that no row moves when others come or go.
Stratified, a row follows those before it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.hashing import Hashes

NONE = 255  # the code of a row that goes to no split
Codes = npt.NDArray[np.uint8]  # positions in the names of the splits


def by_hash(hashes: Hashes, buckets: Sequence[int]) -> Codes:
    """Returns the split of each row by its hash; `buckets` are the shares of the splits."""
    bounds = np.cumsum(buckets)
    return np.searchsorted(bounds, hashes % np.uint64(bounds[-1]), side="right").astype(np.uint8)


def by_value(texts: pa.Array, values: Sequence[Sequence[str]]) -> Codes:
    """Returns the split of each row by a column's text.

    Args:
        texts: Strings, `[num_rows]`.
        values: Of each split, in order, the texts that go there.
    """
    known = [(text, code) for code, each in enumerate(values) for text in each]
    codes = np.array([code for _, code in known] + [NONE], np.uint8)
    found = pc.index_in(texts, pa.array([text for text, _ in known], pa.string()))
    return codes[found.fill_null(len(known)).to_numpy(zero_copy_only=False)]


def by_time(cells: pa.Array, ends: Sequence[str]) -> Codes:
    """Returns the split of each row by its time: the first whose end is later, or else the last split.

    Args:
        cells: Text in ISO 8601, dates, timestamps or seconds since 1970, `[num_rows]`; times without a zone are UTC.
        ends: When each split but the last ends, ISO 8601, ascending.
    """
    micros = [int(_utc(end).timestamp() * 1_000_000) for end in ends]
    times, is_time = _micros(cells)
    return np.where(is_time, np.searchsorted(micros, times, side="right"), NONE).astype(np.uint8)


def stratified(hashes: Hashes, classes: npt.NDArray[np.integer[Any]], buckets: Sequence[int]) -> Codes:
    """Returns the split of each row, so that every class has its share in every split.

    The n-th distinct row of a class goes where the n-th goes; a row that is there again follows the first.

    Args:
        hashes: Of all rows of all files, in the order of the files' names.
        classes: Of each row.
        buckets: The shares of the splits.
    """
    pattern = _even_pattern(buckets)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    ranks = np.zeros(len(first), np.int64)
    in_order = np.argsort(first)
    class_of = classes[first][in_order]
    by_class = np.argsort(class_of, kind="stable")
    starts = np.searchsorted(class_of[by_class], class_of[by_class], side="left")
    ranks[in_order[by_class]] = np.arange(len(first)) - starts
    return pattern[ranks % len(pattern)][inverse]


def _even_pattern(buckets: Sequence[int]) -> Codes:
    """Returns the splits of as many rows as there are buckets, each as even as its share allows."""
    shares, given = np.array(buckets) / sum(buckets), np.zeros(len(buckets))
    pattern = []
    for position in range(1, sum(buckets) + 1):
        code = int(np.argmax(shares * position - given))
        given[code] += 1
        pattern.append(code)
    return np.array(pattern, np.uint8)


def _utc(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def is_time(text: str) -> bool:
    """Whether a text is a date or a time in ISO 8601."""
    try:
        _utc(text)
    except ValueError:
        return False
    return True


def _micros(cells: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Returns times in microseconds since 1970, and which cells are times."""
    if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type):
        seconds = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        good = np.isfinite(seconds) & (np.abs(seconds) < 1e12)
        return np.where(good, seconds * 1e6, 0).astype(np.int64), good
    if pa.types.is_temporal(cells.type):
        if pa.types.is_date(cells.type):
            cells = cells.cast(pa.timestamp("s"))
        times = cells.cast(pa.timestamp("us", cells.type.tz), safe=False).cast(pa.int64())
        return times.fill_null(0).to_numpy(), times.is_valid().to_numpy(zero_copy_only=False)
    encoded = cells.cast(pa.string()).dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    known = np.array([int(_utc(text).timestamp() * 1e6) if is_time(text) else 0 for text in texts] + [0], np.int64)
    good = np.array([is_time(text) for text in texts] + [False])
    indices = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return known[indices], good[indices]
