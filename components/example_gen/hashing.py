"""Hashes rows by their values: the same in every process, on every machine, for every format and order of columns.

Runs on Beam workers. Splits depend on these numbers: they must never change.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]
_MISSING = np.uint64(0x6D697373696E6721)
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def hash_rows(columns: Mapping[str, pa.Array]) -> Hashes:
    """Returns a hash of each row, uint64 `[num_rows]`.

    Args:
        columns: int64, float32 or binary arrays by name, at least one; null is a value of its own. Their order does not
            matter.
    """
    total = None
    for name in sorted(columns):
        hashes = _mix(hash_column(columns[name]) + _of_bytes(name.encode()))
        total = hashes if total is None else _mix(total * _GOLDEN_RATIO + hashes)
    if total is None:
        raise ValueError("there is no column to hash.")
    return total


def hash_column(values: pa.Array) -> Hashes:
    """Returns a hash of each value of an int64, float32 or binary array, uint64 `[num_rows]`."""
    if pa.types.is_binary(values.type):
        encoded = values.dictionary_encode()
        known = np.array([_of_bytes(each) for each in encoded.dictionary.to_pylist()] + [_MISSING], np.uint64)
        return known[encoded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)]
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(values.type):
        numbers = (numbers + np.float32(0)).view(np.uint32)  # -0.0 is 0.0
    hashes = _mix(numbers.astype(np.uint64))
    return np.where(values.is_null().to_numpy(zero_copy_only=False), _MISSING, hashes) if values.null_count else hashes


def _of_bytes(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def _mix(numbers: Hashes) -> Hashes:
    """SplitMix64's finalizer (Steele, Lea and Flood 2014, Fast Splittable Pseudorandom Number Generators)."""
    with np.errstate(over="ignore"):
        numbers = numbers + _GOLDEN_RATIO
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
