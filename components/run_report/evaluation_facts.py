"""Facts of the evaluation: what TFMA measured and the verdict on it. Runs in RunReport's process and `sluice run`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.evaluator import CALIBRATION_BINS, CONFUSION_MATRIX, EXAMPLE_COUNT
from components.evaluator.intervals import wilson
from components.evaluator.measurement import Measurement, load_measurement
from components.evaluator.rules import parse_key
from components.evaluator.scores import calibration_error
from components.evaluator.verdict import Judgement, Verdict
from components.evaluator.verdict_file import load_verdict
from components.infra_validator.report import load_report as load_infra_report
from components.run_report.facts_of_model import (
    CalibrationBinFacts,
    ClassFacts,
    EvaluationFacts,
    InfraFacts,
    MetricFacts,
    RuleFacts,
    SliceFacts,
)
from schema import FeatureRoles

_CONFIDENCE = 0.95
CANDIDATE_KEY, BASELINE_KEY = "candidate", "baseline"  # TFMA's names of the models, where there are two
Matrix = npt.NDArray[np.float64]


def collect_evaluation(artifacts: Mapping[str, str], roles: FeatureRoles) -> EvaluationFacts:
    """Returns the facts of the evaluation.

    Args:
        artifacts: Folder of `blessing`, and of `evaluation`, without which the verdict alone is told.
        roles: Name the classes.
    """
    verdict = load_verdict(artifacts["blessing"])
    candidate, baseline = _measurements(artifacts, verdict)
    matrix, bins = candidate.arrays.get(CONFUSION_MATRIX), candidate.arrays.get(CALIBRATION_BINS)
    counts_alike = not verdict.weight
    return {
        "blessed": verdict.blessed,
        "sentence": str(verdict),
        "notes": verdict.notes,
        "split": verdict.split,
        "rows": verdict.num_rows,
        "weight": verdict.weight,
        "rules": list(map(_rule, verdict.judgements)),
        "metrics": list(_metrics(verdict, candidate, baseline)),
        "classes": list(roles.class_names),
        "confusion": None if matrix is None else matrix.tolist(),
        "per_class": [] if matrix is None else list(_per_class(matrix, roles.class_names, counts_alike)),
        "slices": list(_slices(candidate, baseline, counts_alike)),
        "calibration": [] if bins is None else list(_calibration(bins)),
        "calibration_error": None if bins is None else _finite(calibration_error(*bins)),
        "baseline_version": verdict.baseline.version,
    }


def collect_infra(blessing_dir: str) -> InfraFacts | None:
    """Returns what InfraValidator found; None of TFX's own, which tells nothing."""
    try:
        report = load_infra_report(blessing_dir)
    except FileNotFoundError:  # the stock InfraValidator writes none
        return None
    return {
        "reasons": report.reasons,
        "sentence": str(report),
        "rows": report.num_rows,
        "largest_differences": report.largest_differences,
        "latency_millis": report.latency_millis,
        "load_secs": report.load_secs,
        "peak_rss_mib": report.peak_rss_mib,
    }


def _measurements(artifacts: Mapping[str, str], verdict: Verdict) -> tuple[Measurement, Measurement]:
    """Returns what was measured of the candidate and of the version that was served."""
    if "evaluation" not in artifacts:
        return Measurement(verdict.metrics, {}), Measurement({}, {})
    if verdict.baseline.version is None:
        return load_measurement(artifacts["evaluation"]), Measurement({}, {})
    folder = artifacts["evaluation"]
    return load_measurement(folder, CANDIDATE_KEY), load_measurement(folder, BASELINE_KEY)


def _rule(each: Judgement) -> RuleFacts:
    rule = each.rule
    sign = "+" if rule.is_change else ""
    bound = f"{rule.value:{sign}.6g}" if rule.bound != "relative_change" else f"{100 * rule.value:+.6g}%"
    return {
        "rule": str(rule.score),
        "where": each.place,
        "state": each.state,
        "sentence": str(each),
        "value": each.value,
        "interval": list(each.interval) if each.interval else None,
        "confidence": rule.confidence,
        "bound": f"{'change ' * rule.is_change}{rule.comparison} {bound}",
        "baseline": each.baseline,
        "rows": each.num_rows,
    }


def _metrics(verdict: Verdict, candidate: Measurement, baseline: Measurement) -> Iterator[MetricFacts]:
    intervals = {
        each.rule.score.name: list(each.interval)
        for each in verdict.judgements
        if each.interval and not each.where and not each.rule.is_change
    }
    for name, value in candidate.whole.items():
        if name == EXAMPLE_COUNT:
            continue
        interval = intervals.get(name)
        if name == "accuracy" and not interval and not verdict.weight:
            interval = _wilson(value * verdict.num_rows, verdict.num_rows)
        yield {
            "name": name,
            "candidate": _finite(value),
            "baseline": _finite(baseline.whole.get(name)),
            "interval": interval,
        }


def _per_class(matrix: Matrix, class_names: Sequence[str], counts_alike: bool) -> Iterator[ClassFacts]:
    for index, name in enumerate(class_names):
        hits, actual, predicted = matrix[index, index], matrix[index].sum(), matrix[:, index].sum()
        yield {
            "name": name,
            "rows": float(actual),
            "precision": float(hits / predicted) if predicted else None,
            "recall": float(hits / actual) if actual else None,
            "f1": float(2 * hits / (actual + predicted)) if actual + predicted else None,
            "recall_interval": _wilson(hits, actual) if counts_alike else None,
            "precision_interval": _wilson(hits, predicted) if counts_alike else None,
        }


def _slices(candidate: Measurement, baseline: Measurement, counts_alike: bool) -> Iterator[SliceFacts]:
    for (key, value), metrics in sorted(candidate.slices.items()):
        if not value:  # rows without the feature
            continue
        rows, accuracy = int(metrics.get(EXAMPLE_COUNT, 0)), _finite(metrics.get("accuracy"))
        before: Mapping[str, float] = baseline.slices.get((key, value), {})
        yield {
            "slice": _in_words(key, value),
            "rows": rows,
            "accuracy": accuracy,
            "interval": _wilson(accuracy * rows, rows) if counts_alike and accuracy is not None else None,
            "loss": _finite(metrics.get("loss")),
            "baseline_accuracy": _finite(before.get("accuracy")),
        }


def _in_words(key: str, value: str) -> str:
    buckets = parse_key(key)
    is_open = value.startswith(("< ", ">= "))
    return f"{buckets.feature if buckets else key} {'' if buckets and is_open else 'is '}{value}"


def _calibration(bins: Matrix) -> Iterator[CalibrationBinFacts]:
    for count, correct, confidence in bins.T.tolist():
        if count:
            yield {"confidence": confidence / count, "accuracy": correct / count, "rows": count}


def _wilson(successes: float, trials: float) -> list[float] | None:
    """Returns Wilson's interval at 95 % of a share of rows."""
    interval = wilson(round(successes), round(trials), _CONFIDENCE)
    return list(interval) if interval else None


def _finite(number: Any) -> float | None:
    return None if number is None or not math.isfinite(number) else float(number)
