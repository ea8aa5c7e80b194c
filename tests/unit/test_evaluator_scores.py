"""Every score beside scikit-learn's, every interval beside statsmodels' and scipy's, on the same predictions."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics
from statsmodels.stats.proportion import proportion_confint

from components.evaluator.intervals import interval_of
from components.evaluator.rules import METRICS, Rule, Score
from components.evaluator.scores import Predictions, measure

CLASS_NAMES = ("hold", "release", "flush")


def predictions(num_rows=400, num_classes=3, skill=1.0, seed=0, decimals=7):
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_rows)
    logits = random.normal(size=(num_rows, num_classes))
    logits[np.arange(num_rows), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(labels, np.round(probabilities, decimals).astype(np.float32))


def every_score(class_names=CLASS_NAMES):
    for name, metric in METRICS.items():
        if not metric.is_of_a_class:
            yield Score(name)
            continue
        yield from (Score(name, class_name) for class_name in class_names)
        yield from (Score(name, average=average) for average in ("macro", "weighted"))


def by_sklearn(score, rows, class_names, weights=None):
    """Computes a score without a line of ours."""
    classes = range(len(class_names))
    labels, predicted = rows.labels, rows.probabilities.argmax(axis=1)
    if score.metric == "loss":
        return sklearn_metrics.log_loss(labels, _normalised(rows), labels=list(classes), sample_weight=weights)
    if score.metric == "auc" and score.class_name:
        class_id = class_names.index(score.class_name)
        return sklearn_metrics.roc_auc_score(labels == class_id, rows.probabilities[:, class_id], sample_weight=weights)
    if score.metric == "auc":
        each = [by_sklearn(Score("auc", name), rows, class_names, weights) for name in class_names]
        counts = np.bincount(labels, weights, minlength=len(classes)) if score.average == "weighted" else None
        return np.average(each, weights=counts)
    if score.metric == "calibration_error":
        return _calibration_error(rows, np.ones(len(labels)) if weights is None else weights)
    function = {
        "accuracy": sklearn_metrics.accuracy_score,
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score,
        "matthews_correlation": sklearn_metrics.matthews_corrcoef,
        "precision": sklearn_metrics.precision_score,
        "recall": sklearn_metrics.recall_score,
        "f1": sklearn_metrics.f1_score,
    }[score.metric]
    if not METRICS[score.metric].is_of_a_class:
        return function(labels, predicted, sample_weight=weights)
    if score.average:
        return function(labels, predicted, average=score.average, sample_weight=weights, zero_division=0)
    class_id = class_names.index(score.class_name)
    return function(labels, predicted, labels=[class_id], average=None, sample_weight=weights, zero_division=0)[0]


def _normalised(rows):
    probabilities = rows.probabilities.astype(np.float64)
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def _calibration_error(rows, weights):
    """scikit-learn has the curve's points, not their average; this is its definition, bin by bin."""
    confidence, correct = rows.probabilities.max(axis=1), rows.probabilities.argmax(axis=1) == rows.labels
    error = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > np.float32(low)) & (confidence <= np.float32(low + 0.1))
        if weights[inside].sum():
            gap = np.average(correct[inside], weights=weights[inside]) - np.average(
                confidence[inside].astype(np.float64), weights=weights[inside]
            )
            error += abs(gap) * weights[inside].sum() / weights.sum()
    return error


@pytest.mark.parametrize("score", every_score(), ids=lambda score: score.name)
def test_score_is_sklearns(score):
    rows = predictions()
    assert measure(score, rows, CLASS_NAMES, np.ones(400)) == pytest.approx(
        by_sklearn(score, rows, CLASS_NAMES), abs=1e-6
    )


@pytest.mark.parametrize(
    "score", [each for each in every_score() if each.metric != "loss"], ids=lambda score: score.name
)
def test_score_of_equal_probabilities_is_sklearns(score):
    rows = predictions(decimals=1)
    assert measure(score, rows, CLASS_NAMES, np.ones(400)) == pytest.approx(
        by_sklearn(score, rows, CLASS_NAMES), abs=1e-6
    )


@pytest.mark.parametrize("score", every_score(), ids=lambda score: score.name)
def test_weighted_score_is_sklearns(score):
    rows, weights = predictions(), np.random.default_rng(1).integers(0, 4, 400).astype(float)
    assert measure(score, rows, CLASS_NAMES, weights) == pytest.approx(
        by_sklearn(score, rows, CLASS_NAMES, weights), abs=1e-6
    )


@pytest.mark.parametrize("score", every_score(("no", "yes")), ids=lambda score: score.name)
def test_score_of_two_classes_is_sklearns(score):
    rows = predictions(num_classes=2, seed=3)
    assert measure(score, rows, ("no", "yes"), np.ones(400)) == pytest.approx(
        by_sklearn(score, rows, ("no", "yes")), abs=1e-6
    )


@pytest.mark.parametrize("score", [Score("f1", average="macro"), Score("precision", average="weighted"),
                                   Score("balanced_accuracy"), Score("matthews_correlation")])  # fmt: skip
