"""Writes a table batch by batch, as CSV or Parquet. Runs in BulkInferrer's process and in that of `sluice predict`."""

import csv
import io
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

CSV = "csv"
PARQUET = "parquet"
FILE_FORMATS = (CSV, PARQUET)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


def write_tables(stream: BinaryIO, file_format: str, tables: Iterator[pa.Table]) -> None:
    """Writes tables below one another.

    CSV has a header line, quotes only where a value needs them, and an empty cell for a missing value.

    Args:
        stream: Where they go; stays open.
        file_format: `csv` or `parquet`.
        tables: At least one; the first one's schema is that of the whole.
    """
    first = next(tables)
    tables = (table.cast(first.schema) for table in chain([first], tables))
    if file_format == PARQUET:
        with pq.ParquetWriter(stream, first.schema) as writer:
            for table in tables:
                writer.write_table(table)
        return
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    rows = csv.writer(_UnixLines(text))
    rows.writerow(first.column_names)
    for table in tables:
        rows.writerows(zip(*map(_texts, table.columns), strict=True))
    text.detach()


class _UnixLines:
    """Ends lines as Unix does. csv.writer quotes a carriage return in a value only if its own lines end in one."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def write(self, line: str) -> None:
        """Writes a line that ends as RFC 4180 says."""
        self._text.write(line.removesuffix("\r\n") + "\n")


def can_be_written(file_format: str, data_type: pa.DataType) -> bool:
    """Whether a column of this type has a place in such a file; lists, structs and bytes have none in CSV."""
    if file_format == CSV and any(test(data_type) for test in _BYTES):
        return False
    try:
        return file_format == PARQUET or bool(_texts(pa.array([None], data_type)))
    except pa.ArrowNotImplementedError:
        return False


def _texts(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    return pc.cast(column, pa.string()).to_pylist()
