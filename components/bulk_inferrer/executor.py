"""BulkInferrer whose results can be read without TensorFlow. Runs in BulkInferrer's process and on Beam workers.

The stock executor writes PredictionLogs alone (tensorflow/tfx issues 2478 and 3627).
"""

import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from tensorflow_serving.apis import prediction_log_pb2
from tfx import types
from tfx.components.bulk_inferrer import executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx_bsl.coders import example_coder

from components.bulk_inferrer import PREDICTIONS_FILE
from components.bulk_inferrer.predictions import from_predict_logs
from components.bulk_inferrer.table_writer import write_tables

_LOGS_PATTERN = "prediction_logs*.gz"  # as the stock executor names them
_ROWS_AT_A_TIME = 1000


class Executor(executor.Executor):
    """The stock executor; beside its PredictionLogs lies a table of the predictions."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Overrides the stock executor's; a model that is not blessed is not used, and then there is no table."""
        super().Do(input_dict, output_dict, exec_properties)
        result = artifact_utils.get_single_instance(output_dict[standard_component_specs.INFERENCE_RESULT_KEY])
        if fileio.glob(os.path.join(result.uri, _LOGS_PATTERN)):
            write_predictions(
                result.uri, json.loads(exec_properties["id_columns"]), file_format=exec_properties["file_format"]
            )


def write_predictions(result_dir: str, id_columns: Sequence[str], *, file_format: str) -> None:
    """Writes the table of an InferenceResult: its id columns, the predicted class, a probability per class.

    Args:
        result_dir: Holds PredictionLogs of `serving_default`; gets `predictions.csv` or `predictions.parquet`, where
            there is one. Beam keeps no order, so that id columns alone tell which row is which.
        id_columns: Features that the table repeats.
        file_format: `csv` or `parquet`.

    Raises:
        ValueError: If an id column is no feature of the examples.
    """
    tables = _tables(fileio.glob(os.path.join(result_dir, _LOGS_PATTERN)), id_columns)
    first = next(tables, None)
    if first is None:
        return
    predictions_file = os.path.join(result_dir, PREDICTIONS_FILE.format(file_format))
    with FileSystems.create(predictions_file) as stream:  # TFX's fileio gives no stream that Arrow can write to
        write_tables(stream, file_format, chain([first], tables))


def _tables(log_files: Sequence[str], id_columns: Sequence[str]) -> Iterator[pa.Table]:
    records = tf.data.TFRecordDataset(sorted(log_files), compression_type="GZIP").batch(_ROWS_AT_A_TIME)
    for batch in records.as_numpy_iterator():
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in batch]
        examples = [log.predict_log.request.inputs["examples"].string_val[0] for log in logs]
        predictions = from_predict_logs(logs).to_table()
        ids = _id_columns(examples, id_columns)
        yield pa.table([*ids.values(), *predictions.columns], [*ids, *predictions.column_names])


def _id_columns(examples: list[bytes], names: Sequence[str]) -> dict[str, pa.Array]:
    if not names:
        return {}
    features = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(examples)
    if missing := [name for name in names if name not in features.schema.names]:
        raise ValueError(
            f"bulk_inferrer.id_columns: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in the "
            f"unlabelled data. Its columns: {', '.join(features.schema.names)}."
        )
    return {name: _one_value_each(features[name]) for name in names}


def _one_value_each(column: pa.Array) -> pa.Array:
    """Returns the value of each row of a list column, null where there is none."""
    is_text = pa.types.is_null(column.type) or not pa.types.is_primitive(column.type.value_type)
    return pa.array(
        [values[0] if values else None for values in column.to_pylist()],
        pa.string() if is_text else column.type.value_type,
    )
