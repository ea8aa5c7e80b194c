"""What a model says of every row, in memory: what intervals are computed of. Runs in the Evaluator's process."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.evaluator.rules import Slice
from components.evaluator.scores import Predictions
from schema import FeatureRoles, transformed_name

_BATCH_SIZE = 4096


def predict_rows(model_dir: str, file_patterns: Sequence[str], roles: FeatureRoles) -> Predictions:
    """Runs `serving_default` on every row, and `transform_features` for the label.

    Args:
        model_dir: Folder of a SavedModel that our Trainer exported.
        file_patterns: Patterns of gzipped TFRecord files of raw tf.Examples.
        roles: Names the label and the weight.
    """
    signatures = tf.saved_model.load(model_dir).signatures
    labels, probabilities, weights = [], [], []
    for examples in _batches(file_patterns):
        transformed = signatures["transform_features"](examples=examples)
        labels.append(transformed[transformed_name(roles.label)].numpy()[:, 0])
        probabilities.append(signatures["serving_default"](examples=examples)["probabilities"].numpy())
        if roles.weight:
            weights.append(transformed[transformed_name(roles.weight)].numpy()[:, 0])
    if not labels:
        return Predictions(np.zeros(0, np.int64), np.zeros((0, len(roles.class_names))))
    row_weights = np.concatenate(weights).astype(np.float64) if weights else None
    return Predictions(np.concatenate(labels), np.concatenate(probabilities), row_weights)


def slice_rows(file_patterns: Sequence[str], slices: Iterable[Slice]) -> dict[str, npt.NDArray[np.str_]]:
    """Returns the slice that each row is in, empty if in none, `[num_rows]` by `Slice.key`."""
    names: dict[str, list[str]] = {each.key: [] for each in slices}
    decoder = ExamplesToRecordBatchDecoder()
    for examples in _batches(file_patterns) if names else ():
        batch = decoder.DecodeBatch(examples.numpy())
        for each in slices:
            names[each.key] += [_name_of(value, each) for value in _values(batch, each.feature)]
    return {key: np.array(of_rows) for key, of_rows in names.items()}


def _batches(file_patterns: Sequence[str]) -> Iterator[tf.Tensor]:
    files = sorted(file for pattern in file_patterns for file in fileio.glob(pattern))
    return iter(tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH_SIZE))


def _values(batch: pa.RecordBatch, feature: str) -> list[Any]:
    index = batch.schema.get_field_index(feature)
    if index < 0:
        return [None] * batch.num_rows
    return [values[0] if values else None for values in batch.column(index).to_pylist()]


def _name_of(value: Any, where: Slice) -> str:
    if value is None:
        return ""
    if where.buckets:
        return where.bucket(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
