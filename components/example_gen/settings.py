"""What ExampleGen's executor is told: its execution property `settings`. Runs at compile time and on Beam workers."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.example_gen.csv_table import CsvOptions
from components.example_gen.file_reader import Contract
from components.schema_gen import pack, unpack
from schema import is_id, is_served, used_features


@dataclass(frozen=True)
class Settings:
    """How files are read and split.

    Attributes:
        schema_text: The curated schema, packed.
        label: Name of the label; empty for rows that are not labelled.
        splits: Names of the splits, in order.
        buckets: Hash buckets of each.
        split: `{"by": "row"}`; `{"by": "key", "keys": [...]}`; `{"by": "column", "column": ..., "values": {split:
            [...]}}`; or `{"by": "time", "column": ..., "ends": [...]}`. The first two may have `"stratify": true`.
        csv_options: Of CSV files.
        ignore_columns: Columns that are left out.
        bad_rows: `fail` or `quarantine`.
        max_bad_rows: Largest share of rows in quarantine.
        pattern: Of the files, if several spans are read.
        num_spans: How many; `ALL_SPANS` for all.
        source_digest: Of the code, for the cache.
    """

    schema_text: str
    label: str
    splits: tuple[str, ...]
    buckets: tuple[int, ...]
    split: Mapping[str, Any]
    csv_options: CsvOptions = field(default_factory=CsvOptions)
    ignore_columns: tuple[str, ...] = ()
    bad_rows: str = "fail"
    max_bad_rows: float = 0.0
    pattern: str = ""
    num_spans: int = 1
    source_digest: str = ""

    @property
    def quarantines(self) -> bool:
        """Whether rows with faults are left out and the others used."""
        return self.bad_rows == "quarantine"

    @property
    def is_stratified(self) -> bool:
        """Whether the split of a row follows from those before it."""
        return bool(self.split.get("stratify"))

    @cached_property
    def contract(self) -> Contract:
        """What files must hold."""
        features = self._features
        columns = [*self.split.get("keys", ()), *([self.split["column"]] if "column" in self.split else [])]
        served_only = [name for name in self._schema_features if name not in features]
        is_by_cell = "column" in self.split
        return Contract(
            features,
            self.label,
            tuple(name for name in columns if is_by_cell or name not in features),
            (*self.ignore_columns, *served_only),
            self.csv_options,
            self.quarantines,
        )

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the columns that identify a row."""
        return tuple(name for name, feature in self._features.items() if is_id(feature)) if self.label else ()

    @cached_property
    def _schema_features(self) -> dict[str, schema_pb2.Feature]:
        return used_features(text_format.Parse(unpack(self.schema_text), schema_pb2.Schema()))

    @cached_property
    def _features(self) -> dict[str, schema_pb2.Feature]:
        is_labelled = bool(self.label)
        return {name: feature for name, feature in self._schema_features.items() if is_labelled or is_served(feature)}

    def with_splits(self, names: tuple[str, ...], buckets: tuple[int, ...]) -> "Settings":
        """Returns the same for other splits by hash."""
        return dataclasses.replace(self, splits=names, buckets=buckets, split={"by": "row"})

    def unlabelled(self) -> "Settings":
        """Returns the same for rows without a label, all in one split."""
        return dataclasses.replace(self.with_splits(("unlabelled",), (1,)), label="", num_spans=1)

    def to_json(self, source_digest: str = "") -> str:
        """Returns what `from_json` reads; the digest of the code is for the cache."""
        return json.dumps(dataclasses.asdict(self) | {"source_digest": source_digest}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Returns the settings of which a text is the JSON."""
        values = json.loads(text)
        options = values.pop("csv_options")
        csv_options = CsvOptions(**options | {"null_values": tuple(options["null_values"])})
        return cls(**_tuples(values), csv_options=csv_options)


def make_settings(schema_text: str, **values: Any) -> Settings:
    """Returns settings for the text of a schema; the other values are those of `Settings`."""
    return Settings(schema_text=pack(schema_text), **values)


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for name, value in values.items()}  # fmt: skip
