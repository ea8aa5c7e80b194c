"""Refuses data, or warns of it. Runs in DataGate's process.

No stock component stops a pipeline on anomalies (tensorflow/tfx-addons issue 153).
"""

import json
import logging
import posixpath
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_data_validation.utils import anomalies_util
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.components.example_validator.executor import (
    DEFAULT_FILE_NAME as ANOMALIES_FILE,
)
from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME as SCHEMA_FILE
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME as FEATURE_STATISTICS_FILE
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from components.data_gate import REPORT_FILE, DataRefusedError
from components.data_gate.anomalies import find_anomalies
from components.data_gate.drift import compare_with_served
from components.data_gate.findings import FAIL, IGNORE, WARN
from components.data_gate.report import GateReport, SplitCounts
from components.data_gate.row_counts import class_counts, find_too_few
from components.data_gate.skew import compare_with_requests
from components.model_manifest import open_file
from schema import is_id


@component
def DataGate(
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: InputArtifact[standard_artifacts.Schema],
    findings: OutputArtifact[standard_artifacts.ExampleAnomalies],
    settings: Parameter[str],
    serving_model_dir: Parameter[str],
    serving_requests: Parameter[str] = "",
) -> None:
    """Writes what it finds to `gate.json` of `findings`; raises DataRefusedError if any of it is severe."""
    gate = json.loads(settings)
    report = GateReport()
    curated = tfdv.load_schema_text(posixpath.join(schema.uri, SCHEMA_FILE))
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        anomalies_dir = artifact_utils.get_split_uri([anomalies], split)
        found = anomalies_util.load_anomalies_binary(posixpath.join(anomalies_dir, ANOMALIES_FILE))
        _check_split(report, split, found, _load_statistics(statistics, split), curated, gate)
    _compare(report, statistics, curated, gate, serving_model_dir, serving_requests)
    _finish(report, findings)


def _load_statistics(statistics: Any, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return tfdv.load_stats_binary(
        posixpath.join(artifact_utils.get_split_uri([statistics], split), FEATURE_STATISTICS_FILE)
    )


def _check_split(
    report: GateReport,
    split: str,
    anomalies: anomalies_pb2.Anomalies,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    gate: dict[str, Any],
) -> None:
    (stats,) = statistics.datasets
    names, num_rows = gate["class_names"], stats.num_examples
    counts = class_counts(stats, gate["label"], names)
    report.splits[split] = SplitCounts(num_rows, None if counts is None else dict(zip(names, counts, strict=True)))
    report.findings += find_too_few(num_rows, counts, class_names=names, split=split, settings=gate)
    if num_rows:
        report.findings += find_anomalies(anomalies, stats, schema, split=split, settings=gate)


def _compare(
    report: GateReport,
    statistics: Any,
    schema: schema_pb2.Schema,
    gate: dict[str, Any],
    serving_model_dir: str,
    serving_requests: str,
) -> None:
    drift, skew = gate["drift"], gate["skew"]
    if drift and drift["severity"] != IGNORE:
        ours = _load_statistics(statistics, "train")
        names = [feature.name for feature in schema.feature if not is_id(feature)]
        report.drift, found = compare_with_served(ours, names, serving_model_dir=serving_model_dir, settings=drift)
        report.findings += found
    if skew and skew["severity"] != IGNORE:
        ours = _load_statistics(statistics, "train")
        report.skew, found = compare_with_requests(
            ours, schema, gate["label"], requests_file=serving_requests, settings=skew
        )
        report.findings += found


def _finish(report: GateReport, findings: Any) -> None:
    text = report.to_json()
    with open_file(posixpath.join(findings.uri, REPORT_FILE), "w") as file:
        file.write(text)
    for sentence in report.sentences(WARN):
        logging.warning("%s", sentence)
    if refusals := report.sentences(FAIL):
        raise DataRefusedError("\n".join(refusals), text)
