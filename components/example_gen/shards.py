"""Writes the rows of one file as TFRecord shards, one per split. Runs on Beam workers.

A worker writes under names of its own, outside the splits' folders; ExampleGen's process gives the shards their names
once every file was sound, so that a worker that is tried again does no harm.
"""

import itertools
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.example_gen import splits
from components.example_gen.file_reader import Block, FileReader
from components.example_gen.hashing import hash_column, hash_rows
from components.example_gen.settings import Settings

_GZIP = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)  # a quarter of level 6's time
_NO_SPLIT = {
    "column": "is in none of the splits of example_gen.split.values",
    "time": "is not a time in ISO 8601 nor, outside CSV, a date, a timestamp or a number of seconds",
}
Result = dict[str, Any]


def write_shards(file: str, settings: Settings, staging_dir: str, codes_file: str = "") -> Result:
    """Reads a file and writes its rows.

    Args:
        file: Path or URI.
        settings: Of the component.
        staging_dir: Where shards are written.
        codes_file: Holds the split of each row, where the splits are stratified.

    Returns:
        JSON values: `file`; `shards`, by split; `rows`, by split; `problems`, sentences; `num_bad`; `notes`;
        `hashes`, `ids` and `quarantine`, files of the staging folder or None.
    """
    reader = FileReader(file, settings.contract, open_file)
    prefix = os.path.join(staging_dir, uuid.uuid4().hex)
    codes = np.frombuffer(_read(codes_file), np.uint8) if codes_file else None
    with (
        _ShardWriter(prefix, settings.splits) as writer,
        _open_new(f"{prefix}-hashes") as hashes_file,
        _open_new(f"{prefix}-ids") as ids_file,
    ):
        done = 0
        for block in reader.blocks():
            hashes = hash_rows(block.columns)
            if codes is None:
                block, hashes, of_rows = _assign(block, hashes, reader, settings)
            else:
                of_rows, done = codes[done : done + len(hashes)], done + len(hashes)
            hashes_file.write(hashes.tobytes())
            ids_file.write(_hash_ids(block, settings).tobytes())
            if settings.quarantines or not reader.num_bad:  # else nothing of it is going to be used
                writer.write(block.columns, of_rows)
    quarantine = None
    if reader.bad_rows:
        quarantine = f"{prefix}-quarantine"
        with _open_new(quarantine) as stream:
            stream.writelines(line.encode() for line in reader.quarantined())
    return {
        "file": file,
        "shards": writer.shards,
        "rows": writer.rows,
        "problems": reader.problems,
        "faults": [] if settings.quarantines and not reader.problems else reader.sentences()[len(reader.problems) :],
        "num_bad": reader.num_bad,
        "notes": reader.notes,
        "hashes": f"{prefix}-hashes",
        "ids": f"{prefix}-ids",
        "quarantine": quarantine,
    }


def hash_file(file: str, settings: Settings, staging_dir: str) -> Result:
    """Reads a file and writes the hash and the class of each sound row, for stratified splits.

    Returns:
        JSON values: `file`, `hashes` and `classes`, files of the staging folder, uint64.
    """
    reader = FileReader(file, settings.contract, open_file)
    prefix = os.path.join(staging_dir, uuid.uuid4().hex)
    with _open_new(f"{prefix}-hashes") as hashes_file, _open_new(f"{prefix}-classes") as classes_file:
        for block in reader.blocks():
            hashes_file.write(_split_hashes(block, settings).tobytes())
            classes_file.write(hash_column(block.columns[settings.contract.label]).tobytes())
    return {"file": file, "hashes": f"{prefix}-hashes", "classes": f"{prefix}-classes"}


def open_file(file: str) -> BinaryIO:
    """Opens a file of any of Beam's file systems as it is."""
    return FileSystems.open(file, compression_type=CompressionTypes.UNCOMPRESSED)


