"""Confidence intervals of scores. Runs in the Evaluator's process.

Shares of rows (accuracy, precision and recall of a class) get Wilson's interval (Wilson 1927, Probable Inference), all
other scores, every change and all of weighted rows the percentiles of a bootstrap (Efron 1979, Bootstrap Methods); a
change is that of both models on the same resampled rows.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from components.evaluator.rules import METRICS, Rule
from components.evaluator.scores import Floats, Predictions, measure

Interval = tuple[float, float]
_MOST_RESAMPLES, _FEWEST_RESAMPLES = 2000, 200
_MOST_DRAWS = 200_000_000  # rows times resamples: seconds, not minutes
_SEED = 0


def interval_of(
    rule: Rule, candidate: Predictions, baseline: Predictions | None, class_names: tuple[str, ...]
) -> Interval | None:
    """Returns the interval of a rule's value, or of its change, at the rule's confidence.

    Args:
        rule: With a confidence.
        candidate: Of the rows that the rule is about.
        baseline: The same for the model that is served; only changes need it.
        class_names: By label value.

    Returns:
        The lower and upper end; None where there is no row to compute it of.
    """
    confidence, row_weights = rule.confidence or 0.0, candidate.weights
    if row_weights is None and not rule.is_change and METRICS[rule.score.metric].denominator and not rule.score.average:
        return wilson(*_share(rule, candidate, class_names), confidence)

    def statistic(counts: Floats) -> float:
        weights = counts if row_weights is None else counts * row_weights
        value = measure(rule.score, candidate, class_names, weights)
        if not rule.is_change or baseline is None:
            return value
        before = measure(rule.score, baseline, class_names, weights)
        change = value - before
        return change / before if rule.bound == "relative_change" and before else change

    return _bootstrap(statistic, len(candidate.labels), confidence)


def _share(rule: Rule, rows: Predictions, class_names: tuple[str, ...]) -> tuple[int, int]:
    """Returns of how many rows a score is the share, and how many it counts."""
    if METRICS[rule.score.metric].denominator == "all":
        return int(rows.is_correct.sum()), len(rows.labels)
    class_id = class_names.index(rule.score.class_name)
    counted = (rows.predicted if METRICS[rule.score.metric].denominator == "predicted" else rows.labels) == class_id
    return int((counted & rows.is_correct).sum()), int(counted.sum())


def wilson(successes: int, trials: int, confidence: float) -> Interval | None:
    """Returns Wilson's interval of a share, None of no trial.

    SciPy has it too, in `scipy.stats`, which takes half a second to import.
    """
    if not trials:
        return None
    square = float(ndtri((1 + confidence) / 2)) ** 2
    centre = successes + square / 2
    width = np.sqrt(square * (successes * (trials - successes) / trials + square / 4))
    low, high = ((centre + side * width) / (trials + square) for side in (-1, 1))
    return float(low) if successes else 0.0, float(high) if successes < trials else 1.0


def _bootstrap(statistic: Callable[[Floats], float], num_rows: int, confidence: float) -> Interval | None:
    """Returns percentiles of the statistic over resamples; those in which it has no meaning are left out."""
    if not num_rows:
        return None
    random = np.random.default_rng(_SEED)
    num_resamples = int(np.clip(_MOST_DRAWS // num_rows, _FEWEST_RESAMPLES, _MOST_RESAMPLES))
    values = np.array(
        [
            statistic(np.bincount(random.integers(0, num_rows, num_rows), minlength=num_rows).astype(np.float64))
            for _ in range(num_resamples)
        ]
    )
    values = values[np.isfinite(values)]
    if len(values) < num_resamples / 2:
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
