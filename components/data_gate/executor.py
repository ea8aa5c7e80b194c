"""Refuses data with anomalies. Runs in DataGate's process.

No stock component stops a pipeline on anomalies (tensorflow/tfx-addons issue 153).
"""

import os

import tensorflow_data_validation as tfdv
from tensorflow_data_validation.utils import anomalies_util
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.example_validator.executor import (
    DEFAULT_FILE_NAME as ANOMALIES_FILE,
)
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME as STATISTICS_FILE
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from components.data_gate import DataRefusedError

_MOST_EXAMPLES = 5


@component
def DataGate(
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    source_digest: Parameter[str],
) -> None:
    """Raises DataRefusedError if any split has an anomaly; `source_digest` is of this file, for the cache key."""
    refusals: list[str] = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        anomalies_dir, statistics_dir = (
            artifact_utils.get_split_uri([artifact], split) for artifact in (anomalies, statistics)
        )
        found = anomalies_util.load_anomalies_binary(os.path.join(anomalies_dir, ANOMALIES_FILE))
        stats = tfdv.load_stats_binary(os.path.join(statistics_dir, STATISTICS_FILE))
        refusals += describe_anomalies(found, stats.datasets[0], split)
    if refusals:
        # A name or value may hold a line end; a refusal is one line.
        raise DataRefusedError("\n".join(" ".join(refusal.split()) for refusal in refusals))


def describe_anomalies(
    anomalies: anomalies_pb2.Anomalies,
    statistics: statistics_pb2.DatasetFeatureStatistics,
    split: str,
) -> list[str]:
    """Puts each anomaly of a split in a sentence that names the feature and, where there is one, the value.

    Args:
        anomalies: Of the split.
        statistics: Of the same split.
        split: Its name.
    """
    where = f"in the {split} split ({statistics.num_examples} rows)"
    if not statistics.num_examples:
        return [f"there are no rows in the {split} split"]
    features = {".".join(feature.path.step): feature for feature in statistics.features}
    sentences = [
        f"'{name}' {where}: {_evidence(features.get(name))}{_sentence(reason)}"
        for name, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
    ]
    return sentences + [f"the data {where}: {_sentence(reason)}" for reason in anomalies.dataset_anomaly_info.reason]


def _sentence(reason: anomalies_pb2.AnomalyInfo.Reason) -> str:
    return f"{reason.short_description}: {reason.description}".rstrip(". ")


def _evidence(feature: statistics_pb2.FeatureNameStatistics | None) -> str:
    """Says what TFDV's descriptions leave out: how many rows, and which text stands where a number should."""
    if feature is None or not feature.WhichOneof("stats"):
        return ""
    evidence = []
    common = getattr(feature, feature.WhichOneof("stats")).common_stats
    # An empty CSV cell is a feature that is there without a value; TFDV counts only absent features as missing.
    if num_missing := common.num_missing + max(0, common.num_non_missing - common.tot_num_values):
        evidence.append(f"{_times(num_missing)} without a value. ")
    if num_nan := max((histogram.num_nan for histogram in feature.num_stats.histograms), default=0):
        evidence.append(f"{_times(num_nan)} NaN. ")
    labels = (bucket.label for bucket in feature.string_stats.rank_histogram.buckets)
    if texts := sorted(label for label in labels if not _is_number(label))[:_MOST_EXAMPLES]:
        evidence.append(f"not a number: {', '.join(map(repr, texts))}. ")
    return "".join(evidence)


def _times(count: float) -> str:
    return "1 time" if count == 1 else f"{count:.0f} times"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
