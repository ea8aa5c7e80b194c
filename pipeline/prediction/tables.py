"""Reads the tables that `sluice predict` is given, CSV or Parquet by the file's extension, batch by batch.

Imports neither TensorFlow nor TFX.
"""

import csv
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from components.bulk_inferrer.table_writer import FILE_FORMATS
from components.example_gen.csv_table import CsvOptions

MOST_EXAMPLES = 5
_BATCH_ROWS = 10_000
_LARGEST_CELL = 2**31 - 1  # characters; Python's csv module stops at 131072 otherwise


class InputError(ValueError):
    """Input, output or model that a prediction cannot be made with; the message has a line for each problem."""


@dataclass(frozen=True)
class Table:
    """A table in a file.

    Attributes:
        file: The file.
        schema: Names and types of its columns; in CSV everything is text.
    """

    file: Path
    schema: pa.Schema

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows, in order and without ever holding all of them.

        Args:
            names: The columns to read; other columns may hold anything.

        Raises:
            InputError: If the file cannot be read to its end.
        """
        raise NotImplementedError

    def places(self, rows: Collection[int]) -> dict[int, str]:
        """Returns where a reader of the file finds each of the rows, which are counted from 0."""
        raise NotImplementedError


class _ParquetTable(Table):
    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(self.file) as file:
                if not file.num_row_groups:  # iter_batches would raise
                    return
                yield from file.iter_batches(_BATCH_ROWS, columns=list(names))
        except (OSError, pa.ArrowException) as err:
            raise InputError(f"{self.file} cannot be read: {err}") from err

    def places(self, rows: Collection[int]) -> dict[int, str]:
        return {row: f"{self.file} row {row} (counted from 0)" for row in rows}


@dataclass(frozen=True)
class _CsvTable(Table):
    options: CsvOptions

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        read = pc.ReadOptions(encoding=self.options.encoding)
        parse = pc.ParseOptions(delimiter=self.options.delimiter, newlines_in_values=True)
        convert = pc.ConvertOptions(
            include_columns=list(names),
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=[value for value in self.options.null_values if value],  # who reads knows empty cells
        )
        try:
            with pc.open_csv(self.file, read, parse, convert) as reader:
                yield from reader
        except (OSError, pa.ArrowException) as err:
            problems = self._problems()
            has_rows = next(self._records(), None) is not None
            if problems or has_rows:  # Arrow also refuses a header line without a line end
                raise InputError("\n".join(problems) or f"{self.file} cannot be read: {err}") from err

    def places(self, rows: Collection[int]) -> dict[int, str]:
        numbered = enumerate(self._records())
        return {row: f"{self.file} line {line}" for row, (line, _) in numbered if row in rows}

    def _records(self) -> Iterator[tuple[int, int]]:
        """Yields the last line and the number of cells of each row."""
        with self.file.open(encoding=_encoding(self.options), errors="replace", newline="") as text:
            csv.field_size_limit(_LARGEST_CELL)
            reader = csv.reader(text, delimiter=self.options.delimiter)
            next(reader)
            yield from ((reader.line_num, len(cells)) for cells in reader if cells)

    def _problems(self) -> list[str]:
        """Looks for what Arrow refused, because it does not say where that is."""
        width = len(self.schema)
        uneven = ((line, cells) for line, cells in self._records() if cells != width)
        problems = [
            f"{self.file} line {line}: {cells} cells; the header line has {width}."
            for line, cells in islice(uneven, MOST_EXAMPLES)
        ]
        if problems and (more := sum(1 for _ in uneven)):
            problems.append(f"{self.file}: {more} more lines have another number of cells than the header line.")
        with self.file.open("rb") as lines:
            bad_text = (number for number, line in enumerate(lines, 1) if not _is_text(line, self.options.encoding))
            return problems + [
                f"{self.file} line {number}: is not {self.options.encoding.upper()} text."
                for number in islice(bad_text, MOST_EXAMPLES)
            ]


def file_format(file: Path) -> str:
    """Returns the format that a file's extension stands for.

    Raises:
        InputError: If it stands for none.
    """
    extension = file.suffix.lower().removeprefix(".")
    if extension not in FILE_FORMATS:
        allowed = " or ".join(f".{name}" for name in FILE_FORMATS)
        raise InputError(f"{file}: '{file.suffix}' is no extension of a table. Give a name that ends in {allowed}.")
    return extension


def open_table(file: Path, csv_options: CsvOptions | None = None) -> Table:
    """Reads the names and types of a table's columns.

    Args:
        file: CSV or Parquet.
        csv_options: How CSV is written; with `,`, in UTF-8 unless given.

    Raises:
        InputError: If the file is missing, unreadable or of another format, or has two columns of one name.
    """
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is no regular file; it is read more than once.")
    try:
        table = _open_parquet(file) if file_format(file) == "parquet" else _open_csv(file, csv_options or CsvOptions())
    except (OSError, csv.Error, pa.ArrowException) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else err
        raise InputError(f"{file} cannot be read: {str(reason).rstrip('.')}.") from err
    if twice := sorted({name for name in table.schema.names if table.schema.names.count(name) > 1}):
        raise InputError(f"{file} has {', '.join(twice)} more than once. Give every column a name of its own.")
    return table


def rechunk(batches: Iterable[pa.RecordBatch], num_rows: int) -> Iterator[pa.Table]:
    """Yields the same rows in tables of `num_rows`, the last one smaller."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting += [batch] * bool(len(batch))
        while sum(map(len, waiting)) >= num_rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, num_rows)
            waiting = table.slice(num_rows).to_batches()
    if waiting:
        yield pa.Table.from_batches(waiting)


def _open_parquet(file: Path) -> Table:
    return _ParquetTable(file, pq.read_schema(file))


def _open_csv(file: Path, options: CsvOptions) -> Table:
    with file.open(encoding=_encoding(options), errors="replace", newline="") as text:
        csv.field_size_limit(_LARGEST_CELL)
        names = next(csv.reader(text, delimiter=options.delimiter), None)
    if not names:
        raise InputError(f"{file} is empty. Its first line must name the columns.")
    return _CsvTable(file, pa.schema([(name, pa.string()) for name in names]), options)


def _encoding(options: CsvOptions) -> str:
    return "utf-8-sig" if options.encoding.lower() in ("utf-8", "utf8") else options.encoding


def _is_text(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
