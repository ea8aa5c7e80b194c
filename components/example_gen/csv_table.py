"""Reads CSV block by block and finds the places of what is wrong in it. Runs on Beam workers and in `sluice init`."""

import csv
import io
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import pyarrow as pa
import pyarrow.csv as pc

from components.example_gen.table import Table, TableError, first_line

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class CsvOptions:
    """How CSV files are written.

    Attributes:
        delimiter: Between cells.
        encoding: Python's name of it.
        null_values: Cells that stand for a missing value.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = ("",)


@dataclass
class CsvTable(Table):
    """A CSV file.

    Attributes:
        compression: Of the file, `gzip` or `zstd`; empty for none.
        options: How it is written.
    """

    is_csv: ClassVar[bool] = True
    compression: str = ""
    options: CsvOptions = CsvOptions()

    def blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """As `Table.blocks`."""

        def note(row: Any) -> str:
            self.uneven_rows.append(row.number - 2)  # the header line is 1
            self.uneven_cells.append((row.actual_columns, row.text))
            return "skip"

        convert = pc.ConvertOptions(
            column_types=dict.fromkeys(self.types, pa.binary()),
            include_columns=list(columns),
            null_values=list(self.options.null_values),
            strings_can_be_null=True,
            check_utf8=False,
        )
        parse = pc.ParseOptions(delimiter=self.options.delimiter, newlines_in_values=True, invalid_row_handler=note)
        read = pc.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, encoding=self.options.encoding)
        del self.uneven_rows[:], self.uneven_cells[:]
        with self._bytes() as stream:
            counted = _QuoteCounter(stream)
            try:
                with pc.open_csv(counted, read_options=read, parse_options=parse, convert_options=convert) as reader:
                    yield from reader
            except (OSError, pa.ArrowException, UnicodeError) as err:
                if "cannot infer number of columns" in str(err):  # a header line without a line end
                    return
                raise TableError(self._reason(err)) from err
        if counted.num_quotes % 2 and (line := self._open_quote()):
            raise TableError(f"{self.file} line {line}: a quote is opened and never closed.")

    def places(self, records: Collection[int]) -> dict[int, str]:
        """As `Table.places`, by lines."""
        lines = self._lines()
        next(lines, None)
        found, wanted = {}, set(records)
        for record, (line, _) in enumerate(lines):
            if record in wanted:
                found[record] = f"{self.file} line {line}"
                if len(found) == len(wanted):
                    break
        return found

    def _bytes(self) -> BinaryIO:
        return decompressed(self.open_file(self.file), self.compression)

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yields the first line and the cells of each record, the header's first."""
        csv.field_size_limit(4 * _BLOCK_BYTES)
        encoding = "utf-8-sig" if self.options.encoding.lower() in ("utf-8", "utf8") else self.options.encoding
        with self._bytes() as stream, _text(stream, encoding, "replace") as text:
            reader = csv.reader(text, delimiter=self.options.delimiter)
            line = 1
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1

    def _reason(self, err: Exception) -> str:
        """Says what Arrow refused, because it does not say where that is."""
        if isinstance(err, UnicodeError):
            return _no_text(self.file, self.options.encoding).replace(" line 1:", "")
        if "straddling" not in str(err):
            return f"{self.file} cannot be read: {first_line(err)}."
        if line := self._open_quote():
            return f"{self.file} line {line}: a quote is opened and never closed."
        return f"{self.file} has a row of more than {_BLOCK_BYTES >> 20} MiB."

    def _open_quote(self) -> int | None:
        """Returns the line of a quote that is opened and never closed."""
        line = 1
        try:
            for line, _ in self._lines():  # noqa: B007
                pass
        except csv.Error:  # the next record has a cell of many megabytes
            return line + 1 if self._has_odd_quotes(line + 1) else None
        with self._bytes() as stream, _text(stream, "utf-8", "replace") as text:
            last_record = itertools.islice(text, line - 1, None)
            try:
                list(csv.reader(last_record, delimiter=self.options.delimiter, strict=True))
            except csv.Error as err:
                return line if "unexpected end" in str(err) else None
        return None

    def _has_odd_quotes(self, line: int) -> bool:
        with self._bytes() as stream, _text(stream, "utf-8", "replace") as text:
            return next(itertools.islice(text, line - 1, None), "").count('"') % 2 == 1


class _QuoteCounter(io.RawIOBase):
    """A stream that counts the quotes that it gives."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.num_quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self.num_quotes += block.count(b'"')
        return block


class _Readable(io.RawIOBase):
    """What `io` wants of a stream, around any with `read`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


def _text(stream: BinaryIO, encoding: str, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(_Readable(stream)), encoding, errors, newline="")


def read_header(file: str, options: CsvOptions, open_bytes: Callable[[], BinaryIO]) -> list[str]:
    """Returns the names in the first line of a CSV file.

    Args:
        file: Its name.
        options: How it is written.
        open_bytes: Opens what it holds, decompressed.

    Raises:
        TableError: If that is no text, or there is no line.
    """
    encoding = "utf-8-sig" if options.encoding.lower() in ("utf-8", "utf8") else options.encoding
    try:
        with open_bytes() as stream:
            text = _text(stream, encoding, "surrogateescape")
            names = next((cells for cells in csv.reader(text, delimiter=options.delimiter) if cells), [])
        "".join(names).encode()
    except (UnicodeError, csv.Error) as err:
        raise TableError(_no_text(file, options.encoding)) from err
    if "\0" in "".join(names):
        raise TableError(_no_text(file, options.encoding))
    if not names:
        raise TableError(f"{file} has no header line.")
    return names


def _no_text(file: str, encoding: str) -> str:
    return f"{file} line 1: is not {encoding} text. If it is CSV in another encoding, set example_gen.encoding."


def decompressed(stream: BinaryIO, compression: str) -> BinaryIO:
    """Returns what a file holds; `compression` is one of Arrow's or empty."""
    if not compression:
        return stream
    return pa.CompressedInputStream(pa.PythonFile(stream, "r"), compression)
