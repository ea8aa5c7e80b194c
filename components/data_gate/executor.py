"""Refuses data, or warns of it. Runs in DataGate's process.

No stock component stops a pipeline on anomalies (tensorflow/tfx-addons issue 153).
"""

import json
import logging
import posixpath
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_data_validation.utils import anomalies_util
from tfx.components.example_validator.executor import (
    DEFAULT_FILE_NAME as ANOMALIES_FILE,
)
from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME as SCHEMA_FILE
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME as STATISTICS_FILE
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from components.data_gate import REPORT_FILE, DataRefusedError
from components.data_gate.anomalies import find_anomalies
from components.data_gate.findings import FAIL, WARN
from components.data_gate.report import GateReport, SplitCounts
from components.data_gate.row_counts import class_counts, find_too_few
from components.model_manifest import open_file


@component
def DataGate(
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: InputArtifact[standard_artifacts.Schema],
    findings: OutputArtifact[standard_artifacts.ExampleAnomalies],
    settings: Parameter[str],
) -> None:
    """Writes what it finds to `gate.json` of `findings`; raises DataRefusedError if any of it is severe."""
    gate = json.loads(settings)
    report = GateReport()
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        _check_split(split, anomalies, statistics, schema, gate, report)
    _finish(report, findings)


def _check_split(split: str, anomalies: Any, statistics: Any, schema: Any, gate: Any, report: GateReport) -> None:
    anomalies_dir, statistics_dir = (
        artifact_utils.get_split_uri([artifact], split) for artifact in (anomalies, statistics)
    )
    found = anomalies_util.load_anomalies_binary(posixpath.join(anomalies_dir, ANOMALIES_FILE))
    (stats,) = tfdv.load_stats_binary(posixpath.join(statistics_dir, STATISTICS_FILE)).datasets
    curated = tfdv.load_schema_text(posixpath.join(schema.uri, SCHEMA_FILE))
    names, num_rows = gate["class_names"], stats.num_examples
    counts = class_counts(stats, gate["label"], len(names))
    report.splits[split] = SplitCounts(num_rows, None if counts is None else dict(zip(names, counts, strict=True)))
    report.findings += find_too_few(num_rows, counts, class_names=names, split=split, settings=gate)
    if num_rows:
        report.findings += find_anomalies(found, stats, curated, split=split, settings=gate)


def _finish(report: GateReport, findings: Any) -> None:
    text = report.to_json()
    with open_file(posixpath.join(findings.uri, REPORT_FILE), "w") as file:
        file.write(text)
    for sentence in report.sentences(WARN):
        logging.warning("%s", sentence)
    if refusals := report.sentences(FAIL):
        raise DataRefusedError("\n".join(refusals), text)
