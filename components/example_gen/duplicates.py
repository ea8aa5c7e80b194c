"""Counts equal rows by their hashes, and gives all a digest. Runs in ExampleGen's process; holds few at once."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.example_gen.shards import open_file

_MOST_AT_ONCE = 1 << 18  # hashes: 16 bytes each, and as much for sorting
_BLOCK_BYTES = 1 << 20
_MOST_EXAMPLES = 5
Place = tuple[int, int]  # number of the file, and of the row in it


@dataclass(frozen=True)
class Duplicates:
    """Rows that are there more than once.

    Attributes:
        count: How many there are beside the first of each.
        examples: Where the first is, and where another.
    """

    count: int
    examples: tuple[tuple[Place, Place], ...]


def count_duplicates(files: Sequence[str]) -> Duplicates:
    """Counts hashes that are there more than once.

    Args:
        files: Each holds a uint64 per row.
    """
    sizes = [sum(map(len, _blocks(file))) for file in files]
    num_parts = max(1, -(-sum(sizes) // _MOST_AT_ONCE))
    starts = np.cumsum([0, *sizes])
    count, examples = 0, list[tuple[Place, Place]]()
    for part in range(num_parts):
        hashes, rows = _part(files, starts, part, num_parts)
        order = np.argsort(hashes, kind="stable")
        again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
        count += len(again)
        for index in again[: _MOST_EXAMPLES - len(examples)].tolist():
            pair = sorted((int(rows[order[index - 1]]), int(rows[order[index]])))
            examples.append((_place(pair[0], starts), _place(pair[1], starts)))
    return Duplicates(count, tuple(examples))


def rows_digest(files: Sequence[str]) -> str:
    """Returns a digest of all rows, the same for the same rows in whatever files and order.

    Args:
        files: Each holds a uint64 per row.
    """
    count, total, mixed, parity = 0, 0, 0, 0
    for file in files:
        for block in _blocks(file):
            count += len(block)
            total += int(block.sum(dtype=np.uint64))
            mixed += int((block ^ (block >> np.uint64(29))).dot(block))  # overflows, as sums of uint64 do
            parity ^= int(np.bitwise_xor.reduce(block))
    sums = [count, total % 2**64, mixed % 2**64, parity]
    return hashlib.sha256(" ".join(map(str, sums)).encode()).hexdigest()


def _part(
    files: Sequence[str], starts: npt.NDArray[np.int64], part: int, num_parts: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Returns the hashes of one part of all possible hashes, and the number of each one's row."""
    hashes, rows = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for file, start in zip(files, starts, strict=False):
        first = int(start)
        for block in _blocks(file):
            indices = np.flatnonzero(block % np.uint64(num_parts) == part)
            hashes.append(block[indices])
            rows.append(indices + first)
            first += len(block)
    return np.concatenate(hashes), np.concatenate(rows)


def _blocks(file: str) -> Iterator[npt.NDArray[np.uint64]]:
    with open_file(file) as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield np.frombuffer(block, np.uint64)


def _place(row: int, starts: npt.NDArray[np.int64]) -> Place:
    file = int(np.searchsorted(starts, row, side="right")) - 1
    return file, row - int(starts[file])