class _ShardWriter:
    """Writes blocks in a thread of its own, while the next block is read and encoded."""

    def __init__(self, prefix: str, names: Sequence[str]) -> None:
        self._prefix, self._names = prefix, names
        self._encoder = RecordBatchToExamplesEncoder()
        self._writers: dict[str, tf.io.TFRecordWriter] = {}
        self._thread = ThreadPoolExecutor(1)
        self._waiting: Future[None] | None = None
        self.shards: dict[str, str] = {}
        self.rows: dict[str, int] = {}

    def __enter__(self) -> "_ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._waiting:
                self._waiting.result()
        finally:
            self._thread.shutdown()
            for writer in self._writers.values():
                writer.close()

    def write(self, columns: Mapping[str, pa.Array], codes: splits.Codes) -> None:
        """Writes rows to the splits of their codes."""
        lists = [_as_lists(values) for values in columns.values()]
        examples = self._encoder.encode(pa.RecordBatch.from_arrays(lists, list(columns)))
        if self._waiting:
            self._waiting.result()
        self._waiting = self._thread.submit(self._write, examples, codes)

    def _write(self, examples: list[bytes], codes: splits.Codes) -> None:
        for code, name in enumerate(self._names):
            is_of_split = codes == code
            if count := int(is_of_split.sum()):
                self.rows[name] = self.rows.get(name, 0) + count
                write = self._writer(name).write
                for example in itertools.compress(examples, is_of_split.tolist()):
                    write(example)

    def _writer(self, name: str) -> tf.io.TFRecordWriter:
        if name not in self._writers:
            self.shards[name] = f"{self._prefix}-{name}.gz"
            self._writers[name] = tf.io.TFRecordWriter(self.shards[name], _GZIP)
        return self._writers[name]


def _assign(
    block: Block, hashes: npt.NDArray[np.uint64], reader: FileReader, settings: Settings
) -> tuple[Block, npt.NDArray[np.uint64], splits.Codes]:
    """Returns the rows that go to a split, their hashes and their splits."""
    split = settings.split
    if split["by"] in ("row", "key"):
        return block, hashes, splits.by_hash(_split_hashes(block, settings, hashes), settings.buckets)
    cells = block.extras[split["column"]]
    assign: Mapping[str, Callable[[], splits.Codes]] = {
        "column": lambda: splits.by_value(cells.cast(pa.string()), [split["values"][name] for name in settings.splits]),
        "time": lambda: splits.by_time(cells, split["ends"]),
    }
    codes = assign[split["by"]]()
    keep = codes != splits.NONE
    block = reader.refuse(block, split["column"], _NO_SPLIT[split["by"]], ~keep)
    return block, hashes[keep], codes[keep]


def _split_hashes(
    block: Block, settings: Settings, hashes: npt.NDArray[np.uint64] | None = None
) -> npt.NDArray[np.uint64]:
    """Returns what decides about the split of each row: the hash of all features, or of the key's columns."""
    if settings.split["by"] == "row":
        return hash_rows(block.columns) if hashes is None else hashes
    keys = settings.split["keys"]
    return hash_rows({key: block.columns.get(key, _binary(block.extras.get(key))) for key in keys})


def _binary(cells: pa.Array | None) -> pa.Array | None:
    return None if cells is None else cells.cast(pa.string()).cast(pa.binary())


def _hash_ids(block: Block, settings: Settings) -> npt.NDArray[np.uint64]:
    ids = {name: block.columns[name] for name in settings.ids}
    return hash_rows(ids) if ids else np.zeros(0, np.uint64)


def _as_lists(values: pa.Array) -> pa.Array:
    """Returns a column as tf.Example has it; a missing value is no value."""
    offsets = np.arange(len(values) + 1, dtype=np.int32)
    if not values.null_count:
        return pa.ListArray.from_arrays(offsets, values)
    filled = values.fill_null(b"" if pa.types.is_binary(values.type) else 0)
    return pa.ListArray.from_arrays(offsets, filled, mask=values.is_null())


def _open_new(file: str) -> BinaryIO:
    return FileSystems.create(file, compression_type=CompressionTypes.UNCOMPRESSED)


def _read(file: str) -> bytes:
    with open_file(file) as stream:
        return stream.read()
