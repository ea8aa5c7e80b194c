"""Refuses data with anomalies. Runs in DataGate's process.

No stock component stops a pipeline on anomalies (tensorflow/tfx-addons issue 153).
"""

import os

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME as ANOMALIES_FILE
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME as STATISTICS_FILE
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from components.data_gate import DataRefusedError

@component
def DataGate(
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
) -> None:
    """Raises DataRefusedError if any split has an anomaly."""
    refusals: list[str] = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        found = anomalies_pb2.Anomalies.FromString(_read_split(anomalies, split, ANOMALIES_FILE))
        stats = statistics_pb2.DatasetFeatureStatisticsList.FromString(
            _read_split(statistics, split, STATISTICS_FILE)
        )
        refusals += describe_anomalies(found, stats.datasets[0].num_examples, split)
    if refusals:
        raise DataRefusedError("\n".join(refusals))


def describe_anomalies(
    anomalies: anomalies_pb2.Anomalies, num_rows: int, split: str
) -> list[str]:
    """Puts each anomaly of a split in one sentence that names the feature and, where there is one, the value."""
    lines = [
        f"{split} split ({num_rows} rows): '{feature}': {reason.short_description}. {reason.description}"
        for feature, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
    ]
    lines += [
        f"{split} split ({num_rows} rows): {reason.short_description}. {reason.description}"
        for reason in anomalies.dataset_anomaly_info.reason
    ]
    if not num_rows:
        lines.append(f"{split} split: no rows.")
    return lines


def _read_split(
    artifact: standard_artifacts.ExampleAnomalies | standard_artifacts.ExampleStatistics,
    split: str,
    file_name: str,
) -> bytes:
    with fileio.open(os.path.join(artifact_utils.get_split_uri([artifact], split), file_name), "rb") as file:
        return file.read()
