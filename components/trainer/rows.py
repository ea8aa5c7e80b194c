"""The rows that the model is fitted to: in memory where they fit, else from their files in every epoch.

Runs in the Trainer's process.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tfx.dsl.io import fileio

from components.trainer.guards import check_labels, label_errors_in_words
from schema import FeatureRoles, transformed_name

_EVAL_BATCH_SIZE = 8192  # rows that are parsed, transformed or validated at a time
_SHUFFLE_BUFFER = 100_000  # rows, where they are read from their files
_GROWTH = 1.25  # of columns that are being read
_LEAST_STEPS, _BATCH_SIZES = 40, (16, 1024)  # steps of an epoch; smallest and largest batch by default
Rows = tuple[Any, ...]  # features by name, labels, and weights if there are any
Features = dict[str, tf.Tensor]
_traced = tf.autograph.experimental.do_not_convert  # there is nothing to convert, and looking takes half a second


def default_batch_size(num_rows: int) -> int:
    """Returns the largest power of two that makes 40 steps of an epoch, but 16 at least and 1024 at most.

    The learning rate needs no scaling up to there: of 100 000 reference rows each from 0.005 to 0.04 gets 0.966 of the
    eval rows right in batches of 1024, and 0.01 gets 0.964 in batches of 32.
    """
    smallest, largest = _BATCH_SIZES
    return int(np.clip(2 ** int(np.log2(max(num_rows // _LEAST_STEPS, 1))), smallest, largest))


@dataclass(frozen=True)
class Split:
    """A split of examples.

    Attributes:
        name: Of the split, for messages.
        file_patterns: Patterns of gzipped TFRecord files.
        spec: Spec of the features in them, label and weight included.
        roles: Name the label, its classes and the weight.
        transform: Gives the transformed features of those of `spec`, label and weight included; None if they are
            transformed already.
    """

    name: str
    file_patterns: Sequence[str]
    spec: Mapping[str, Any]
    roles: FeatureRoles
    transform: Callable[[Features], Features] | None = None

    def dataset(self, batch_size: int, *, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """Returns batches of the rows, each a dict of all transformed features `[batch_size, 1]`.

        Raises:
            tf.errors.InvalidArgumentError: When a label is read that is no class; see `label_errors_in_words`.
        """
        files = sorted(file for pattern in self.file_patterns for file in fileio.glob(pattern))
        examples = tf.data.TFRecordDataset(files, compression_type="GZIP")
        if shuffle_seed is not None:
            examples = examples.shuffle(_SHUFFLE_BUFFER, seed=shuffle_seed)
        batches = examples.batch(batch_size).map(_traced(self._parse), num_parallel_calls=tf.data.AUTOTUNE)
        labels = self.roles
        checked = check_labels(batches, label=labels.label, num_classes=len(labels.class_names), split=self.name)
        return checked.map(_traced(lambda features, _: features)).prefetch(tf.data.AUTOTUNE)

    def _parse(self, examples: tf.Tensor) -> tuple[Features, tf.Tensor]:
        features = tf.io.parse_example(examples, dict(self.spec))
        if self.transform:
            features = self.transform(features)
        return features, features[transformed_name(self.roles.label)]


@dataclass(frozen=True)
class Totals:
    """What of a whole split decides how much a row counts.

    Attributes:
        num_rows: Rows of the split.
        weights: Sum of the weights of each class's rows, float64 `[C]`.
    """

    num_rows: int
    weights: npt.NDArray[np.float64]

    def factors(self, *, balanced: bool) -> npt.NDArray[np.float64]:
        """Returns by what the weights of each class are multiplied, `[C]`, so that their mean is 1.

        Args:
            balanced: Whether every class counts alike, as much as if each had its share of the rows.
        """
        if not balanced:
            return np.full(len(self.weights), self.num_rows / self.weights.sum())
        share = self.num_rows / len(self.weights)
        return np.divide(share, self.weights, out=np.zeros_like(self.weights), where=self.weights > 0)


class Data:
    """A split, ready to be read once in every epoch.

    Args:
        split: The split.
        balanced: Whether every class counts alike.
        max_bytes: Of transformed rows that are held in memory; of more, each epoch reads the files.

    Attributes:
        num_rows: Rows of the split.
        in_memory: Whether they are held in memory.

    Raises:
        ValueError: If the split holds no row, a label that is no class, or only weights that are 0.
    """

    def __init__(self, split: Split, *, balanced: bool = False, max_bytes: float = float("inf")) -> None:
        self._split = split
        columns, totals = _read(split, max_bytes)
        self.num_rows = totals.num_rows
        self.in_memory = columns is not None
        has_weights = balanced or split.roles.weight is not None
        self._factors = totals.factors(balanced=balanced) if has_weights else None
        self._rows = None
        if columns is not None:
            names = sorted(columns)
            order = _order([columns[name] for name in names])
            rows = self._to_rows({name: tf.gather(columns.pop(name), order) for name in names})
            # In variables, for a dataset copies the tensors that its functions refer to.
            self._rows = tf.nest.map_structure(lambda column: tf.Variable(column, trainable=False), rows)

    @property
    def rows(self) -> Rows:
        """The rows that are held in memory, in an order that depends on them alone.

        One `[num_rows, 1]` array per feature; the label, int64 `[num_rows, 1]`; and, if rows count differently, how
        much, float32 `[num_rows]`.
        """
        if self._rows is None:
            raise ValueError("The rows are not held in memory.")
        return tf.nest.map_structure(np.asarray, self._rows)

    def train_batches(self, batch_size: int, seed: int) -> tf.data.Dataset:
        """Returns an epoch's batches, shuffled anew in each."""
        if self._rows is None:
            return self._split.dataset(batch_size, shuffle_seed=seed).map(_traced(self._to_rows))
        last = self.num_rows - 1

        def shuffled(start: tf.Tensor, epoch_seed: tf.Tensor) -> tf.Tensor:
            positions = tf.range(start, tf.minimum(start + batch_size, last + 1))
            return tf.random.experimental.index_shuffle(positions, epoch_seed, last)

        # The position of a row is computed, not drawn from a buffer: that took as long as the training.
        seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True).take(1)
        starts = tf.data.Dataset.range(0, self.num_rows, batch_size)
        positions = seeds.flat_map(
            _traced(lambda epoch_seed: starts.map(_traced(lambda start: shuffled(start, epoch_seed))))
        )
        return _gather(self._rows, positions.apply(tf.data.experimental.assert_cardinality(len(starts))))

    def eval_batches(self) -> tf.data.Dataset:
        """Returns all rows in large batches."""
        if self._rows is None:
            return self._split.dataset(_EVAL_BATCH_SIZE).map(_traced(self._to_rows))
        starts = tf.data.Dataset.range(0, self.num_rows, _EVAL_BATCH_SIZE)
        ends = starts.map(_traced(lambda start: tf.minimum(start + _EVAL_BATCH_SIZE, self.num_rows)))
        return _gather(self._rows, tf.data.Dataset.zip(starts, ends).map(_traced(tf.range)))

    def _to_rows(self, columns: Mapping[str, Any]) -> Rows:
        """Takes label and weight out of the features."""
        roles = self._split.roles
        features = dict(columns)
        labels = features.pop(transformed_name(roles.label))
        weights = features.pop(transformed_name(roles.weight))[:, 0] if roles.weight else None
        if self._factors is None:
            return features, labels
        factors = tf.gather(self._factors.astype(np.float32), labels[:, 0])
        return features, labels, factors if weights is None else weights * factors


