"""Real rows that travel with a model: recorded logits, warmup requests, a request to copy.

Runs in the Trainer's process.
"""

import base64
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx.dsl.io import fileio

from components.trainer import RECORDED_LOGITS_FILE, REQUEST_FILE, WARMUP_FILE

_NUM_WARMUP_ROWS = 32  # TF Serving reads at most 1000 records
_NUM_REQUEST_ROWS = 3
Columns = dict[str, npt.NDArray[Any]]


def read_samples(file_patterns: Sequence[str], num_rows: int) -> list[bytes]:
    """Returns the first `num_rows` serialized tf.Examples of gzipped TFRecord files, fewer if there are fewer."""
    files = sorted(file for pattern in file_patterns for file in fileio.glob(pattern))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP").take(num_rows)
    return list(dataset.as_numpy_iterator())


def write_samples(
    raw_examples: Sequence[bytes],
    logits: Sequence[Sequence[float]],
    *,
    dtypes: Mapping[str, np.dtype[Any]],
    serving_model_dir: str,
    model_run_dir: str,
) -> None:
    """Writes what a model is checked, warmed up and tried with.

    `assets.extra/tf_serving_warmup_requests` (SavedModel Warmup, TF Serving's guide) holds requests of one row and of
    many for every signature but `layer_outputs`; `request.json` is the body of a REST request for `serving_features`.

    Args:
        raw_examples: Serialized tf.Examples, label included.
        logits: The trained model's logits of each, `[num_rows, C]`.
        dtypes: NumPy's type of each tensor that `serving_features` takes.
        serving_model_dir: Where the SavedModel lies.
        model_run_dir: Where examples and logits are recorded, for InfraValidator.
    """
    fileio.makedirs(model_run_dir)
    with fileio.open(os.path.join(model_run_dir, RECORDED_LOGITS_FILE), "w") as file:
        examples = [base64.b64encode(example).decode() for example in raw_examples]
        json.dump({"examples": examples, "logits": logits}, file)
    rows = [tf.train.Example.FromString(example) for example in raw_examples]
    with fileio.open(os.path.join(serving_model_dir, REQUEST_FILE), "w") as file:
        json.dump(_json_request(rows, dtypes), file, indent=1)
    warmup_file = os.path.join(serving_model_dir, WARMUP_FILE)
    fileio.makedirs(os.path.dirname(warmup_file))
    with tf.io.TFRecordWriter(warmup_file) as writer:
        for batch in (rows[:1], rows[:_NUM_WARMUP_ROWS]) if rows else ():
            for log in _requests(batch, dtypes):
                writer.write(log.SerializeToString())


def feature_columns(rows: Sequence[tf.train.Example], dtypes: Mapping[str, np.dtype[Any]]) -> Columns:
    """Returns features of rows as `serving_features` takes them, `[num_rows, 1]`: NaN or b"" where one is missing.

    Args:
        rows: Raw features.
        dtypes: Type of each; `object` for text.

    Raises:
        ValueError: If a row has several values, or none where the type has no word for that.
    """
    columns = {}
    for name, dtype in dtypes.items():
        default = b"" if dtype.kind == "O" else np.nan
        values = [list(_values(row, name)) or [default] for row in rows]
        columns[name] = np.array(values, dtype).reshape(len(rows), 1)
    return columns


def _json_request(rows: Sequence[tf.train.Example], dtypes: Mapping[str, np.dtype[Any]]) -> dict[str, Any]:
    """Returns the body of a REST request of the first rows, of those in which nothing is missing if there are any."""
    complete = [row for row in rows if all(_values(row, name) for name in dtypes)]
    columns = feature_columns((complete or rows)[:_NUM_REQUEST_ROWS], dtypes)
    texts = {
        name: [
            [value.decode(errors="replace") if isinstance(value, bytes) else value for value in row] for row in array
        ]
        for name, array in ((name, column.tolist()) for name, column in columns.items())
    }
    instances = [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]
    return {"signature_name": "serving_features", "instances": instances}


def _requests(
    rows: Sequence[tf.train.Example], dtypes: Mapping[str, np.dtype[Any]]
) -> Iterator[prediction_log_pb2.PredictionLog]:
    unlabelled = [_only(row, dtypes) for row in rows]
    yield _predict("serving_default", {"examples": tf.constant([row.SerializeToString() for row in unlabelled])})
    yield _predict("serving_features", feature_columns(rows, dtypes))
    yield _predict("transform_features", {"examples": tf.constant([row.SerializeToString() for row in rows])})
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.signature_name = "classify"
    log.classify_log.request.input.example_list.examples.extend(unlabelled)
    yield log


def _predict(signature_name: str, inputs: Mapping[str, Any]) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature_name
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
    return log


def _only(row: tf.train.Example, names: Collection[str]) -> tf.train.Example:
    copy = tf.train.Example.FromString(row.SerializeToString())
    for name in set(copy.features.feature) - set(names):
        del copy.features.feature[name]
    return copy


def _values(row: tf.train.Example, name: str) -> Sequence[Any]:
    feature = row.features.feature.get(name)
    kind = feature.WhichOneof("kind") if feature else None
    return getattr(feature, kind).value if kind else ()
