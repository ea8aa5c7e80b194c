"""Metrics for TFMA that it lacks for many classes: argmax scores and the calibration error. Runs in Beam workers.

TFMA's own precision, recall and F1 of a class compare its probability with 0.5, not with the other classes', and
Keras' accuracy is a float32: 9 of 10 rows do not reach 0.9.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.metrics.multi_class_confusion_matrix_metrics import multi_class_confusion_matrices
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import scores
from components.evaluator.rules import Score

_ANY_PREDICTION = -1.0  # a threshold below every probability
Computations = list[metric_types.MetricComputation | metric_types.DerivedMetricComputation]


class ConfusionMatrixScore(metric_types.Metric):
    """A score that follows from the confusion matrix of the most probable class."""

    def __init__(
        self, name: str, metric: str, class_names: Sequence[str], class_name: str = "", average: str = ""
    ) -> None:
        """Creates the metric `name`; the other arguments are those of `Score`, and every class's name in order."""
        super().__init__(
            metric_util.merge_per_key_computations(_confusion_matrix_score),
            name=name,
            metric=metric,
            class_names=class_names,
            class_name=class_name,
            average=average,
        )


class ConfusionMatrix(metric_types.Metric):
    """Rows of each class (first axis) that were taken for each class (second), float64 `[C, C]`."""

    def __init__(self, name: str, num_classes: int) -> None:
        """Creates the metric `name`."""
        super().__init__(metric_util.merge_per_key_computations(_confusion_matrix), name=name, num_classes=num_classes)


class CalibrationBins(metric_types.Metric):
    """Rows, correct ones and sum of the highest probabilities in each bin of `CalibrationError`, `[3, num_bins]`."""

    def __init__(self, name: str) -> None:
        """Creates the metric `name`."""
        super().__init__(metric_util.merge_per_key_computations(_calibration_bins), name=name)


class CalibrationError(metric_types.Metric):
    """Expected calibration error of the highest probability, in ten bins of equal width."""

    def __init__(self, name: str) -> None:
        """Creates the metric `name`."""
        super().__init__(metric_util.merge_per_key_computations(_calibration_error), name=name)


# TFMA gives a function what its signature names, and overlooks arguments that go by keyword alone.
def _confusion_matrix_score(
    name: str,
    metric: str,
    class_names: Sequence[str],
    class_name: str,
    average: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> Computations:
    where = {"model_name": model_name, "output_name": output_name, "example_weighted": example_weighted}
    score, num_classes = Score(metric, class_name, average), len(class_names)
    return _of_matrix(
        name, num_classes, lambda matrix: scores.score_of_matrix(score, matrix, tuple(class_names)), eval_config, where
    )


def _confusion_matrix(
    name: str,
    num_classes: int,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> Computations:
    where = {"model_name": model_name, "output_name": output_name, "example_weighted": example_weighted}
    return _of_matrix(name, num_classes, lambda matrix: matrix, eval_config, where)


def _of_matrix(
    name: str,
    num_classes: int,
    value_of: Callable[[scores.Floats], Any],
    eval_config: config_pb2.EvalConfig | None,
    where: Mapping[str, Any],
) -> Computations:
    computations = multi_class_confusion_matrices([_ANY_PREDICTION], eval_config=eval_config, **where)
    matrices_key = computations[-1].keys[-1]
    key = metric_types.MetricKey(name=name, **where)

    def result(metrics: Mapping[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, Any]:
        matrix = np.zeros((num_classes, num_classes))
        for entry, count in metrics[matrices_key].get(_ANY_PREDICTION, {}).items():
            matrix[entry.actual_class_id, entry.predicted_class_id] = count
        return {key: value_of(matrix)}

    return [*computations, metric_types.DerivedMetricComputation(keys=[key], result=result)]


def _calibration_error(
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> Computations:
    where = {"model_name": model_name, "output_name": output_name, "example_weighted": example_weighted}
    return _of_bins(name, lambda bins: scores.calibration_error(*bins), eval_config, where)


def _calibration_bins(
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> Computations:
    where = {"model_name": model_name, "output_name": output_name, "example_weighted": example_weighted}
    return _of_bins(name, lambda bins: bins, eval_config, where)


def _of_bins(
    name: str,
    value_of: Callable[[scores.Floats], Any],
    eval_config: config_pb2.EvalConfig | None,
    where: Mapping[str, Any],
) -> Computations:
    bins_key = metric_types.MetricKey(name="_calibration_bins", **where)  # an underscore hides it from the results
    key = metric_types.MetricKey(name=name, **where)
    to_row = functools.partial(
        metric_util.to_label_prediction_example_weight, eval_config=eval_config, flatten=False, **where
    )
    return [
        metric_types.MetricComputation(
            keys=[bins_key], preprocessors=None, combiner=_CalibrationCombiner(bins_key, to_row)
        ),
        metric_types.DerivedMetricComputation(keys=[key], result=lambda metrics: {key: value_of(metrics[bins_key])}),
    ]


class _CalibrationCombiner(beam.CombineFn):
    """Sums what `CalibrationBins` gives."""

    def __init__(self, key: metric_types.MetricKey, to_row: Callable[..., Any]) -> None:
        self._key = key
        self._to_row = to_row

    def create_accumulator(self) -> scores.Floats:
        return np.zeros((3, scores.NUM_CALIBRATION_BINS))

    def add_input(self, accumulator: scores.Floats, element: metric_types.StandardMetricInputs) -> scores.Floats:
        label, probabilities, weight = next(self._to_row(element))
        confidence = probabilities.max()
        correct = probabilities.argmax() == label.item()
        column = scores.calibration_bin(np.asarray(confidence))
        accumulator[:, column] += np.array([1.0, correct, confidence]) * weight.item()
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[scores.Floats]) -> scores.Floats:
        return np.sum(list(accumulators), axis=0)

    def extract_output(self, accumulator: scores.Floats) -> dict[metric_types.MetricKey, scores.Floats]:
        return {self._key: accumulator}


for _metric in (ConfusionMatrixScore, ConfusionMatrix, CalibrationBins, CalibrationError):
    metric_types.register_metric(_metric)
