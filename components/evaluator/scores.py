"""Every metric that a threshold may name, of rows in memory. Runs in the Evaluator's process; imports no TensorFlow."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from components.evaluator.rules import Score

NUM_CALIBRATION_BINS = 10
_SMALLEST_PROBABILITY = 1e-7  # as Keras' cross-entropy has it
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Predictions:
    """What a model said of each row.

    Attributes:
        labels: int `[num_rows]`, each 0 to C - 1.
        probabilities: float `[num_rows, C]`.
        weights: How much each row counts, float `[num_rows]`; None if all count alike.
    """

    labels: Ints
    probabilities: Floats
    weights: Floats | None = None

    @cached_property
    def predicted(self) -> Ints:
        """The class with the highest probability, int `[num_rows]`."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def is_correct(self) -> npt.NDArray[np.bool_]:
        """Whether that is the label, bool `[num_rows]`."""
        return self.predicted == self.labels

    @cached_property
    def losses(self) -> Floats:
        """Cross-entropy of each row in nats, float64 `[num_rows]`."""
        likelihoods = self.probabilities[np.arange(len(self.labels)), self.labels]
        return -np.log(np.clip(likelihoods.astype(np.float64), _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY))

    @cached_property
    def bins(self) -> Ints:
        """The calibration bin of the highest probability, int `[num_rows]`."""
        return calibration_bin(self.probabilities.max(axis=1))

    def rank(self, class_id: int) -> tuple[Ints, Ints]:
        """Returns the rows by ascending probability of a class, and the group of equal ones that each is in."""
        if class_id not in self._ranks:
            scores = self.probabilities[:, class_id]
            order = np.argsort(scores, kind="stable")
            self._ranks[class_id] = order, np.cumsum(np.diff(scores[order], prepend=scores[order[:1]]) > 0)
        return self._ranks[class_id]

    @cached_property
    def _ranks(self) -> dict[int, tuple[Ints, Ints]]:
        return {}

    def take(self, rows: npt.NDArray[np.bool_] | Ints) -> "Predictions":
        """Returns the rows of a mask, or at positions."""
        weights = None if self.weights is None else self.weights[rows]
        return Predictions(self.labels[rows], self.probabilities[rows], weights)


def calibration_bin(confidences: Floats) -> Ints:
    """Returns the bin of each highest probability: ten of equal width, each with its upper edge."""
    return np.clip(np.ceil(confidences * NUM_CALIBRATION_BINS).astype(np.int64) - 1, 0, NUM_CALIBRATION_BINS - 1)


def measure(score: Score, predictions: Predictions, class_names: tuple[str, ...], weights: Floats) -> float:
    """Returns a score of weighted rows; NaN where it has no meaning.

    Args:
        score: What is measured.
        predictions: Of each row.
        class_names: By label value.
        weights: How often each row counts, `[num_rows]`.
    """
    if not weights.sum():
        return float("nan")
    if score.metric == "loss":
        return float(np.average(predictions.losses, weights=weights))
    if score.metric == "calibration_error":
        return calibration_error(*calibration_bins(predictions, weights))
    num_classes = len(class_names)
    if score.metric == "auc":
        areas = np.array([_auc(predictions, class_id, weights) for class_id in range(num_classes)])
        class_weights = _sums(predictions.labels, weights, num_classes)
        return _of_class(areas, class_weights, score, class_names)
    return score_of_matrix(score, confusion_matrix(predictions, weights, num_classes), class_names)


def confusion_matrix(predictions: Predictions, weights: Floats, num_classes: int) -> Floats:
    """Returns the rows of each class (first axis) that were taken for each class (second), float64 `[C, C]`."""
    cells = predictions.labels * num_classes + predictions.predicted
    return _sums(cells, weights, num_classes**2).reshape(num_classes, num_classes)


def calibration_bins(predictions: Predictions, weights: Floats) -> Floats:
    """Returns rows, correct ones and the sum of the highest probabilities in each calibration bin, `[3, num_bins]`."""
    highest = predictions.probabilities.max(axis=1)
    values = (weights, weights * predictions.is_correct, weights * highest)
    return np.stack([_sums(predictions.bins, each, NUM_CALIBRATION_BINS) for each in values])


def score_of_matrix(score: Score, matrix: Floats, class_names: tuple[str, ...]) -> float:
    """Returns a score that follows from the confusion matrix; NaN where it has no meaning.

    Args:
        score: Of any metric but loss, auc and calibration_error.
        matrix: Rows of each class (first axis) that were taken for each class (second), `[C, C]`.
        class_names: By label value.
    """
    hits, actual, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    total = actual.sum()
    if not total:
        return float("nan")
    if score.metric == "accuracy":
        return float(hits.sum() / total)
    if score.metric == "balanced_accuracy":
        return float(np.mean((hits / np.maximum(actual, 1e-300))[actual > 0]))
    if score.metric == "matthews_correlation":
        return _matthews_correlation(hits.sum(), total, actual, predicted)
    denominator = {"precision": predicted, "recall": actual, "f1": (actual + predicted) / 2}[score.metric]
    shares = np.divide(hits, denominator, out=np.zeros(len(hits)), where=denominator > 0)
    if not score.class_name:  # a class that neither is nor was predicted says nothing about a model
        known = actual + predicted > 0
        shares, actual = shares[known], actual[known]
    return _of_class(shares, actual, score, class_names)


def calibration_error(counts: Floats, correct: Floats, confidence: Floats) -> float:
    """Returns the expected calibration error (Guo et al. 2017, On Calibration of Modern Neural Networks).

    Args:
        counts: Rows in each bin.
        correct: Those of them that were predicted correctly.
        confidence: Sum of their highest probabilities.
    """
    total = counts.sum()
    return float(np.abs(correct - confidence).sum() / total) if total else float("nan")


def _of_class(values: Floats, class_weights: Floats, score: Score, class_names: tuple[str, ...]) -> float:
    if score.class_name:
        return float(values[class_names.index(score.class_name)])
    if score.average == "weighted":
        present = class_weights > 0
        return float(np.average(values[present], weights=class_weights[present]))
    return float(np.mean(values))


def _matthews_correlation(correct: float, total: float, actual: Floats, predicted: Floats) -> float:
    """Returns the multi-class coefficient (Gorodkin 2004), 0 where either side knows one class alone."""
    spread = np.sqrt((total**2 - predicted @ predicted) * (total**2 - actual @ actual))
    return float((correct * total - actual @ predicted) / spread) if spread else 0.0


def _auc(predictions: Predictions, class_id: int, weights: Floats) -> float:
    """Returns the area under the ROC curve of one class against all others, ties counted half."""
    order, groups = predictions.rank(class_id)
    weight, is_class = weights[order], predictions.labels[order] == class_id
    negatives = np.bincount(groups, weight * ~is_class)
    positives = np.bincount(groups, weight * is_class)
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    return float(positives @ below / pairs) if pairs else float("nan")


def _sums(groups: Ints, values: Floats, num_groups: int) -> Floats:
    return np.bincount(groups, values, minlength=num_groups).astype(np.float64)