def _read(split: Split, max_bytes: float) -> tuple[dict[str, npt.NDArray[Any]] | None, Totals]:
    """Returns the columns of a split, or None if they are too large; and its totals."""
    roles, num_rows, num_bytes = split.roles, 0, 0
    totals = np.zeros(len(roles.class_names))
    columns: dict[str, npt.NDArray[Any]] = {}
    with label_errors_in_words():
        for part in split.dataset(_EVAL_BATCH_SIZE).as_numpy_iterator():
            labels = part[transformed_name(roles.label)][:, 0]
            weights = part[transformed_name(roles.weight)][:, 0] if roles.weight else None
            totals += np.bincount(labels, weights, minlength=len(totals))
            num_bytes += sum(column.nbytes for column in part.values())
            if num_bytes <= max_bytes:
                _append(columns, part, num_rows)
            else:
                columns.clear()
            num_rows += len(labels)
    if not num_rows:
        raise ValueError(f"No rows in {', '.join(split.file_patterns)}; a split is empty.")
    if not totals.any():
        raise ValueError(
            f"the weight '{roles.weight}' is 0 in every row of the {split.name} split; no row would count."
        )
    if num_bytes > max_bytes:
        return None, Totals(num_rows, totals)
    return {name: column[:num_rows] for name, column in columns.items()}, Totals(num_rows, totals)


def _append(columns: dict[str, npt.NDArray[Any]], part: Mapping[str, npt.NDArray[Any]], num_rows: int) -> None:
    """Appends rows to columns that hold `num_rows`, and grow in place: parts and the whole would be the rows twice."""
    for name, values in part.items():
        column = columns.setdefault(name, np.empty((0, *values.shape[1:]), values.dtype))
        end = num_rows + len(values)
        if end > len(column):
            column.resize(int(end * _GROWTH), *column.shape[1:], refcheck=False)
        column[num_rows:end] = values


def _order(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.intp]:
    """Returns the order that sorts rows by their columns, `[num_rows, 1]` each, of which the last counts most.

    Beam does not promise an order of rows or shards, and training must not depend on it.
    """
    num_rows = len(columns[0])
    order = np.arange(num_rows, dtype=np.min_scalar_type(num_rows))
    places, groups = order.copy(), np.zeros_like(order)  # where rows stand that are equal so far, and equal to which
    for column in reversed(columns):
        rows = order[places]
        within = np.lexsort((column[rows, 0], groups))
        order[places] = rows = rows[within]
        values, groups = column[rows, 0], groups[within]
        is_equal = np.zeros(len(rows) + 1, bool)  # to the one before
        is_equal[1:-1] = (values[1:] == values[:-1]) & (groups[1:] == groups[:-1])
        is_tied = is_equal[:-1] | is_equal[1:]
        places, groups = places[is_tied], np.cumsum(~is_equal[:-1], dtype=order.dtype)[is_tied]
        if not len(places):
            break
    return order.astype(np.int64)


def _gather(rows: Rows, positions: tf.data.Dataset) -> tf.data.Dataset:
    def gather(chosen: tf.Tensor) -> Rows:
        return tf.nest.map_structure(lambda column: tf.gather(column, chosen), rows)

    return positions.map(_traced(gather)).prefetch(2)
