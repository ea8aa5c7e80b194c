"""Reads CSV block by block and finds the places of what is wrong in it. Runs on Beam workers and in `sluice init`."""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from components.example_gen.table import Table, TableError, first_line

_BLOCK_BYTES = 1 << 20
_OPEN_QUOTE = "a quote is opened and never closed"
_AFTER_QUOTE = "text follows the end of a quoted cell; double a quote that is part of a text"


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
            watched = _QuoteWatch(stream, self.options.delimiter)
            try:
                with pc.open_csv(watched, read_options=read, parse_options=parse, convert_options=convert) as reader:
                    yield from reader
            except (OSError, pa.ArrowException, UnicodeError) as err:
                if "cannot infer number of columns" in str(err):  # a header line without a line end
                    return
                raise TableError(self._reason(err)) from err
        if watched.is_odd and (problem := self._quote_problem()):
            raise TableError(problem)

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

    def _lines(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yields the first line and the cells of each record, the header's first; `strict` is about quotes."""
        csv.field_size_limit(4 * _BLOCK_BYTES)
        with self._bytes() as stream, _text(stream, python_encoding(self.options), "replace") as text:
            reader = csv.reader(text, delimiter=self.options.delimiter, strict=strict)
            line = 1
            try:
                for cells in reader:
                    if cells:
                        yield line, cells
                    line = reader.line_num + 1
            except csv.Error as err:
                raise _RecordError(line, str(err)) from err

    def _reason(self, err: Exception) -> str:
        """Says what Arrow refused, because it does not say where that is."""
        if isinstance(err, UnicodeError):
            return _no_text(self.file, self.options.encoding).replace(" line 1:", "")
        if uneven := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(err)):  # else `note` had it
            record = int(uneven[1]) - 2
            reason = f"has {uneven[3]} cells; the header line has {uneven[2]}; and is not UTF-8 text"
            return f"{self.places([record]).get(record, self.file)}: {reason}."
        if "straddling" not in str(err):
            return f"{self.file} cannot be read: {first_line(err)}."
        return self._quote_problem() or f"{self.file} has a row of more than {_BLOCK_BYTES >> 20} MiB."

    def _quote_problem(self) -> str | None:
        """Says which quote is not as it must be, because Arrow takes any."""
        try:
            for _ in self._lines(strict=True):
                pass
        except _RecordError as err:
            if "expected after" in err.reason:
                return f"{self.file} line {err.line}: {_AFTER_QUOTE}."
            if "unexpected end" in err.reason or self._has_odd_quotes(err.line):  # or a cell of many megabytes
                return f"{self.file} line {err.line}: {_OPEN_QUOTE}."
        return None

    def _has_odd_quotes(self, line: int) -> bool:
        with self._bytes() as stream, _text(stream, python_encoding(self.options), "replace") as text:
            return next(itertools.islice(text, line - 1, None), "").count('"') % 2 == 1


class _RecordError(ValueError):
    """A record that Python's csv does not read."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


class _QuoteWatch(io.RawIOBase):
    """A stream that notes whether each quote that it gives is where a cell begins or ends, or one of two.

    Attributes:
        is_odd: Whether one may not be; only bytes are looked at.
    """

    def __init__(self, stream: BinaryIO, delimiter: str) -> None:
        self._stream = stream
        self._beside = np.isin(np.arange(256), [*b'\n\r"', *delimiter.encode()])  # what may be beside a quote
        self._tail = b"\n\n"  # whose last byte waits for the next one
        self._is_open = False
        self._found_odd = False

    @property
    def is_odd(self) -> bool:
        return self._found_odd or self._is_open != self._tail.endswith(b'"')

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        if block and not self._found_odd:
            self._look_at(block.removeprefix(codecs.BOM_UTF8))
        return block

    def _look_at(self, block: bytes) -> None:
        content = self._tail + block
        self._tail = content[-2:]
        if b'"' not in content:
            return
        values = np.frombuffer(content, np.uint8)
        quotes = np.flatnonzero(values[1:-1] == ord('"')) + 1
        opening, closing = quotes[self._is_open :: 2], quotes[not self._is_open :: 2]
        self._is_open ^= len(quotes) % 2 == 1
        self._found_odd = not (self._beside[values[opening - 1]].all() and self._beside[values[closing + 1]].all())


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
    try:
        with open_bytes() as stream:
            text = _text(stream, python_encoding(options), "surrogateescape")
            names = next((cells for cells in csv.reader(text, delimiter=options.delimiter, strict=True) if cells), [])
        "".join(names).encode()
    except UnicodeError as err:
        raise TableError(_no_text(file, options.encoding)) from err
    except csv.Error as err:
        reason = _AFTER_QUOTE if "expected after" in str(err) else _OPEN_QUOTE
        raise TableError(f"{file} line 1: {reason}.") from err
    if "\0" in "".join(names):
        raise TableError(_no_text(file, options.encoding))
    if not names:
        raise TableError(f"{file} has no header line.")
    return names


def python_encoding(options: CsvOptions) -> str:
    """Returns the encoding of which a byte order mark, if there is one, is no part of the text."""
    return "utf-8-sig" if codecs.lookup(options.encoding).name == "utf-8" else options.encoding


def _no_text(file: str, encoding: str) -> str:
    return f"{file} line 1: is not {encoding} text. If it is CSV in another encoding, set example_gen.encoding."


def decompressed(stream: BinaryIO, compression: str) -> BinaryIO:
    """Returns what a file holds; `compression` is one of Arrow's or empty."""
    if not compression:
        return stream
    return pa.CompressedInputStream(pa.PythonFile(stream, "r"), compression)