def test_class_that_never_occurs_counts_for_nothing(score):
    rows = predictions(num_classes=2)
    rows = Predictions(rows.labels, np.pad(rows.probabilities, ((0, 0), (0, 1))))
    assert measure(score, rows, CLASS_NAMES, np.ones(400)) == pytest.approx(by_sklearn(score, rows, CLASS_NAMES))


def test_score_without_meaning_is_nan():
    rows = predictions(num_classes=2)
    rows = Predictions(rows.labels, np.pad(rows.probabilities, ((0, 0), (0, 1))))
    assert np.isnan(measure(Score("auc", "flush"), rows, CLASS_NAMES, np.ones(400)))
    assert np.isnan(measure(Score("accuracy"), rows, CLASS_NAMES, np.zeros(400)))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("score", [Score("accuracy"), Score("precision", "hold"), Score("recall", "flush")])
def test_interval_of_a_share_is_statsmodels_wilson(score, confidence):
    rows = predictions()
    predicted = rows.probabilities.argmax(axis=1)
    counted = {"accuracy": rows.labels >= 0, "precision": predicted == 0, "recall": rows.labels == 2}[score.metric]
    successes = int((counted & (predicted == rows.labels)).sum())
    expected = proportion_confint(successes, int(counted.sum()), alpha=1 - confidence, method="wilson")
    assert interval_of(
        Rule(score, "lower_bound", 0.5, confidence=confidence), rows, None, CLASS_NAMES
    ) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "score", [Score("loss"), Score("f1", average="macro"), Score("auc", "hold"), Score("calibration_error")],
    ids=lambda score: score.name,
)  # fmt: skip
def test_bootstrap_interval_is_scipys(score):
    rows = predictions()

    def statistic(index):
        drawn = np.asarray(index, dtype=int)
        return by_sklearn(score, Predictions(rows.labels[drawn], rows.probabilities[drawn]), CLASS_NAMES)

    expected = stats.bootstrap(
        (np.arange(400),),
        statistic,
        vectorized=False,
        method="percentile",
        n_resamples=1500,
        rng=np.random.default_rng(5),
    ).confidence_interval
    low, high = interval_of(Rule(score, "lower_bound", 0.5, confidence=0.95), rows, None, CLASS_NAMES)
    noise = 0.15 * (expected.high - expected.low)  # of two samples of resamples; four of its standard errors
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=noise)


@pytest.mark.parametrize("bound", ["absolute_change", "relative_change"])
def test_interval_of_a_change_is_of_both_models_on_the_same_rows(bound):
    candidate, baseline = predictions(skill=1.2), predictions(skill=1.0)
    gain = candidate.is_correct.astype(float) - baseline.is_correct
    scale = 1.0 if bound == "absolute_change" else baseline.is_correct.mean()
    rule = Rule(Score("accuracy"), bound, 0.0, confidence=0.95)
    low, high = interval_of(rule, candidate, baseline, CLASS_NAMES)
    expected = stats.norm.interval(0.95, gain.mean() / scale, gain.std() / np.sqrt(400) / scale)
    assert (low, high) == pytest.approx(expected, abs=0.008)
    unpaired = 2 * 1.96 * np.hypot(candidate.is_correct.std(), baseline.is_correct.std()) / np.sqrt(400) / scale
    assert high - low < 0.7 * unpaired


def test_interval_is_the_same_each_time():
    rule = Rule(Score("loss"), "upper_bound", 1.0, confidence=0.95)
    assert interval_of(rule, predictions(), None, CLASS_NAMES) == interval_of(rule, predictions(), None, CLASS_NAMES)


def test_there_is_no_interval_of_no_rows():
    empty = predictions(0)
    for score in (Score("accuracy"), Score("loss"), Score("precision", "hold")):
        assert interval_of(Rule(score, "lower_bound", 0.5, confidence=0.95), empty, None, CLASS_NAMES) is None


def test_there_is_no_interval_where_most_resamples_lack_a_class():
    rows = predictions(num_classes=2, num_rows=50)
    rows = Predictions(rows.labels, np.pad(rows.probabilities, ((0, 0), (0, 1))))
    assert (
        interval_of(Rule(Score("auc", "flush"), "lower_bound", 0.5, confidence=0.95), rows, None, CLASS_NAMES) is None
    )


def test_interval_of_weighted_rows_is_around_the_weighted_value():
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 400)
    probabilities = np.eye(2)[np.where(random.random(400) < 0.8, labels, 1 - labels)]
    is_correct = probabilities.argmax(axis=1) == labels
    rule = Rule(Score("accuracy"), "lower_bound", 0.5, confidence=0.95)
    for weights in (np.where(is_correct, 3.0, 1.0), np.where(is_correct, 1.0, 3.0)):
        low, high = interval_of(rule, Predictions(labels, probabilities, weights), None, ("a", "b"))
        assert low < np.average(is_correct, weights=weights) < high
        assert high - low < 0.15
    equal = interval_of(rule, Predictions(labels, probabilities, np.full(400, 7.0)), None, ("a", "b"))
    np.testing.assert_allclose(
        equal, interval_of(rule, Predictions(labels, probabilities), None, ("a", "b")), atol=0.01
    )
