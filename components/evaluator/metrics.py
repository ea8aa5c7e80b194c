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
    computations = multi_class_confusion_matrices([_ANY_PREDICTION], eval_config=eval_config, **where)
    matrices_key = computations[-1].keys[-1]
    key = metric_types.MetricKey(name=name, **where)
    score = Score(metric, class_name, average)

    def result(metrics: Mapping[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        matrix = np.zeros((len(class_names), len(class_names)))
        for entry, count in metrics[matrices_key].get(_ANY_PREDICTION, {}).items():
            matrix[entry.actual_class_id, entry.predicted_class_id] = count
        return {key: scores.score_of_matrix(score, matrix, tuple(class_names))}

    return [*computations, metric_types.DerivedMetricComputation(keys=[key], result=result)]


def _calibration_error(
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> Computations:
    key = metric_types.MetricKey(
        name=name, model_name=model_name, output_name=output_name, example_weighted=example_weighted
    )
    to_row = functools.partial(
        metric_util.to_label_prediction_example_weight,
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
        flatten=False,
    )
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=_CalibrationCombiner(key, to_row))]


class _CalibrationCombiner(beam.CombineFn):
    """Sums of `scores.calibration_error`: rows, correct ones and confidence of each bin, `[3, num_bins]`."""

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

    def extract_output(self, accumulator: scores.Floats) -> dict[metric_types.MetricKey, float]:
        return {self._key: scores.calibration_error(*accumulator)}


for _metric in (ConfusionMatrixScore, CalibrationError):
    metric_types.register_metric(_metric)
