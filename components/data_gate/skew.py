"""Skew: the rows to train on against logged requests. Runs in DataGate's process."""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.data_gate.distances import find_high, measure_distances
from components.data_gate.findings import Finding, rows_text
from components.data_gate.report import Comparison
from components.data_gate.served_requests import Request, Row, read_requests
from schema import is_id, is_required, is_served

_MOST_EXAMPLES = 3
_LONGEST_VALUE = 40
_ARROW_TYPES = {schema_pb2.INT: pa.int64(), schema_pb2.FLOAT: pa.float32(), schema_pb2.BYTES: pa.binary()}


class _Requests:
    """The rows of all requests, as columns.

    Attributes:
        num_rows: Rows that could be read.
        columns: Values by feature, None where a row has none, for each feature that requests carry.
        unknown: Rows by the name of what is no feature.
        problems: What is wrong with what was left out.
    """

    def __init__(self, features: Mapping[str, schema_pb2.Feature], label: str) -> None:
        self.num_rows = 0
        self.columns: dict[str, list[float | bytes | None]] = {
            name: []
            for name, feature in features.items()
            if name != label and is_served(feature) and not is_id(feature)
        }
        self.unknown: dict[str, int] = {}
        self.problems: list[str] = []
        self._features = features

    def add(self, requests: Iterable[Request]) -> None:
        """Adds the rows of each request, or what is wrong with it."""
        for request in requests:
            if request.problem:
                self.problems.append(f"{request.place} {request.problem}")
            for row in request.rows:
                self._add_row(row, request.place)

    def _add_row(self, row: Row, place: str) -> None:
        try:
            values = {name: _value(self._features[name], row[name]) for name in self.columns if name in row}
        except ValueError as err:
            self.problems.append(f"{place}: {err}")
            return
        self.num_rows += 1
        for name, column in self.columns.items():
            column.append(values.get(name))
        for name in row.keys() - self._features.keys():
            self.unknown[name] = self.unknown.get(name, 0) + 1

    def is_required(self, name: str) -> bool:
        """Whether every row must have a feature."""
        return is_required(self._features[name])

    def statistics(self, schema: schema_pb2.Schema) -> statistics_pb2.DatasetFeatureStatisticsList:
        """Returns the statistics of the rows, computed as those of the training rows are."""
        arrays = {
            name: pa.array(
                [None if value is None else [value] for value in values],
                pa.list_(_ARROW_TYPES[self._features[name].type]),
            )
            for name, values in self.columns.items()
        }
        return stats_impl.generate_statistics_in_memory(
            pa.RecordBatch.from_pydict(arrays), tfdv.StatsOptions(schema=schema)
        )


def compare_with_requests(
    ours: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    label: str,
    *,
    requests_file: str,
    settings: Mapping[str, Any],
) -> tuple[Comparison, list[Finding]]:
    """Compares the rows to train on with the requests of a file; what cannot be read of it is a finding too.

    Args:
        ours: Statistics of the rows to train on.
        schema: Of the rows.
        label: Name of the label, which no request needs.
        requests_file: As `read_requests` takes it.
        settings: `data_gate.skew` of the config.
    """
    severity = settings["severity"]
    requests = _Requests({feature.name: feature for feature in schema.feature}, label)
    problems = _read(requests, requests_file)
    if not requests.num_rows:
        problems.append(f"{requests_file} holds no request that can be compared with")
    found = [_finding(severity, "", problem) for problem in problems]
    if not requests.num_rows:
        return Comparison(requests_file, "it holds no request that can be compared with", severity), found
    found += _odd_features(requests, requests_file, severity)
    theirs = requests.statistics(schema)
    distances = measure_distances(ours, theirs, list(requests.columns), comparison="skew", settings=settings)
    against = f"{requests.num_rows} requests of {requests_file}"
    found += find_high(distances, severity=severity, against=against)
    return Comparison(against, "", severity, distances), found


def _read(requests: _Requests, requests_file: str) -> list[str]:
    """Reads what can be read; returns what cannot be."""
    sentences = []
    try:
        requests.add(read_requests(requests_file))
    except (OSError, csv.Error, tf.errors.OpError) as err:
        reason = getattr(err, "strerror", "") or getattr(err, "message", "") or str(err)
        reason = re.sub(r"^\{\{.*?\}\} | \[Op:.*$", "", reason).rstrip(". ")  # TensorFlow's place in its graph
        sentences.append(f"{requests_file} cannot be read: {reason}")
    if problems := requests.problems:
        more = f" and {len(problems) - _MOST_EXAMPLES} more" if len(problems) > _MOST_EXAMPLES else ""
        sentences.append(f"left out of {requests_file}: {'; '.join(problems[:_MOST_EXAMPLES])}{more}")
    return sentences


def _odd_features(requests: _Requests, requests_file: str, severity: str) -> list[Finding]:
    num_rows = requests.num_rows
    missing = {name: values.count(None) for name, values in requests.columns.items()}
    sentences = {
        name: (f"'{name}' is missing in {rows_text(count, num_rows)} of {requests_file}", count)
        for name, count in missing.items()
        if count and requests.is_required(name)
    }
    for name, count in sorted(requests.unknown.items()):
        where = f"{rows_text(count, num_rows)} of {requests_file}"
        sentences[name] = (f"'{name}', in {where}, is not a feature of the schema", count)
    return [_finding(severity, name, *sentence, num_rows) for name, sentence in sentences.items()]


def _finding(severity: str, feature: str, sentence: str, count: int | None = None, num_rows: int = 1) -> Finding:
    share = None if count is None else count / num_rows
    return Finding(severity, "", feature, "skew", sentence, count=count, share=share)


def _value(feature: schema_pb2.Feature, value: Any) -> float | bytes | None:
    """Returns the one value of a feature in a request; None if that says that there is none.

    Raises:
        ValueError: If it is another.
    """
    while isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) == 1:
        value = value[0]
    if value is None:
        return None
    name, shown = feature.name, repr(value)[:_LONGEST_VALUE]
    if feature.type == schema_pb2.BYTES:
        text = value.encode(errors="replace") if isinstance(value, str) else value
        if not isinstance(text, bytes):
            raise ValueError(f"'{name}' is {shown}, which is no text")
        return text or None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as err:
        raise ValueError(f"'{name}' is {shown}, which is no number") from err
    if math.isnan(number) and not is_required(feature):
        return None
    if feature.type != schema_pb2.INT:
        return number
    if not number.is_integer() or abs(number) >= 2**63:
        raise ValueError(f"'{name}' is {shown}, which is no whole number")
    return int(number)
