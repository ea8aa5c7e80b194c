"""Reads one file block by block as the schema's features, and sorts out what is wrong with it. Runs on Beam workers."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from components.example_gen.columns import ARROW_TYPES, Column, Mask, can_split_by, check_type, convert
from components.example_gen.csv_table import CsvOptions
from components.example_gen.faults import MOST_EXAMPLES, Faults, shown
from components.example_gen.quarantine import Quarantine
from components.example_gen.table import OpenFile, Table, TableError, reading, texts_as_bytes
from components.example_gen.tables import open_table, other_delimiter
from schema import is_id, is_required

_TEXT = schema_pb2.Feature(type=schema_pb2.BYTES)
_TYPE_NAMES = schema_pb2.FeatureType.Name


@dataclass(frozen=True)
class Contract:
    """What files must hold.

    Attributes:
        features: By name; those that no row must have are read if they are there.
        label: Name of the feature whose values must be classes; empty if there is none.
        extra_columns: Columns that are no features but decide about splits.
        ignored_columns: Columns that are left out without a word.
        csv_options: Of CSV files.
        keeps_bad_rows: Whether rows with faults are kept aside, and not only counted.
    """

    features: Mapping[str, schema_pb2.Feature]
    label: str = ""
    extra_columns: tuple[str, ...] = ()
    ignored_columns: tuple[str, ...] = ()
    csv_options: CsvOptions = field(default_factory=CsvOptions)
    keeps_bad_rows: bool = False


@dataclass(frozen=True)
class Block:
    """Sound rows of a file.

    Attributes:
        columns: int64, float32 or binary arrays by feature, null where a value is missing.
        extras: Columns that are no features, as they are in the file.
        rows: Number of each row among those that have as many cells as the header line, from 0.
    """

    columns: dict[str, pa.Array]
    extras: dict[str, pa.Array]
    rows: npt.NDArray[np.int64]

    def filter(self, keep: Mask) -> "Block":
        """Returns the rows of a mask."""
        mask = pa.array(keep)
        return Block(
            {name: values.filter(mask) for name, values in self.columns.items()},
            {name: values.filter(mask) for name, values in self.extras.items()},
            self.rows[keep],
        )


@dataclass
class FileReader:
    """One file.

    Attributes:
        file: Path or URI.
        contract: What it must hold.
        problems: Why the whole file is refused; nothing is read then.
        faults: Of its rows.
        num_bad: Rows with faults.
        bad_rows: They, where the contract keeps them.
        notes: What is unusual but allowed.
    """

    file: str
    contract: Contract
    open_file: OpenFile = field(repr=False)
    problems: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    num_bad: int = 0
    bad_rows: Quarantine = field(default_factory=Quarantine)
    notes: list[str] = field(default_factory=list)

    def blocks(self) -> Iterator[Block]:
        """Yields the sound rows, in order."""
        try:
            self._table = open_table(self.file, self.contract.csv_options, open_file=self.open_file)
        except TableError as err:
            self.problems += str(err).splitlines()
            return
        self.problems += self._column_problems(self._table)
        if self.problems:
            return
        names = [name for name in (*self.contract.features, *self.contract.extra_columns) if name in self._table.types]
        first = 0
        try:
            for batch in self._table.blocks(list(dict.fromkeys(names))):
                self._note_uneven()
                with reading(self.file):
                    batch = texts_as_bytes(batch)
                yield self._sound_rows(batch, first)
                first += len(batch)
            self._note_uneven()
        except TableError as err:
            self.problems += str(err).splitlines()

    def sentences(self) -> list[str]:
        """Returns a sentence for every problem, and for the first few faults of each kind, once all blocks are read."""
        if not self.faults.counts:
            return list(self.problems)
        return [*self.problems, *self.faults.sentences(self.file, self._table.places(self.faults.records))]

    def records(self, rows: Sequence[int]) -> list[int]:
        """Returns which records of the file rows of blocks are; `places` knows where they are."""
        return self._table.records(rows)

    def places(self, records: Sequence[int]) -> dict[int, str]:
        """Returns where each of the records is, in words."""
        return self._table.places(records)

    def quarantined(self) -> Iterator[str]:
        """Yields each row that is kept aside as a line of JSON: `place`, `reasons` and `cells`."""
        return self.bad_rows.lines(self.file, self._table.places)

    def _column_problems(self, table: Table) -> Iterator[str]:
        contract, columns = self.contract, table.types
        if delimiter := other_delimiter(table, contract.csv_options):
            yield f"{self.file} has one column. Its delimiter seems to be {delimiter!r}: set example_gen.delimiter."
            return
        known = {*contract.features, *contract.extra_columns, *contract.ignored_columns}
        unknown = [each for each in columns if each not in known]
        for name in unknown[:MOST_EXAMPLES]:
            hint = _did_you_mean(name, [each for each in known if each not in columns])
            yield (
                f"{self.file}: the schema has no column {shown(name)}.{hint} Add it to the schema, or to "
                "example_gen.ignore_columns to leave it out."
            )
        if len(unknown) > MOST_EXAMPLES:
            yield f"{self.file} has {len(unknown) - MOST_EXAMPLES} more columns that the schema does not have."
        for name, feature in contract.features.items():
            yield from self._feature_problems(feature, columns.get(name), table.is_csv, unknown)
        for name in contract.extra_columns:
            if name not in columns:
                yield f"{self.file} has no column '{name}', by which example_gen.split splits."
            elif not table.is_csv and not can_split_by(columns[name]):
                yield f"{self.file}: column '{name}' is {columns[name]}, by which example_gen.split cannot split."

    def _feature_problems(
        self, feature: schema_pb2.Feature, data_type: pa.DataType | None, is_csv: bool, unknown: Sequence[str]
    ) -> Iterator[str]:
        name = feature.name
        if data_type is not None:
            if not is_csv and not check_type(data_type, feature):
                yield f"{self.file}: column '{name}' is {data_type}; the schema says {_TYPE_NAMES(feature.type)}."
        elif is_required(feature) and not is_id(feature):
            hint = _did_you_mean(name, unknown)
            yield f"{self.file} has no column '{name}', which every row must have.{hint}"
        elif not is_id(feature):
            self.notes.append(f"{self.file} has no column '{name}'; it is missing in every row")

    def _note_uneven(self) -> None:
        found, self._table.uneven_cells = self._table.uneven_cells, []
        if not found:
            return
        records = self._table.uneven_rows[-len(found) :].tolist()
        reason = f"the header line has {len(self._table.types)}"
        values = [f"has {count} cell{'s' * (count != 1)};" for count, _ in found]
        self.num_bad += len(found)
        self.faults.add("", reason, list(zip(records, values, strict=True)))
        if self.contract.keeps_bad_rows:
            for record, value, (_, text) in zip(records, values, found, strict=True):
                self.bad_rows.add(record, [f"{value} {reason}"], text)

    def _sound_rows(self, batch: pa.RecordBatch, first: int) -> Block:
        columns = {name: self._convert(batch, feature) for name, feature in self.contract.features.items()}
        extras = {name: batch.column(name) for name in self.contract.extra_columns}
        checked = [*columns.items()]
        texts = {name: cells for name, cells in extras.items() if pa.types.is_binary(cells.type)}
        checked += [(name, convert(cells, _TEXT, is_csv=True)) for name, cells in texts.items()]
        bad = np.zeros(len(batch), bool)
        for _, column in checked:
            for is_faulty in column.faults.values():
                bad |= is_faulty
        block = Block(
            {name: column.values for name, column in columns.items()}, extras, np.arange(first, first + len(batch))
        )
        if not bad.any():
            return block
        self._refuse_cells(batch, checked, first, bad)
        return block.filter(~bad)

    def _convert(self, batch: pa.RecordBatch, feature: schema_pb2.Feature) -> Column:
        if feature.name not in batch.schema.names:
            return Column(pa.nulls(len(batch), ARROW_TYPES[feature.type]))
        return convert(
            batch.column(feature.name),
            feature,
            is_csv=self._table.is_csv,
            null_values=self.contract.csv_options.null_values,
            must_be_class=feature.name == self.contract.label,
        )

    def refuse(self, block: Block, name: str, reason: str, is_bad: Mask) -> Block:
        """Adds a fault of some rows of a block and returns the others.

        Args:
            block: Of `blocks`.
            name: The column.
            reason: What is wrong with its value.
            is_bad: In which rows, `[num_rows]`.
        """
        if not is_bad.any():
            return block
        cells = {**block.columns, **block.extras}[name].filter(pa.array(is_bad)).to_pylist()
        values = ["is empty:" if cell is None else shown(cell) for cell in cells]
        found = list(zip(self.records(block.rows[is_bad].tolist()), values, strict=True))
        self.faults.add(name, reason, found)
        self.num_bad += len(found)
        if self.contract.keeps_bad_rows:
            cells = pa.table({**block.columns, **block.extras}).filter(pa.array(is_bad)).to_pylist()
            for (record, value), row in zip(found, cells, strict=True):
                self.bad_rows.add(record, [f"column '{name}' {value} {reason}"], row)
        return block.filter(~is_bad)

    def _refuse_cells(
        self, batch: pa.RecordBatch, columns: Sequence[tuple[str, Column]], first: int, bad: Mask
    ) -> None:
        self.num_bad += int(bad.sum())
        reasons: dict[int, list[str]] = {}
        for name, column in columns:
            for reason, is_faulty in column.faults.items():
                indices = np.flatnonzero(is_faulty)
                wanted = (indices if self.contract.keeps_bad_rows else indices[:MOST_EXAMPLES]).tolist()
                values = [_cell(batch, name, index) for index in wanted]
                records = self.records([first + index for index in wanted])
                self.faults.add(name, reason, list(zip(records, values, strict=True)), len(indices))
                for index, value in zip(wanted, values, strict=True):
                    reasons.setdefault(index, []).append(f"column '{name}' {value + ' ' if value else ''}{reason}")
        if self.contract.keeps_bad_rows:
            rows = np.flatnonzero(bad)
            records = self.records((rows + first).tolist())
            for index, record, cells in zip(rows.tolist(), records, batch.take(rows).to_pylist(), strict=True):
                self.bad_rows.add(record, reasons[index], cells)


def _cell(batch: pa.RecordBatch, name: str, index: int) -> str:
    value = batch.column(name)[index].as_py()
    return "" if value is None else shown(value)


def _did_you_mean(name: str, names: Sequence[str]) -> str:
    normal = {each.strip().lower(): each for each in names}
    close = normal.get(name.strip().lower()) or next(iter(difflib.get_close_matches(name, names, n=1)), "")
    return f" Did you mean {shown(close)}?" if close else ""
