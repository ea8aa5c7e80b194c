"""What TFMA measures with our config, beside scikit-learn on the same predictions."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from sklearn import metrics as sklearn_metrics

from components.evaluator import CALIBRATION_BINS, CONFUSION_MATRIX, EXAMPLE_COUNT
from components.evaluator.eval_config import make_eval_config
from components.evaluator.measurement import load_measurement
from components.evaluator.rules import METRICS, Rule, Score, Slice
from components.evaluator.scores import Predictions, measure
from schema import FeatureRoles

pytestmark = pytest.mark.beam

BINNED = 1e-3  # of the area under the curve: TFMA sorts probabilities into 10000 bins
CLASS_NAMES = ("hold", "release", "flush")
ROLES = FeatureRoles(numeric=("x",), label="y", class_names=CLASS_NAMES)
SEASON = Slice("season")


def scores():
    for name, metric in METRICS.items():
        if metric.is_of_a_class:
            yield from (Score(name, class_name) for class_name in CLASS_NAMES)
            yield from (Score(name, average=average) for average in ("macro", "weighted"))
        else:
            yield Score(name)


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 500)
    logits = 2 * random.normal(size=(500, 3))
    logits[np.arange(500), labels] += 2.0
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions(labels, probabilities), random.integers(1, 4, 500)


@pytest.fixture(scope="module")
def measured(rows, tmp_path_factory):
    predictions, seasons = rows
    rules = [Rule(score, "lower_bound", 0.0, where) for score in scores() for where in (Slice(), SEASON)]
    config = make_eval_config(ROLES, rules)
    del config.model_specs[:]
    config.model_specs.add(label_key="y", prediction_key="probabilities")
    table = pd.DataFrame({"y": predictions.labels, "probabilities": list(predictions.probabilities), "season": seasons})
    folder = str(tmp_path_factory.mktemp("evaluation"))
    tfma.analyze_raw_data(table, config, output_path=folder)
    return load_measurement(folder)


@pytest.fixture(scope="module")
def weighted(rows, tmp_path_factory):
    """What TFMA measures of weighted rows, and the weights."""
    predictions, _ = rows
    weights = np.random.default_rng(5).uniform(0.1, 3, 500).astype(np.float32)
    roles = dataclasses.replace(ROLES, weight="w")
    config = make_eval_config(roles, [Rule(score, "lower_bound", 0.0) for score in scores()])
    assert config.model_specs[0].example_weight_key == "w_xf"
    del config.model_specs[:]
    config.model_specs.add(label_key="y", prediction_key="probabilities", example_weight_key="w_xf")
    table = pd.DataFrame({"y": predictions.labels, "probabilities": list(predictions.probabilities), "w_xf": weights})
    folder = str(tmp_path_factory.mktemp("weighted"))
    tfma.analyze_raw_data(table, config, output_path=folder)
    return load_measurement(folder), weights


def tolerance(score):
    return BINNED if score.metric == "auc" else 1e-6


@pytest.mark.parametrize("score", scores(), ids=lambda score: score.name)
def test_tfma_measures_what_the_rows_say(measured, rows, score):
    predictions, _ = rows
    expected = measure(score, predictions, CLASS_NAMES, np.ones(500))  # which tests/unit hold to scikit-learn
    assert measured.whole[score.name] == pytest.approx(expected, abs=tolerance(score))


@pytest.mark.parametrize("score", scores(), ids=lambda score: score.name)
def test_tfma_measures_weighted_rows(weighted, rows, score):
    (measured, weights), (predictions, _) = weighted, rows
    expected = measure(score, predictions, CLASS_NAMES, weights.astype(np.float64))
    assert measured.whole[score.name] == pytest.approx(expected, abs=10 * tolerance(score))
    assert measured.whole[EXAMPLE_COUNT] == 500


@pytest.mark.parametrize("score", scores(), ids=lambda score: score.name)
def test_tfma_measures_each_slice(measured, rows, score):
    predictions, seasons = rows
    assert {value for _, value in measured.slices} == {"1", "2", "3"}
    for season in (1, 2, 3):
        inside = predictions.take(seasons == season)
        expected = measure(score, inside, CLASS_NAMES, np.ones(len(inside.labels)))
        assert measured.slices["season", str(season)][score.name] == pytest.approx(expected, abs=tolerance(score))


def test_a_few_of_them_without_a_line_of_ours(measured, rows):
    predictions, _ = rows
    labels, predicted = predictions.labels, predictions.probabilities.argmax(axis=1)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "f1_macro": sklearn_metrics.f1_score(labels, predicted, average="macro"),
        "f1_weighted": sklearn_metrics.f1_score(labels, predicted, average="weighted"),
        "recall_flush": sklearn_metrics.recall_score(labels, predicted, average=None)[2],
        "matthews_correlation": sklearn_metrics.matthews_corrcoef(labels, predicted),
        "loss": sklearn_metrics.log_loss(labels, predictions.probabilities),
    }
    assert {name: measured.whole[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    area = sklearn_metrics.roc_auc_score(labels, predictions.probabilities, multi_class="ovr")
    assert measured.whole["auc_macro"] == pytest.approx(area, abs=BINNED)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_confusion_matrix_and_calibration_bins_are_measured_for_the_report(measured, weighted, rows, is_weighted):
    predictions, _ = rows
    found, weights = weighted if is_weighted else (measured, np.ones(500))
    labels, predicted = predictions.labels, predictions.probabilities.argmax(axis=1)
    matrix = sklearn_metrics.confusion_matrix(labels, predicted, sample_weight=weights)
    np.testing.assert_allclose(found.arrays[CONFUSION_MATRIX], matrix, rtol=1e-5)
    counts, correct, confidence = found.arrays[CALIBRATION_BINS]
    highest = predictions.probabilities.max(axis=1)
    edges = np.linspace(0, 1, 11)
    expected = [weights[(low < highest) & (highest <= high)].sum() for low, high in itertools.pairwise(edges)]
    np.testing.assert_allclose(counts, expected, rtol=1e-5)
    np.testing.assert_allclose(correct.sum(), weights[labels == predicted].sum(), rtol=1e-5)
    np.testing.assert_allclose(confidence.sum(), (weights * highest).sum(), rtol=1e-5)
    assert not {CONFUSION_MATRIX, CALIBRATION_BINS} & found.whole.keys()


def test_confusion_matrix_of_very_many_classes_is_left_out():
    roles = dataclasses.replace(ROLES, class_names=tuple(f"c{index}" for index in range(51)))
    names = [metric.config for spec in make_eval_config(roles, []).metrics_specs for metric in spec.metrics]
    assert not any(CONFUSION_MATRIX in name for name in names)


def test_accuracy_reaches_a_bound_that_float32_would_miss(tmp_path):
    labels = np.arange(10) % 3
    predicted = np.where(np.arange(10) < 9, labels, (labels + 1) % 3)
    config = make_eval_config(ROLES, [])
    del config.model_specs[:]
    config.model_specs.add(label_key="y", prediction_key="probabilities")
    table = pd.DataFrame({"y": labels, "probabilities": list(np.eye(3, dtype=np.float32)[predicted])})
    tfma.analyze_raw_data(table, config, output_path=str(tmp_path))
    assert load_measurement(str(tmp_path)).whole["accuracy"] == 0.9
