"""Facts of the rows: what ExampleGen read, StatisticsGen counted, DataGate found and Transform made of it.

Runs in RunReport's process and in `sluice run`.
"""

import json
import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME as STATISTICS_FILE
from tfx.dsl.io import fileio

from components.data_gate import REPORT_FILE
from components.data_gate.row_counts import class_counts
from components.example_gen.input_report import load_report
from components.model_manifest import open_file
from components.run_report.facts_of_rows import (
    CountFacts,
    DataFacts,
    DriftFacts,
    FeatureFacts,
    FindingFacts,
    HistogramFacts,
    SplitFacts,
)
from schema import FeatureRoles, transformed_name

_MOST_SCALED_ROWS = 10_000
_MOST_TOP_VALUES = 10
_NUM_BINS = 10
_STANDARD = statistics_pb2.Histogram.STANDARD
Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatistics


def collect_data(artifacts: Mapping[str, str], roles: FeatureRoles) -> DataFacts:
    """Returns the facts of the rows, as far as there are artifacts.

    Args:
        artifacts: Folders of `examples` and of any of `statistics` and `transform_graph`.
        roles: Of the features.
    """
    statistics = _read_statistics(artifacts["statistics"]) if "statistics" in artifacts else {}
    scaled, num_scaled = _scaled(artifacts, roles)
    facts: DataFacts = {
        "input": "",
        "warnings": [],
        "splits": [_split(name, each, roles) for name, each in statistics.items()],
        "features": list(_features(statistics.get("train"), roles, scaled)),
        "scaled_rows": num_scaled,
        "findings": [],
        "drift_against": "",
        "drift_note": "",
        "skew_against": "",
        "skew": {},
    }
    try:
        report = load_report(artifacts["examples"])
    except OSError:  # the stock ExampleGen writes none
        return facts
    return {**facts, "input": str(report), "warnings": list(report.warnings())}


def add_findings(facts: DataFacts, findings_dir: str) -> None:
    """Adds what DataGate found to the facts of the rows; `findings_dir` holds its `gate.json`."""
    with open_file(posixpath.join(findings_dir, REPORT_FILE), "rb") as file:
        gate = json.loads(file.read())
    drift, skew = gate["drift"] or {}, gate["skew"] or {}
    facts["findings"] = [_finding(each) for each in gate["findings"] if each["severity"] != "ignore"]
    facts["drift_against"], facts["drift_note"] = drift.get("against", ""), drift.get("note", "")
    facts["skew_against"], facts["skew"] = skew.get("against", ""), _distances(skew)
    distances = _distances(drift)
    for feature in facts["features"]:
        feature["drift"] = distances.get(feature["name"])


def _read_statistics(statistics_dir: str) -> dict[str, Statistics]:
    """Returns the statistics of each split, by its name."""
    found = {}
    for folder in sorted(fileio.glob(posixpath.join(statistics_dir, "Split-*"))):
        with open_file(posixpath.join(folder, STATISTICS_FILE), "rb") as file:
            datasets = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read()).datasets
        found[posixpath.basename(folder).removeprefix("Split-")] = datasets[0] if datasets else Statistics()
    order = ("train", "eval", "test")
    return dict(sorted(found.items(), key=lambda each: (order.index(each[0]) if each[0] in order else 3, each[0])))


def _split(name: str, statistics: Statistics, roles: FeatureRoles) -> SplitFacts:
    counts = class_counts(statistics, roles.label, roles.class_names)
    classes = None if counts is None else dict(zip(roles.class_names, counts, strict=True))
    return {"name": name, "rows": int(statistics.num_examples), "classes": classes}


def _finding(found: Mapping[str, Any]) -> FindingFacts:
    return {
        "severity": found["severity"],
        "split": found["split"],
        "feature": found["feature"],
        "sentence": found["sentence"],
    }


def _distances(comparison: Mapping[str, Any]) -> dict[str, DriftFacts]:
    return {
        each["feature"]: {
            "measure": each["measure"],
            "value": each["value"],
            "threshold": each["threshold"],
            "note": each["note"],
        }
        for each in comparison.get("distances", ())
    }


