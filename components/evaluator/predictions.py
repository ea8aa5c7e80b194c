"""What models say of every row of a split, in memory. Runs in the Evaluator's process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.evaluator.rules import Slice
from components.evaluator.scores import Ints, Predictions
from schema import FeatureRoles, transformed_name

_BATCH_SIZE = 8192


@dataclass(frozen=True)
class RowSlices:
    """Which slice each row is in.

    Attributes:
        values: A feature's values, or the names of its buckets, that occur.
        positions: Of each row's in `values`, int `[num_rows]`; -1 if it has none.
    """

    values: list[Any]
    positions: Ints

    @cached_property
    def rows(self) -> dict[str, Ints]:
        """The rows in each slice, ascending, by `text_of` its value."""
        order = np.argsort(self.positions, kind="stable")
        ends = np.searchsorted(self.positions[order], range(len(self.values) + 1))
        parts = zip(self.values, ends[:-1], ends[1:], strict=True)
        return {text_of(value): order[start:end] for value, start, end in parts}


class SplitRows:
    """The rows of a split, of which what is asked for is read and predicted once.

    Args:
        file_patterns: Patterns of gzipped TFRecord files of raw tf.Examples.
        roles: Names the label and the weight.
        split: Name of the split.
    """

    def __init__(self, file_patterns: Sequence[str], roles: FeatureRoles, split: str) -> None:
        self.roles = roles
        self.split = split
        self._files = sorted(file for pattern in file_patterns for file in fileio.glob(pattern))
        self._predictions: dict[str, Predictions] = {}
        self._slices: dict[Slice, RowSlices] = {}

    def predict(self, model_dir: str) -> Predictions:
        """Returns what `serving_default` says of every row, and the labels that `transform_features` gives.

        Args:
            model_dir: Folder of a SavedModel that our Trainer exported.
        """
        if model_dir not in self._predictions:
            self._predictions[model_dir] = self._predict(model_dir)
        return self._predictions[model_dir]

    def read_slices(self, slices: Sequence[Slice]) -> dict[Slice, RowSlices]:
        """Returns which rows are in which slice of a feature.

        Args:
            slices: Each of a feature.
        """
        if unread := [each for each in slices if each not in self._slices]:
            self._slices |= self._read_slices(unread)
        return {each: self._slices[each] for each in slices}

    def _predict(self, model_dir: str) -> Predictions:
        model = tf.saved_model.load(model_dir)  # its signatures do not keep its variables
        signatures = model.signatures
        labels, probabilities, weights = [], [], []
        for examples in self._batches():
            transformed = signatures["transform_features"](examples=examples)
            labels.append(transformed[transformed_name(self.roles.label)].numpy()[:, 0])
            probabilities.append(signatures["serving_default"](examples=examples)["probabilities"].numpy())
            if self.roles.weight:
                weights.append(transformed[transformed_name(self.roles.weight)].numpy()[:, 0])
        if not labels:
            return Predictions(np.zeros(0, np.int64), np.zeros((0, len(self.roles.class_names))))
        row_weights = np.concatenate(weights).astype(np.float64) if weights else None
        return Predictions(np.concatenate(labels), np.concatenate(probabilities), row_weights)

    def _read_slices(self, slices: Sequence[Slice]) -> dict[Slice, RowSlices]:
        columns: dict[Slice, list[pa.Array]] = {each: [] for each in slices}
        decoder = ExamplesToRecordBatchDecoder()
        for examples in self._batches():
            batch = decoder.DecodeBatch(examples.numpy())
            for each, parts in columns.items():
                parts.append(_first_values(batch, each.feature))
        return {each: _row_slices(each, parts) for each, parts in columns.items()}

    def _batches(self) -> Iterator[tf.Tensor]:
        return iter(tf.data.TFRecordDataset(self._files, compression_type="GZIP").batch(_BATCH_SIZE).prefetch(2))


def text_of(value: Any) -> str:
    """Returns the value of a slice as the verdict names it."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _first_values(batch: pa.RecordBatch, feature: str) -> pa.Array:
    """Returns a feature's first value in each row, null where it has none."""
    index = batch.schema.get_field_index(feature)
    column = batch.column(index) if index >= 0 else pa.nulls(batch.num_rows)
    if pa.types.is_null(column.type):
        return pa.nulls(batch.num_rows)
    sizes = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    starts = column.offsets.to_numpy()[:-1] - column.offsets[0].as_py()
    return column.flatten().take(pa.array(np.where(sizes, starts, 0), mask=sizes == 0))


def _row_slices(where: Slice, parts: list[pa.Array]) -> RowSlices:
    types = [part.type for part in parts if not pa.types.is_null(part.type)]
    if not types:  # no row has the feature
        return RowSlices([], np.full(sum(map(len, parts)), -1))
    column = pa.chunked_array([part.cast(types[0]) for part in parts])
    if where.buckets:
        return _row_buckets(where, column.to_numpy().astype(np.float64))
    encoded = column.combine_chunks().dictionary_encode()
    return RowSlices(encoded.dictionary.to_pylist(), encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))


def _row_buckets(where: Slice, numbers: npt.NDArray[np.float64]) -> RowSlices:
    names = list(map(where.bucket, (-np.inf, *where.buckets)))
    positions = np.where(np.isnan(numbers), -1, np.searchsorted(where.buckets, numbers, side="right"))
    found, positions = np.unique(positions, return_inverse=True)
    if len(found) and found[0] < 0:
        found, positions = found[1:], positions - 1
    return RowSlices([names[each] for each in found], positions)
