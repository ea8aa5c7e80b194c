from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

pytest.importorskip("tfx")

from tfx.types import artifact_utils, standard_artifacts

from components.data_gate import DataRefusedError
from components.data_gate.executor import DataGate, describe_anomalies

NAN = """
anomaly_info { key: "rain" value { reason { short_description: "Invalid values" description: "NaN values." } } }
"""


def make_statistics(stats, num_rows=3):
    text = f'num_examples: {num_rows} features {{ path {{ step: "rain" }} {stats} }}'
    return text_format.Parse(text, statistics_pb2.DatasetFeatureStatistics())


def make_anomalies(text):
    return text_format.Parse(text, anomalies_pb2.Anomalies())


@pytest.mark.parametrize(
    ("stats", "evidence"),
    [
        ("num_stats { histograms { num_nan: 2 } }", "2 times NaN. "),
        ("num_stats { common_stats { num_missing: 2 } }", "2 times without a value. "),
        ("num_stats { common_stats { num_non_missing: 3 tot_num_values: 2 } }", "1 time without a value. "),
        ('string_stats { rank_histogram { buckets { label: "1.5" } buckets { label: "wet" } } }',
         "not a number: 'wet'. "),
        ("num_stats { common_stats { num_non_missing: 3 tot_num_values: 3 } }", ""),
    ],
)  # fmt: skip
def test_anomaly_is_described_with_feature_split_and_evidence(stats, evidence):
    lines = describe_anomalies(make_anomalies(NAN), make_statistics(stats), "eval")
    assert lines == [f"'rain' in the eval split (3 rows): {evidence}Invalid values: NaN values"]


def test_anomaly_of_a_feature_without_statistics_is_described():
    text = NAN.replace("rain", "wind")
    lines = describe_anomalies(make_anomalies(text), make_statistics("num_stats {}"), "train")
    assert lines == ["'wind' in the train split (3 rows): Invalid values: NaN values"]


def test_anomaly_of_the_dataset_is_described():
    text = 'dataset_anomaly_info { reason { short_description: "Low num examples" description: "3 < 10." } }'
    lines = describe_anomalies(make_anomalies(text), make_statistics("num_stats {}"), "train")
    assert lines == ["the data in the train split (3 rows): Low num examples: 3 < 10"]


def test_split_without_rows_is_refused():
    lines = describe_anomalies(make_anomalies(""), make_statistics("num_stats {}", num_rows=0), "eval")
    assert lines == ["there are no rows in the eval split"]


@pytest.fixture
def artifacts(tmp_path):
    """Artifacts of two splits, as ExampleValidator and StatisticsGen leave them, without an anomaly."""
    anomalies, statistics = standard_artifacts.ExampleAnomalies(), standard_artifacts.ExampleStatistics()
    anomalies.uri, statistics.uri = str(tmp_path / "anomalies"), str(tmp_path / "statistics")
    proto = statistics_pb2.DatasetFeatureStatisticsList(datasets=[make_statistics("num_stats {}")])
    for split in ("train", "eval"):
        for artifact, name, content in (
            (anomalies, "SchemaDiff.pb", b""),
            (statistics, "FeatureStats.pb", proto.SerializeToString()),
        ):
            artifact.split_names = artifact_utils.encode_split_names(["train", "eval"])
            folder = Path(artifact.uri) / f"Split-{split}"
            folder.mkdir(parents=True)
            (folder / name).write_bytes(content)
    return anomalies, statistics


def test_gate_lets_data_without_anomalies_through(artifacts):
    anomalies, statistics = artifacts
    DataGate.test_call(anomalies=anomalies, statistics=statistics, source_digest="")


def test_gate_raises_on_an_anomaly_in_any_split(artifacts, tmp_path):
    anomalies, statistics = artifacts
    file = tmp_path / "anomalies" / "Split-eval" / "SchemaDiff.pb"
    file.write_bytes(make_anomalies(NAN).SerializeToString())
    with pytest.raises(DataRefusedError, match="'rain' in the eval split"):
        DataGate.test_call(anomalies=anomalies, statistics=statistics, source_digest="")
