"""A table in a file, whatever its format. Runs on Beam workers and in `sluice init`.

Imports neither TensorFlow, TFX nor Beam.
"""

from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa

OpenFile = Callable[[str], BinaryIO]


class TableError(ValueError):
    """A file that is no readable table; the message has a line for each problem."""


@dataclass
class Table:
    """A table in a file.

    Attributes:
        file: Path or URI.
        types: Type of each column by name, in the file's order; in CSV all are text.
        uneven_rows: Records with another number of cells than the header line, counted from 0, as far as `blocks` has
            read; they are in no block.
        uneven_cells: Number of cells and text of each of them, until somebody has taken them.
        is_csv: Whether it is CSV.
    """

    file: str
    types: dict[str, pa.DataType]
    open_file: OpenFile = field(repr=False)
    uneven_rows: "array[int]" = field(default_factory=lambda: array("q"), init=False)
    uneven_cells: list[tuple[int, str]] = field(default_factory=list, init=False)
    is_csv: ClassVar[bool] = False

    def blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows, in order and without ever holding all of them.

        Args:
            columns: The columns to read; other columns may hold anything. In CSV each is binary, null where the cell is
                one of `null_values`; elsewhere it is of its own type.

        Raises:
            TableError: If the file cannot be read to its end.
        """
        raise NotImplementedError

    def records(self, rows: Sequence[int]) -> list[int]:
        """Returns which records of the file rows of `blocks` are, both counted from 0."""
        uneven = np.array(self.uneven_rows, np.int64)
        before = np.searchsorted(uneven - np.arange(len(uneven)), rows, side="right")
        return (np.asarray(rows, np.int64) + before).tolist()

    def places(self, records: Collection[int]) -> dict[int, str]:
        """Returns where a reader of the file finds each of its records, which are counted from 0."""
        return {record: f"{self.file} row {record + 1}" for record in records}


def texts_as_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns a batch with its texts as bytes, because nobody has looked yet whether they are UTF-8.

    Raises:
        pa.ArrowInvalid: If a dictionary is broken.
    """
    return pa.RecordBatch.from_arrays([_as_bytes(column) for column in batch.columns], names=batch.schema.names)


def _as_bytes(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column.validate(full=True)
        column = column.cast(column.type.value_type)
    views = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    return column.view(views[column.type]) if column.type in views else column


class reading:  # noqa: N801
    """Makes a TableError of what a library says of a file."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, err: BaseException | None, trace: Any) -> None:
        if isinstance(err, OSError | EOFError | UnicodeError | MemoryError | pa.ArrowException):
            reason = getattr(err, "strerror", None) or first_line(err)
            raise TableError(f"{self._file} cannot be read: {reason}.") from err


def first_line(err: BaseException) -> str:
    """Returns the first line of what an error says, without a full stop."""
    return (str(err).splitlines() or [type(err).__name__])[0][:200].rstrip(". ")
