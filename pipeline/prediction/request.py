"""What `sluice predict` is asked for, checked before anything takes long. Imports neither TensorFlow nor TFX."""

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from components.bulk_inferrer.predictions import PREDICTED_CLASS, PROBABILITY_PREFIX, Predictions
from components.bulk_inferrer.table_writer import can_be_written, write_tables
from components.example_gen.csv_table import CsvOptions
from pipeline.prediction.features import type_problems
from pipeline.prediction.tables import InputError, Table, file_format, open_table, rechunk

ROW = "row"  # the first column of the output where no id column is asked for


@dataclass(frozen=True)
class PredictRequest:
    """A table to predict.

    Attributes:
        table: The input.
        features: The columns that the model takes.
        class_names: The classes that it must know, in order.
        id_columns: The columns that the output repeats.
        output_format: `csv` or `parquet`.
    """

    table: Table
    features: Sequence[schema_pb2.Feature]
    class_names: Sequence[str]
    id_columns: Sequence[str]
    output_format: str

    def chunks(self, num_rows: int) -> Iterator[pa.Table]:
        """Yields what is needed of the input, `num_rows` rows at a time."""
        names = dict.fromkeys([*self.id_columns, *(feature.name for feature in self.features)])
        return rechunk(self.table.batches(list(names)), num_rows)

    def output(self, chunk: pa.Table, first_row: int, predictions: Predictions) -> pa.Table:
        """Returns a chunk's rows of the output: the id columns, or else the number of each row, and its predictions."""
        rows = pa.table({ROW: np.arange(first_row, first_row + len(chunk))})
        ids = chunk.select(self.id_columns) if self.id_columns else rows
        answer = predictions.to_table()
        return pa.table([*ids.columns, *answer.columns], [*ids.column_names, *answer.column_names])

    def empty_output(self) -> pa.Table:
        """Returns the output of an input without rows."""
        no_predictions = Predictions(tuple(self.class_names), np.zeros((0, len(self.class_names)), np.float32))
        return self.output(self.table.schema.empty_table(), 0, no_predictions)

    def write(self, stream: BinaryIO, outputs: Iterator[pa.Table]) -> None:
        """Writes the output, part by part."""
        write_tables(stream, self.output_format, outputs)


def check_request(
    input_file: Path,
    output_file: Path,
    *,
    features: Sequence[schema_pb2.Feature],
    class_names: Sequence[str],
    id_columns: Sequence[str],
    csv_options: CsvOptions | None = None,
) -> PredictRequest:
    """Opens the input and checks all but its cells.

    Raises:
        InputError: If anything is wrong; the message lists every problem.
    """
    problems = list(_output_problems(input_file, output_file))
    try:
        table = open_table(input_file, csv_options)
    except InputError as err:
        raise InputError("\n".join([*problems, str(err)])) from err
    problems += _column_problems(table, [feature.name for feature in features], "feature")
    problems += _column_problems(table, id_columns, "id column")
    problems += type_problems(table, features)
    problems += _id_problems(table, output_file, id_columns)
    if problems:
        raise InputError("\n".join(problems))
    return PredictRequest(table, features, class_names, id_columns, file_format(output_file))


def _output_problems(input_file: Path, output_file: Path) -> Iterator[str]:
    folder = output_file.absolute().parent
    try:
        file_format(output_file)
    except InputError as err:
        yield f"--output: {err}"
    if not folder.is_dir():
        yield f"--output: the folder {folder} does not exist. Make it first."
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"--output: the folder {folder} cannot be written to."
    if output_file.is_dir():
        yield f"--output: {output_file} is a folder. Give the name of a file."
    elif output_file.exists() and input_file.exists() and output_file.samefile(input_file):
        yield f"--output: {output_file} is the input itself. Give another name."


def _column_problems(table: Table, names: Sequence[str], kind: str) -> Iterator[str]:
    for name in names:
        if name not in table.schema.names:
            close = difflib.get_close_matches(name, table.schema.names, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            yield f"{table.file} has no column '{name}' ({kind}).{hint}"


def _id_problems(table: Table, output_file: Path, id_columns: Sequence[str]) -> Iterator[str]:
    types = {field.name: field.type for field in table.schema}
    for name in sorted({name for name in id_columns if id_columns.count(name) > 1}):
        yield f"--id {name} is given twice."
    for name in dict.fromkeys(id_columns):
        if name == PREDICTED_CLASS or name.startswith(PROBABILITY_PREFIX):
            yield f"--id {name}: the output has a column of that name already. Rename it in the input."
        if name in types and not can_be_written(output_file.suffix.lower().removeprefix("."), types[name]):
            yield f"--id {name}: a {types[name]} cannot be written to CSV. Give an --output that ends in .parquet."
