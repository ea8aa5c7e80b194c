"""What the columns of a table hold, in one pass. Runs in `sluice init`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

from components.example_gen.columns import NOT_FINITE, TOO_LARGE, TOO_LARGE_FLOAT, convert
from components.example_gen.csv_table import CsvOptions
from components.example_gen.splits import is_time
from components.example_gen.table import Table, TableError

MOST_DISTINCT = 10_000  # values of a column that are told apart
MOST_SAMPLED = 50_000  # rows whose values are held against the label
_INT, _FLOAT = schema_pb2.Feature(type=schema_pb2.INT), schema_pb2.Feature(type=schema_pb2.FLOAT)
_NULL_WORDS = ("NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "none", "NaN", "nan", "?", "-", ".")
_LEADING_ZERO = "^0[0-9]+$"
_EXTREME = (NOT_FINITE, TOO_LARGE, TOO_LARGE_FLOAT)
WHOLE, NUMBER, BOOLEAN, TEXT, TIME, OTHER = "whole number", "number", "boolean", "text", "time", "other"


@dataclass
class Profile:
    """A column.

    Attributes:
        name: Its name.
        num_rows: Rows of the table.
        num_missing: Cells without a value.
        counts: How often each value occurs, as text, in any order; only the first of more than `MOST_DISTINCT`.
        has_more_values: Whether there are more than these.
        sample: The first values as text, None where one is missing.
        kind: `whole number`, `number`, `boolean`, `text`, `time`, or `other` for what no table of features holds.
        null_words: Texts such as NA among numbers, which stand for a missing value.
        minimum: Of numbers.
        maximum: Likewise.
        is_csv: Whether it comes from CSV.
        num_extreme: Numbers that are not finite, or too large.
        taken_for_missing: How often texts occur that are taken for missing values because they are among numbers
            elsewhere.
    """

    name: str
    num_rows: int = 0
    num_missing: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    has_more_values: bool = False
    sample: list[str | None] = field(default_factory=list)
    kind: str = ""
    null_words: set[str] = field(default_factory=set)
    minimum: float = float("inf")
    maximum: float = float("-inf")
    is_csv: bool = False
    num_extreme: int = 0
    taken_for_missing: dict[str, int] = field(default_factory=dict)

    @property
    def num_distinct(self) -> int:
        """Different values, as far as they are counted."""
        return len(self.counts)

    @property
    def has_few_values(self) -> bool:
        """Whether each value occurs five times on average."""
        return not self.has_more_values and self.num_distinct <= self.num_rows / 5

    @property
    def is_unique(self) -> bool:
        """Whether no value occurs twice."""
        if self.has_more_values:
            values = [value for value in self.sample if value is not None]
            return len(set(values)) == len(values)
        return self.num_distinct == self.num_rows - self.num_missing

    def add(self, cells: pa.Array, *, is_csv: bool) -> None:
        """Adds a block of the column.

        Raises:
            TableError: If a cell of a CSV is no text.
        """
        self.num_rows += len(cells)
        self.is_csv = is_csv
        if not is_csv and pa.types.is_floating(cells.type) and (is_nan := pc.is_nan(cells)) and pc.any(is_nan).as_py():
            cells = pc.if_else(is_nan, pa.scalar(None, cells.type), cells)
            self.null_words.add("NaN")
        texts = self._texts(cells)
        if len(self.sample) < MOST_SAMPLED:
            self.sample += texts.slice(0, MOST_SAMPLED - len(self.sample)).to_pylist()
        self._merge_kind(self._kind_of_text(cells) if is_csv else _kind(cells))
        self.num_missing += texts.null_count
        if not self.has_more_values:
            for entry in pc.value_counts(texts.drop_null()).to_pylist():
                self.counts[entry["values"]] += entry["counts"]
            self.has_more_values = len(self.counts) > MOST_DISTINCT
        if self.kind in (WHOLE, NUMBER):
            self._add_numbers(cells)

    def _add_numbers(self, cells: pa.Array) -> None:
        column = convert(cells, _INT if self.kind == WHOLE else _FLOAT, is_csv=self.is_csv)
        self.num_extreme += sum(int(rows.sum()) for reason, rows in column.faults.items() if reason in _EXTREME)
        ends = pc.min_max(column.values)
        if ends["min"].is_valid:
            self.minimum, self.maximum = min(self.minimum, ends["min"].as_py()), max(self.maximum, ends["max"].as_py())

    def _texts(self, cells: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        try:
            return cells.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
            if self.is_csv:
                raise TableError(f"column '{self.name}' has text that is not UTF-8. Give --encoding.") from err
            return pa.array([None if cell is None else str(cell) for cell in cells.to_pylist()], pa.string())

    def take_for_missing(self, words: Iterable[str]) -> None:
        """Takes cells that are one of some words for missing ones."""
        found = {word: self.counts.pop(word) for word in set(words) & self.counts.keys()}
        if self.kind == TEXT:
            self.taken_for_missing = found
        self.num_missing += sum(found.values())
        self.sample = [None if value in found else value for value in self.sample]

    def _kind_of_text(self, cells: pa.Array) -> str:
        """Returns the kind of a block of CSV cells; words such as NA among other kinds than text are noted."""
        if self.kind == TEXT or cells.null_count == len(cells):
            return self.kind
        texts = self._texts(cells)
        has_zero = bool(pc.any(pc.match_substring_regex(texts, _LEADING_ZERO)).as_py())
        for kind, feature in ((WHOLE, _INT), (NUMBER, _FLOAT))[self.kind == NUMBER :]:
            faults = convert(cells, feature, is_csv=True).faults
            wrong = [rows for reason, rows in faults.items() if kind == WHOLE or reason not in _EXTREME]
            is_wrong = np.logical_or.reduce([*wrong, np.zeros(len(cells), bool)])
            words = set(pc.unique(texts.filter(pa.array(is_wrong))).to_pylist())
            if words <= set(_NULL_WORDS) and not has_zero and is_wrong.sum() < len(cells) - cells.null_count:
                self.null_words |= words
                return kind
        found = set(pc.unique(texts.drop_null()).to_pylist())
        words = found & set(_NULL_WORDS)
        values = found - words
        kind = TEXT
        if values and {value.lower() for value in values} <= {"true", "false"}:
            kind = BOOLEAN
        elif values and all(map(is_time, values)):
            kind = TIME
        if kind != TEXT:
            self.null_words |= words
        return kind if values else ""

    def _merge_kind(self, kind: str) -> None:
        kinds = {self.kind, kind} - {""}
        if kinds <= {WHOLE, NUMBER}:
            self.kind = NUMBER if NUMBER in kinds else WHOLE if kinds else ""
        else:
            self.kind = kinds.pop() if len(kinds) == 1 else TEXT


def profile_tables(tables: Sequence[Table]) -> list[Profile]:
    """Reads every row of tables with the same columns once; holds a bounded part of each column.

    Raises:
        TableError: If one of them cannot be read to its end.
    """
    names = list(tables[0].types)
    profiles = {name: Profile(name) for name in names}
    for table in tables:
        for batch in table.blocks(names):
            for name in names:
                profiles[name].add(batch.column(batch.schema.get_field_index(name)), is_csv=table.is_csv)
    return list(profiles.values())


def null_words(profiles: Iterable[Profile], options: CsvOptions) -> tuple[str, ...]:
    """Returns the words that stand for a missing value, the given ones first; takes them for it in every column."""
    found = {word for profile in profiles for word in profile.null_words} - set(options.null_values)
    for profile in profiles:
        profile.take_for_missing(found)
    return (*options.null_values, *sorted(found))


def _kind(cells: pa.Array) -> str:
    data_type = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    tests = {
        BOOLEAN: pa.types.is_boolean,
        WHOLE: pa.types.is_integer,
        TIME: pa.types.is_temporal,
        "": pa.types.is_null,
    }
    for kind, test in tests.items():
        if test(data_type):
            return kind
    if pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        return NUMBER
    if not any(test(data_type) for test in (pa.types.is_string, pa.types.is_large_string)):
        return OTHER
    values = pc.unique(cells.cast(pa.string()).drop_null()).to_pylist()
    return "" if not values else TIME if all(map(is_time, values)) else TEXT
