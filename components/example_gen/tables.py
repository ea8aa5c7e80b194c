"""Opens tables of any format. Runs on Beam workers and in `sluice init`. Imports neither TensorFlow, TFX nor Beam.

What a file holds is told by its first bytes, not by its name.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from components.example_gen.csv_table import CsvOptions, CsvTable, decompressed, read_header
from components.example_gen.table import OpenFile, Table, TableError, reading, texts_as_bytes

_BLOCK_ROWS = 16_384
_MAGIC_BYTES = 6
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_DELIMITERS = ",;\t|"


class _ParquetTable(Table):
    def blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with (
            reading(self.file),
            self.open_file(self.file) as stream,
            pq.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20) as file,
        ):
            if file.num_row_groups:  # iter_batches would raise
                yield from file.iter_batches(_BLOCK_ROWS, columns=list(columns))


class _ArrowTable(Table):
    def blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with reading(self.file), self.open_file(self.file) as stream, _arrow_reader(stream) as reader:
            for batch in _arrow_batches(reader):
                batch = batch.select(list(columns))
                texts_as_bytes(batch).validate(full=True)  # what lies outside its buffers would end the process
                for start in range(0, len(batch), _BLOCK_ROWS):
                    yield batch.slice(start, _BLOCK_ROWS)


def open_local(file: str) -> BinaryIO:
    """Opens a local file for reading."""
    return open(file, "rb")


def open_table(file: str, csv_options: CsvOptions, *, open_file: OpenFile = open_local) -> Table:
    """Reads the names and types of a table's columns.

    Args:
        file: CSV, plain or compressed by gzip or Zstandard, Parquet, or Arrow (Feather) as a file or a stream.
        csv_options: Of CSV files.
        open_file: Opens it; Parquet and Arrow files must be seekable.

    Raises:
        TableError: If the file cannot be read, holds none of these, or has two columns of one name or one without.
    """
    with reading(file):
        with open_file(file) as stream:
            magic = stream.read(_MAGIC_BYTES)
        if not magic:
            raise TableError(f"{file} is empty.")
        table = _open(file, magic, csv_options, open_file)
    return table


def _open(file: str, magic: bytes, csv_options: CsvOptions, open_file: OpenFile) -> Table:
    compression = next((name for start, name in _COMPRESSIONS.items() if magic.startswith(start)), "")
    with open_file(file) as stream:
        if magic.startswith(b"PAR1"):
            schema = pq.read_schema(stream)
            return _ParquetTable(file, _unique(file, schema.names, schema.types), open_file)
        if magic.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
            with _arrow_reader(stream) as reader:
                return _ArrowTable(file, _unique(file, reader.schema.names, reader.schema.types), open_file)
    if file.endswith((".parquet", ".feather", ".arrow", ".arrows")) or magic.startswith(b"FEA1"):
        hint = " Feather's first version is not read; write it again." * magic.startswith(b"FEA1")
        raise TableError(f"{file} is no Parquet and no Arrow file, which its name says.{hint}")
    names = read_header(file, csv_options, lambda: decompressed(open_file(file), compression))
    return CsvTable(file, _unique(file, names, [pa.string()] * len(names)), open_file, compression, csv_options)


def _unique(file: str, names: Sequence[str], types: Sequence[pa.DataType]) -> dict[str, pa.DataType]:
    problems = [
        f"{file}: column {number} has no name." for number, name in enumerate(names, start=1) if not name.strip()
    ]
    twice = sorted({name for name in names if name.strip() and names.count(name) > 1})
    problems += [f"{file} has the column '{name}' {names.count(name)} times." for name in twice]
    if problems:
        raise TableError("\n".join(problems))
    return dict(zip(names, types, strict=True))


def other_delimiter(table: Table, csv_options: CsvOptions) -> str:
    """Returns the delimiter that a table of one column seems to have instead; empty if it seems to have none."""
    if len(table.types) > 1 or not isinstance(table, CsvTable):
        return ""
    (header,) = table.types
    return next((each for each in _DELIMITERS if each != csv_options.delimiter and each in header), "")


def _arrow_reader(stream: BinaryIO) -> Any:
    is_stream = stream.read(4) == b"\xff\xff\xff\xff"
    stream.seek(0)
    return pa.ipc.open_stream(stream) if is_stream else pa.ipc.open_file(stream)


def _arrow_batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        return (reader.get_batch(index) for index in range(reader.num_record_batches))
    return iter(reader)
