"""Real rows that travel with a model: recorded logits, warmup requests, a request to copy.

Runs in the Trainer's process.
"""

import base64
import json
import os
from collections.abc import Iterator, Sequence

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx.dsl.io import fileio

from components.trainer import RECORDED_LOGITS_FILE, REQUEST_FILE, WARMUP_FILE
from schema import FeatureRoles

_NUM_WARMUP_ROWS = 32  # TF Serving reads at most 1000 records
_NUM_REQUEST_ROWS = 3


def read_samples(file_patterns: Sequence[str], num_rows: int) -> list[bytes]:
    """Returns the first `num_rows` serialized tf.Examples of gzipped TFRecord files, fewer if there are fewer."""
    files = sorted(file for pattern in file_patterns for file in fileio.glob(pattern))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP").take(num_rows)
    return list(dataset.as_numpy_iterator())


def write_samples(
    raw_examples: Sequence[bytes],
    logits: Sequence[Sequence[float]],
    roles: FeatureRoles,
    *,
    serving_model_dir: str,
    model_run_dir: str,
) -> None:
    """Writes what a model is checked, warmed up and tried with.

    `assets.extra/tf_serving_warmup_requests` (SavedModel Warmup, TF Serving's guide) holds requests of one row and of
    many for every signature; `request.json` is the body of a REST request for `serving_features`.

    Args:
        raw_examples: Serialized tf.Examples, label included.
        logits: The trained model's logits of each, `[num_rows, C]`.
        roles: Names the features.
        serving_model_dir: Where the SavedModel lies.
        model_run_dir: Where examples and logits are recorded, for InfraValidator.
    """
    fileio.makedirs(model_run_dir)
    with fileio.open(os.path.join(model_run_dir, RECORDED_LOGITS_FILE), "w") as file:
        examples = [base64.b64encode(example).decode() for example in raw_examples]
        json.dump({"examples": examples, "logits": logits}, file)
    rows = [tf.train.Example.FromString(example) for example in raw_examples]
    with fileio.open(os.path.join(serving_model_dir, REQUEST_FILE), "w") as file:
        instances = [{name: list(_values(row, name)) for name in roles.numeric} for row in rows[:_NUM_REQUEST_ROWS]]
        json.dump({"signature_name": "serving_features", "instances": instances}, file, indent=1)
    warmup_file = os.path.join(serving_model_dir, WARMUP_FILE)
    fileio.makedirs(os.path.dirname(warmup_file))
    with tf.io.TFRecordWriter(warmup_file) as writer:
        for batch in (rows[:1], rows[:_NUM_WARMUP_ROWS]) if rows else ():
            for log in _requests(batch, roles):
                writer.write(log.SerializeToString())


def _requests(rows: Sequence[tf.train.Example], roles: FeatureRoles) -> Iterator[prediction_log_pb2.PredictionLog]:
    unlabelled = [_without(row, roles.label) for row in rows]
    yield _predict("serving_default", {"examples": tf.constant([row.SerializeToString() for row in unlabelled])})
    columns = {name: _column(rows, name) for name in roles.numeric}
    yield _predict("serving_features", columns)
    yield _predict("transform_features", {"examples": tf.constant([row.SerializeToString() for row in rows])})
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.signature_name = "classify"
    log.classify_log.request.input.example_list.examples.extend(unlabelled)
    yield log


def _predict(signature_name: str, inputs: dict[str, tf.Tensor]) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature_name
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
    return log


def _without(row: tf.train.Example, name: str) -> tf.train.Example:
    copy = tf.train.Example.FromString(row.SerializeToString())
    copy.features.feature.pop(name, None)
    return copy


def _column(rows: Sequence[tf.train.Example], name: str) -> tf.Tensor:
    """Returns a feature of every row, int64 or float32 `[num_rows, 1]`, as it is in the rows."""
    is_whole = rows[0].features.feature[name].WhichOneof("kind") == "int64_list"
    return tf.constant([_values(row, name) for row in rows], tf.int64 if is_whole else tf.float32)


def _values(row: tf.train.Example, name: str) -> Sequence[float]:
    feature = row.features.feature[name]
    return feature.int64_list.value or feature.float_list.value
