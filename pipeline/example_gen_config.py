"""The config of ExampleGen. Runs at compile time; imports neither TensorFlow nor TFX."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, ValidationInfo, field_validator, model_validator
from tensorflow_metadata.proto.v0 import schema_pb2

from components.example_gen import NEWEST_SPAN
from components.example_gen.csv_table import CsvOptions
from components.example_gen.input_files import ALL_SPANS, find_files, span_number
from components.example_gen.splits import is_time
from pipeline.config_errors import choices
from pipeline.config_file import Count, InputDir, Number, Section, SpanPattern, as_text
from schema import used_features

SplitName = Literal["train", "eval", "test"]


def _time_as_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


Text = Annotated[str, BeforeValidator(as_text)]
Time = Annotated[str, BeforeValidator(_time_as_text)]


class SplitBuckets(Section):
    """Hash buckets per split: 2 and 1 give two thirds and one third of the rows."""

    train: Count = Field(2, ge=1, le=1000, description="Buckets of the split that is trained on.")
    eval: Count = Field(
        1, ge=1, le=1000, description="Buckets of the split that validates, and decides if there is no `test`."
    )
    test: Count | None = Field(
        None, ge=1, le=1000, description="Buckets of a third split, which decides; null for none."
    )


class SplitConfig(Section):
    """What decides to which split a row goes."""

    by: Literal["row", "key", "column", "time"] = Field(
        "row", description="Hash of the row; of key columns; value of a column; or a time."
    )
    keys: tuple[str, ...] = Field((), description="For `key`: rows that are equal in these columns stay together.")
    column: str | None = Field(None, description="For `column` and `time`: its name; it need not be in the schema.")
    values: dict[SplitName, tuple[Text, ...]] = Field({}, description="For `column`: the values of each split.")
    ends: dict[SplitName, Time] = Field(
        {}, description="For `time`: when each split but the last ends, ISO 8601, in the order of the splits."
    )
    stratify: bool = Field(
        False, description="For `row`: every class has its exact share in every split; see the README on what moves."
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "SplitConfig":
        needed = {"row": (), "key": ("keys",), "column": ("column", "values"), "time": ("column", "ends")}[self.by]
        given = {name for name in ("keys", "column", "values", "ends") if getattr(self, name)}
        problems = [f"by: {self.by} needs {name}." for name in needed if name not in given]
        problems += [f"{name} is not for by: {self.by}." for name in sorted(given - set(needed))]
        if self.stratify and self.by != "row":
            problems.append(f"stratify is not for by: {self.by}.")
        if self.by == "column":
            problems += self._value_problems()
        if self.by == "time":
            problems += self._end_problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _value_problems(self) -> list[str]:
        if not {"train", "eval"} <= set(self.values):
            return ["values must be given for train and for eval."]
        every = [value for values in self.values.values() for value in values]
        twice = sorted({value for value in every if every.count(value) > 1})
        return [f"values names '{value}' twice." for value in twice]

    def _end_problems(self) -> list[str]:
        if tuple(self.ends) not in (("train",), ("train", "eval")):
            return ["ends must be {train: TIME}, for two splits, or {train: TIME, eval: TIME}, for three."]
        problems = [
            f"ends.{name}: '{end}' is not a time in ISO 8601." for name, end in self.ends.items() if not is_time(end)
        ]
        if not problems and list(self.ends.values()) != sorted(set(self.ends.values())):
            problems.append("ends must ascend.")
        return problems


class ExampleGenConfig(Section):
    """Where the rows come from, how they are read and how they are split."""

    executor: Literal["columnar", "csv"] = Field(
        "columnar", description="Ours, for any table; or `csv`, TFX's own CsvExampleGen."
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="Between the cells of a CSV file.")
    encoding: str = Field("utf-8", description="Of CSV files, by Python's names.")
    null_values: tuple[Text, ...] = Field(
        ("",), description="Cells of a CSV file that stand for a missing value; with `NaN` NaN does so in other files."
    )
    ignore_columns: tuple[str, ...] = Field(
        (), description="Columns that are left out; any other must be in the schema."
    )
    bad_rows: Literal["fail", "quarantine"] = Field(
        "fail", description="Refuse the data if a row cannot be read; or leave such rows out and keep them aside."
    )
    max_bad_rows: Number = Field(0.01, ge=0, le=1, description="Largest share of rows in quarantine.")
    pattern: SpanPattern = Field(
        "*.csv",
        description="Of the files under `input_dir`; `{SPAN}` in it stands for a number, `{YYYY}`, `{MM}` and `{DD}` "
        "for a date.",
    )
    span: Annotated[Count, Field(ge=0, le=10**9)] | Annotated[date, Strict()] | None = Field(
        None, description="The span to read, a number or a date; null (parameter: -1) is the newest."
    )
    num_spans: Annotated[Count, Field(ge=1, le=10**6)] | Literal["all"] = Field(
        1, description="How many numbers or days, up to `span`, to read; not each needs to be there."
    )
    input_dir: InputDir = Field(description="Folder of the files.")
    split_buckets: SplitBuckets = Field(SplitBuckets(), description="Hash buckets per split.")
    split: SplitConfig = Field(SplitConfig(), description="What decides to which split a row goes.")

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; the last one decides whether a model is pushed."""
        if self.split.by == "column":
            return tuple(name for name in ("train", "eval", "test") if name in self.split.values)
        if self.split.by == "time":
            return ("train", "eval", "test")[: len(self.split.ends) + 1]
        return tuple(self.split_buckets.model_dump(exclude_none=True))

    @property
    def span_count(self) -> int:
        """How many spans are read, as `find_files` takes it."""
        return ALL_SPANS if self.num_spans == "all" else self.num_spans

    def input_files(self) -> list[str]:
        """Returns the files that a run on this machine reads."""
        span = NEWEST_SPAN if self.span is None else span_number(self.span)
        return find_files(self.input_dir, self.pattern, span=span, num_spans=self.span_count)

    @property
    def csv_options(self) -> CsvOptions:
        """How CSV files are written."""
        return CsvOptions(self.delimiter, self.encoding, self.null_values)

    @property
    def buckets(self) -> dict[str, int]:
        """Hash buckets of each split; 1 where no hash decides."""
        if self.split.by in ("row", "key"):
            return self.split_buckets.model_dump(exclude_none=True)
        return dict.fromkeys(self.splits, 1)

    def split_settings(self) -> dict[str, Any]:
        """Returns what the executor is told of the split, as JSON values."""
        names, settings = self.splits, self.split.model_dump(mode="json", exclude_none=True)
        kept = {"row": ("stratify",), "key": ("keys",), "column": ("column",), "time": ("column",)}[self.split.by]
        found = {"by": self.split.by} | {name: settings[name] for name in kept}
        if self.split.by == "column":
            found["values"] = {name: settings["values"][name] for name in names}
        if self.split.by == "time":
            found["ends"] = [settings["ends"][name] for name in names[:-1]]
        return found

    def check(self, schema: schema_pb2.Schema) -> None:
        """Raises ValueError, with a line for each problem, if the section does not fit the schema."""
        features = used_features(schema)
        problems = [
            f"ignore_columns: '{name}' is a feature of the schema." for name in self.ignore_columns if name in features
        ]
        problems += [
            f"split.keys: '{name}' is among ignore_columns." for name in self.split.keys if name in self.ignore_columns
        ]
        if problems:
            raise ValueError("\n".join(problems))

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)  # refuses those of bytes too, such as rot13
        except LookupError as err:
            raise ValueError(
                f"Python knows no encoding '{encoding}'. {choices(encoding, ['utf-8', 'latin-1', 'cp1252', 'utf-16'])}"
            ) from err
        return encoding

    @field_validator("span")
    @classmethod
    def _is_in_the_pattern(cls, span: int | date | None, info: ValidationInfo) -> int | date | None:
        if span is None or (pattern := info.data.get("pattern")) is None:
            return span
        needed = "{SPAN" if isinstance(span, int) else "{YYYY}"
        if needed not in pattern:
            name = needed.rstrip("}") + "}"
            raise ValueError(f"there is no {name} in example_gen.pattern that it could stand for.")
        return span

    @field_validator("num_spans")
    @classmethod
    def _are_in_the_pattern(cls, num_spans: int | str, info: ValidationInfo) -> int | str:
        if num_spans != 1 and "{" not in info.data.get("pattern", "{"):
            raise ValueError("there is neither {SPAN} nor a date in example_gen.pattern.")
        return num_spans

    @model_validator(mode="after")
    def _stock_can_do_it(self) -> "ExampleGenConfig":
        if self.executor == "csv":
            others = (
                "delimiter",
                "encoding",
                "null_values",
                "ignore_columns",
                "bad_rows",
                "max_bad_rows",
                "split",
                "num_spans",
            )
            changed = [name for name in others if getattr(self, name) != type(self).model_fields[name].default]
            if changed:
                raise ValueError(f"executor: csv, TFX's own, knows nothing of {', '.join(changed)}. Leave that out.")
        return self
