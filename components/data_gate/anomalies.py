"""Puts TFDV's anomalies in words, with what the statistics tell of their rows. Runs in DataGate's process."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.data_gate.findings import Finding, anomaly_severity, rows_text

_MOST_EXAMPLES = 5
_WITHOUT_VALUE = (
    "FEATURE_TYPE_LOW_FRACTION_PRESENT", "FEATURE_TYPE_LOW_NUMBER_PRESENT", "FEATURE_TYPE_NOT_PRESENT",
    "FEATURE_TYPE_LOW_NUMBER_VALUES", "FEATURE_TYPE_NO_VALUES", "INVALID_FEATURE_SHAPE",
)  # fmt: skip
_ABOVE = ("FLOAT_TYPE_BIG_FLOAT", "INT_TYPE_BIG_INT")
_BELOW = ("FLOAT_TYPE_SMALL_FLOAT", "INT_TYPE_SMALL_INT")
_Feature: TypeAlias = statistics_pb2.FeatureNameStatistics
_type_name = anomalies_pb2.AnomalyInfo.Type.Name


@dataclass(frozen=True)
class _Evidence:
    words: str = ""
    count: int | None = None
    value: float | str | None = None
    at_least: bool = False


def find_anomalies(
    anomalies: anomalies_pb2.Anomalies,
    statistics: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
    *,
    split: str,
    settings: Mapping[str, Any],
) -> list[Finding]:
    """Returns a finding for each anomaly of a split.

    Args:
        anomalies: Of the split.
        statistics: Of the same split, which has rows.
        schema: Against which it was checked.
        split: Its name.
        settings: Of DataGate, with the severities.
    """
    features = {".".join(feature.path.step): feature for feature in statistics.features}
    domains = {feature.name: _domain(feature) for feature in schema.feature}
    found = [
        (name, reason, _evidence(_type_name(reason.type), features.get(name), domains.get(name), statistics))
        for name, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
    ]
    found += [("", reason, _Evidence()) for reason in anomalies.dataset_anomaly_info.reason]
    return [_finding(*each, split=split, num_rows=statistics.num_examples, settings=settings) for each in found]


def _finding(
    name: str,
    reason: anomalies_pb2.AnomalyInfo.Reason,
    evidence: _Evidence,
    *,
    split: str,
    num_rows: int,
    settings: Mapping[str, Any],
) -> Finding:
    anomaly, count = _type_name(reason.type), evidence.count
    what = f"'{name}'" if name else "the data"
    rows = f"{num_rows} rows. " if count is None else rows_text(count, num_rows, at_least=evidence.at_least)
    words = rows if count is None else f"{rows} {evidence.words}. "
    description = f"{reason.short_description}: {reason.description}".rstrip(". ")
    return Finding(
        severity=anomaly_severity(settings, feature=name, anomaly=anomaly, split=split),
        split=split,
        feature=name,
        anomaly=anomaly,
        sentence=f"{what} in the {split} split: {words}{description} ({anomaly})",
        value=evidence.value,
        count=count,
        share=None if count is None else count / num_rows,
        at_least=evidence.at_least,
    )


def _evidence(
    anomaly: str,
    feature: _Feature | None,
    domain: tuple[float, float] | None,
    statistics: statistics_pb2.DatasetFeatureStatistics,
) -> _Evidence:
    if anomaly == "SCHEMA_MISSING_COLUMN":
        return _Evidence("without a value", statistics.num_examples)
    if feature is None or not feature.WhichOneof("stats"):
        return _Evidence()
    common = getattr(feature, feature.WhichOneof("stats")).common_stats
    if anomaly == "SCHEMA_NEW_COLUMN":
        return _Evidence("with a value", common.num_non_missing)
    if anomaly in _WITHOUT_VALUE:
        # An empty CSV cell is a feature that is there without a value; TFDV counts only absent features as missing.
        num_missing = common.num_missing + max(0, common.num_non_missing - common.tot_num_values)
        return _Evidence("without a value", num_missing) if num_missing else _Evidence()
    if anomaly == "FLOAT_TYPE_HAS_NAN":
        num_nan = max((histogram.num_nan for histogram in feature.num_stats.histograms), default=0)
        return _Evidence("NaN", num_nan) if num_nan else _Evidence()
    if anomaly == "FLOAT_TYPE_HAS_INF":
        infinite = [value for value in (feature.num_stats.min, feature.num_stats.max) if math.isinf(value)]
        return _Evidence("infinite", len(infinite), str(infinite[0]), at_least=True) if infinite else _Evidence()
    if domain and anomaly in _ABOVE + _BELOW:
        return _beyond(feature, domain, is_above=anomaly in _ABOVE)
    return _texts(feature)


def _beyond(feature: _Feature, domain: tuple[float, float], *, is_above: bool) -> _Evidence:
    """Counts what lies beyond one end of the domain: exactly where TFDV counted each value, else from below."""
    counts = {float(label): count for label, count in _value_counts(feature).items() if _is_number(label)}
    limit, words = (domain[1], "above the domain, up to") if is_above else (domain[0], "below the domain, down to")
    if counts:
        beyond = [value for value in counts if (value > limit if is_above else value < limit)]
        value = (max if is_above else min)(beyond, default=limit)
        return _Evidence(f"{words} {value:g}", int(sum(counts[each] for each in beyond)), value)
    value = feature.num_stats.max if is_above else feature.num_stats.min
    standard = (h for h in feature.num_stats.histograms if h.type == statistics_pb2.Histogram.STANDARD)
    buckets = next(standard, statistics_pb2.Histogram()).buckets
    whole = (b.sample_count for b in buckets if (b.low_value > limit if is_above else b.high_value < limit))
    shown = value if math.isfinite(value) else str(value)
    return _Evidence(f"{words} {value:g}", max(1, math.floor(sum(whole))), shown, at_least=True)


def _texts(feature: _Feature) -> _Evidence:
    """Counts the texts that stand where a number should."""
    counts = _value_counts(feature)
    texts = sorted(label for label in counts if not _is_number(label))
    if not texts:
        return _Evidence()
    count = int(sum(counts[text] for text in texts))
    words = f"not a number: {', '.join(map(repr, texts[:_MOST_EXAMPLES]))}"
    return _Evidence(words, count, texts[0], at_least=feature.string_stats.unique > len(counts))


def _value_counts(feature: _Feature) -> dict[str, float]:
    return {bucket.label: bucket.sample_count for bucket in feature.string_stats.rank_histogram.buckets}


def _domain(feature: schema_pb2.Feature) -> tuple[float, float] | None:
    kind = feature.WhichOneof("domain_info")
    if kind not in ("int_domain", "float_domain"):
        return None
    domain = getattr(feature, kind)
    low = domain.min if domain.HasField("min") else -math.inf
    return low, domain.max if domain.HasField("max") else math.inf


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
