"""Predictions as columns. Runs in BulkInferrer's process, and in `sluice predict` and its Beam workers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PREDICTED_CLASS = "predicted_class"
PROBABILITY_PREFIX = "probability_"
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Predictions:
    """What a model says of some rows.

    Attributes:
        class_names: Name of each of the C classes.
        probabilities: Of each class, float32 `[num_rows, C]`.
    """

    class_names: tuple[str, ...]
    probabilities: Array

    def to_table(self) -> pa.Table:
        """Returns `predicted_class`, the most probable one, and `probability_<class>` of each class."""
        most_probable = pa.array(self.probabilities.argmax(axis=1), pa.int32())
        columns: dict[str, Any] = {PREDICTED_CLASS: pa.array(self.class_names, pa.string()).take(most_probable)}
        for index, name in enumerate(self.class_names):
            columns[PROBABILITY_PREFIX + name] = np.ascontiguousarray(self.probabilities[:, index], np.float32)
        return pa.table(columns)


def concat(parts: Sequence[Predictions]) -> Predictions:
    """Returns the rows of `parts`, at least one, one below the other.

    Raises:
        ValueError: If they are not of the same classes.
    """
    class_names = {part.class_names for part in parts}
    if len(class_names) > 1:
        raise ValueError(f"the predictions are of different classes: {sorted(class_names)}.")
    return Predictions(class_names.pop(), np.concatenate([part.probabilities for part in parts]))


def from_classify_logs(logs: Iterable[Any]) -> Predictions:
    """Reads PredictionLogs of the signature `classify`, one row each, at least one."""
    rows = [log.classify_log.response.result.classifications[0].classes for log in logs]
    probabilities = np.array([[scored.score for scored in row] for row in rows], np.float32)
    return Predictions(tuple(scored.label for scored in rows[0]), probabilities)


def from_predict_logs(logs: Iterable[Any]) -> Predictions:
    """Reads PredictionLogs of the signature `serving_default`, one row each, at least one."""
    import tensorflow as tf  # `sluice predict` over REST needs none

    outputs = [log.predict_log.response.outputs for log in logs]
    class_names = tf.make_ndarray(outputs[0]["classes"])[0]
    probabilities = np.concatenate([tf.make_ndarray(output["probabilities"]) for output in outputs])
    return Predictions(tuple(name.decode() for name in class_names), probabilities)