def _features(
    statistics: Statistics | None,
    roles: FeatureRoles,
    scaled: Mapping[str, HistogramFacts],
) -> Iterator[FeatureFacts]:
    """Yields the facts of every column, those that the model takes first, in the order of the schema."""
    kinds = dict.fromkeys(roles.numeric, "numeric") | dict.fromkeys(roles.categorical, "categorical")
    kinds |= {roles.label: "label"} | dict.fromkeys(roles.ids, "id")
    kinds |= {roles.weight: "weight"} if roles.weight else {}
    order = {name: index for index, name in enumerate(kinds)}
    found = {posixpath.join(*each.path.step): each for each in statistics.features} if statistics else {}
    for name in sorted(found, key=lambda name: order.get(name, len(order))):
        yield _feature(name, kinds.get(name, "unused"), found[name], scaled.get(name))


def _feature(
    name: str,
    kind: str,
    statistics: statistics_pb2.FeatureNameStatistics,
    scaled: HistogramFacts | None,
) -> FeatureFacts:
    numbers, text = statistics.num_stats, statistics.string_stats
    common = numbers.common_stats if statistics.HasField("num_stats") else text.common_stats
    raw = next((each for each in numbers.histograms if each.type == _STANDARD), None)
    num_nan = int(raw.num_nan) if raw else 0
    has_numbers = statistics.HasField("num_stats") and common.num_non_missing > num_nan
    return {
        "name": name,
        "kind": kind,
        "rows": int(common.num_non_missing) - num_nan,
        "missing": int(common.num_missing) + num_nan,
        "minimum": _finite(numbers.min) if has_numbers else None,
        "maximum": _finite(numbers.max) if has_numbers else None,
        "mean": _finite(numbers.mean) if has_numbers else None,
        "std_dev": _finite(numbers.std_dev) if has_numbers else None,
        "num_unique": int(text.unique) if statistics.HasField("string_stats") else None,
        "top": [_count(each) for each in text.rank_histogram.buckets[:_MOST_TOP_VALUES]],
        "raw": _histogram(raw) if raw and has_numbers else None,
        "scaled": scaled,
        "drift": None,
    }


def _count(bucket: statistics_pb2.RankHistogram.Bucket) -> CountFacts:
    return {"value": bucket.label, "count": float(bucket.sample_count)}


def _histogram(histogram: statistics_pb2.Histogram) -> HistogramFacts | None:
    buckets = [each for each in histogram.buckets if math.isfinite(each.low_value + each.high_value)]
    if not buckets:
        return None
    return {
        "edges": [each.low_value for each in buckets] + [buckets[-1].high_value],
        "counts": [each.sample_count for each in buckets],
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _scaled(artifacts: Mapping[str, str], roles: FeatureRoles) -> tuple[dict[str, HistogramFacts], int]:
    """Returns how the first rows of the train split are distributed after Transform, and how many rows that are."""
    rows = read_rows(artifacts["examples"], "train", _MOST_SCALED_ROWS) if "transform_graph" in artifacts else []
    if not rows:
        return {}, 0
    tft_output = tft.TFTransformOutput(artifacts["transform_graph"])
    spec = {name: each for name, each in tft_output.raw_feature_spec().items() if name in roles.features}
    transformed = tft_output.transform_features_layer()(tf.io.parse_example(tf.constant(rows), spec))
    names = [name for name in roles.numeric if transformed_name(name) in transformed]
    return {name: _bins(np.asarray(transformed[transformed_name(name)])) for name in names}, len(rows)


def _bins(numbers: Any) -> HistogramFacts:
    counts, edges = np.histogram(numbers, _NUM_BINS, (min(0.0, float(numbers.min())), max(1.0, float(numbers.max()))))
    return {"edges": edges.tolist(), "counts": counts.astype(float).tolist()}


def read_rows(examples_dir: str, split: str, num_rows: int) -> Sequence[bytes]:
    """Returns the first serialized tf.Examples of a split."""
    files = sorted(fileio.glob(posixpath.join(examples_dir, f"Split-{split}", "*")))
    return list(tf.data.TFRecordDataset(files, compression_type="GZIP").take(num_rows).as_numpy_iterator())


def data_digest(examples_dir: str) -> str:
    """Returns the digest of the rows that were read; empty if the stock ExampleGen read them."""
    try:
        return load_report(examples_dir).digest
    except OSError:
        return ""
