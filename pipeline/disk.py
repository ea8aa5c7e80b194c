"""Whether there is room for a run. Imports neither TensorFlow nor TFX."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import PipelineConfig
from pipeline.terminal import shown

_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "disk is full", "disk full")
_PACKED = (".gz", ".zst", ".parquet")
# What a run writes of a byte that it reads. Of the reference problem at 1 000 000 rows: 1.07 of CSV, 2.5 of it in gzip,
# 3.7 of Parquet, and as much again if transformed rows are kept.
_ARTIFACTS_PER_BYTE, _PACKED_FACTOR, _FIXED_BYTES = 1.1, 4.0, 32 * 2**20
_MIB = 2**20
_RESERVE_BYTES = 2**20  # for the log, the record and the report of a run that filled the disk


class NoSpaceError(RuntimeError):
    """There is no room for a run."""


def check_space(config: PipelineConfig, root: Path) -> None:
    """Checks that there is room for what a run writes, by the size of its input.

    Raises:
        NoSpaceError: If there is not.
    """
    files = map(Path, config.example_gen.input_files())
    needed = _FIXED_BYTES + sum(map(_artifact_bytes, files)) * (1 + config.materialize)
    free = shutil.disk_usage(root).free
    if free < needed:
        raise NoSpaceError(
            f"a run of this input writes about {needed / _MIB:.0f} MiB, and {shown(root)} has {free / _MIB:.0f} MiB "
            "free. `sluice clean --keep 1` removes the artifacts of older runs."
        )


def keep_reserve(folder: Path) -> None:
    """Takes room in a folder that `free_reserve` gives back, for the words of a run that fills the disk.

    Raises:
        OSError: If there is none.
    """
    _reserve(folder).write_bytes(os.urandom(_RESERVE_BYTES))  # no hole in a file, and nothing that compresses


def free_reserve(folder: Path) -> None:
    """Gives back what `keep_reserve` took."""
    _reserve(folder).unlink(missing_ok=True)


def _reserve(folder: Path) -> Path:
    return folder / "reserve"


def causes(err: BaseException) -> Iterator[BaseException]:
    """Yields an error and what caused it, and so on."""
    seen: set[int] = set()
    at: BaseException | None = err
    while at is not None and id(at) not in seen:
        yield at
        seen.add(id(at))
        at = at.__cause__ or at.__context__


def is_full(err: BaseException) -> bool:
    """Whether an error, or what caused it, says that a disk is full."""
    return any(
        (isinstance(each, OSError) and each.errno in _FULL_ERRNOS) or any(text in str(each) for text in _FULL_TEXTS)
        for each in causes(err)
    )


def full_disk(root: Path) -> str:
    """Says that the disk filled during a run, in a sentence."""
    free = shutil.disk_usage(root).free / _MIB
    return (
        f"the disk is full: {free:.1f} MiB are free under {shown(root)}. Nothing half-written is kept. "
        "`sluice clean --keep 1` removes the artifacts of older runs"
    )


def _artifact_bytes(file: Path) -> float:
    factor = _PACKED_FACTOR if file.suffix in _PACKED else _ARTIFACTS_PER_BYTE
    return file.stat().st_size * factor
