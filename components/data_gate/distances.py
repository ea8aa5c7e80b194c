"""Distances between two sets of rows, feature by feature, as TFDV measures them. Runs in DataGate's process.

Numbers are compared by the Jensen-Shannon divergence (base 2, from 0 to 1) of their deciles. Of TFDV's other choice,
ten buckets of equal width, a single outlier moves every row into one bucket: the same distribution is then up to 0.9
from itself. Categories are compared by the L-infinity norm, the largest difference of a category's share of the rows.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.data_gate.findings import Finding

JENSEN_SHANNON, L_INFINITY = "jensen_shannon", "l_infinity"
_ANOMALIES = {
    JENSEN_SHANNON: ("Jensen-Shannon divergence", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"),
    L_INFINITY: ("L-infinity distance", "COMPARATOR_L_INFTY_HIGH"),
}
Comparison = Literal["drift", "skew"]
Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList


@dataclass(frozen=True)
class Distance:
    """How far a feature of the training rows is from what it is compared with.

    Attributes:
        feature: Its name.
        measure: `jensen_shannon` or `l_infinity`; empty if there is none.
        value: From 0 to 1; None if there is none.
        threshold: The largest that raises no finding.
        note: Why there is no value.
    """

    feature: str
    measure: str
    value: float | None
    threshold: float
    note: str = ""

    @property
    def is_high(self) -> bool:
        """Whether it is beyond its threshold."""
        return self.value is not None and self.value > self.threshold


def measure_distances(
    ours: Statistics, theirs: Statistics, names: Iterable[str], *, comparison: Comparison, settings: Mapping[str, Any]
) -> list[Distance]:
    """Returns the distance of each feature, the largest first, then those without one.

    Args:
        ours: Statistics of the rows to train on.
        theirs: Statistics that they are compared with.
        names: The features.
        comparison: `drift` if theirs are rows that were trained on before, `skew` if they were served.
        settings: With `threshold`, and `thresholds` of some features.
    """
    measures = {name: _measure(_feature(ours, name), _feature(theirs, name)) for name in names}
    values = _values(ours, theirs, {name: measure for name, (measure, _) in measures.items() if measure}, comparison)
    distances = []
    for name, (measure, note) in measures.items():
        value = values.get(name)
        threshold = settings["thresholds"].get(name, settings["threshold"])
        if measure and (value is None or not math.isfinite(value)):
            value, note = None, "TFDV gives no distance"
        distances.append(Distance(name, measure, value, threshold, note))
    return sorted(distances, key=lambda each: (each.value is None, -(each.value or 0), each.feature))


def find_high(distances: Iterable[Distance], *, severity: str, against: str) -> list[Finding]:
    """Returns a finding for each distance beyond its threshold.

    Args:
        distances: Of the features.
        severity: Of the findings.
        against: What the training rows were compared with, in words.
    """
    return [
        Finding(
            severity,
            "train",
            each.feature,
            _ANOMALIES[each.measure][1],
            f"'{each.feature}' in the train split: {_ANOMALIES[each.measure][0]} {each.value:.3f} from {against}, "
            f"above {each.threshold:g} ({_ANOMALIES[each.measure][1]})",
            each.value,
        )
        for each in distances
        if each.is_high
    ]


def _feature(statistics: Statistics, name: str) -> statistics_pb2.FeatureNameStatistics | None:
    features = (feature for dataset in statistics.datasets for feature in dataset.features)
    return next((feature for feature in features if list(feature.path.step) == [name]), None)


def _measure(
    ours: statistics_pb2.FeatureNameStatistics | None, theirs: statistics_pb2.FeatureNameStatistics | None
) -> tuple[str, str]:
    """Returns the measure that fits both sides, or why none does: to a comparator that does not fit TFDV says 0."""
    if ours is None or theirs is None:
        return "", "is not in the rows to train on" if ours is None else "is not in what it is compared with"
    kinds = _kind(ours), _kind(theirs)
    if "" in kinds:
        return "", "has no values" if not kinds[0] else "has no values in what it is compared with"
    if kinds[0] != kinds[1]:
        return "", f"is {kinds[0]} here and {kinds[1]} in what it is compared with"
    return (JENSEN_SHANNON if kinds[0] == "numeric" else L_INFINITY), ""


def _kind(feature: statistics_pb2.FeatureNameStatistics) -> str:
    if feature.string_stats.rank_histogram.buckets:
        return "categorical"
    counts = (bucket.sample_count for histogram in feature.num_stats.histograms for bucket in histogram.buckets)
    return "numeric" if any(counts) else ""


def _values(
    ours: Statistics, theirs: Statistics, measures: Mapping[str, str], comparison: Comparison
) -> dict[str, float]:
    if not measures:
        return {}
    schema = schema_pb2.Schema()
    for name, measure in measures.items():
        # Without a type TFDV compares nothing, and says nothing.
        feature = schema.feature.add(name=name, type=_schema_type(_feature(ours, name)))
        comparator = getattr(feature, f"{comparison}_comparator")
        if measure == L_INFINITY:
            comparator.infinity_norm.threshold = 1.0
        else:
            comparator.jensen_shannon_divergence.threshold = 1.0
            comparator.jensen_shannon_divergence.source.type = schema_pb2.HistogramSelection.QUANTILES
    other = {"drift": "previous_statistics", "skew": "serving_statistics"}[comparison]
    anomalies: anomalies_pb2.Anomalies = tfdv.validate_statistics(ours, schema, **{other: theirs})
    return {
        info.path.step[0]: measurement.value
        for info in anomalies.drift_skew_info
        for measurement in getattr(info, f"{comparison}_measurements")
    }


def _schema_type(feature: statistics_pb2.FeatureNameStatistics | None) -> int:
    names = {statistics_pb2.FeatureNameStatistics.INT: "INT", statistics_pb2.FeatureNameStatistics.FLOAT: "FLOAT"}
    return schema_pb2.FeatureType.Value(names.get(feature.type if feature else -1, "BYTES"))
