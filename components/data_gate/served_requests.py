"""Reads a file of logged requests. Runs in DataGate's process.

TFRecord of PredictionLog as TF Serving's request logging writes it, `.jsonl` with the body of a REST request in each
line, or `.csv` with a header line.
"""

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from components.model_manifest import open_file

Row = Mapping[str, Any]  # value, or list of values, by feature
_EXAMPLES = "examples"  # the input of `serving_default`


class Request(NamedTuple):
    """One logged request.

    Attributes:
        place: Where in the file it stands.
        rows: Its rows; none if it cannot be read.
        problem: Why it cannot be read.
    """

    place: str
    rows: list[Row]
    problem: str = ""


def read_requests(file: str) -> Iterator[Request]:
    """Yields each request of a file.

    Args:
        file: Local or remote; what it holds is told by its name.

    Raises:
        OSError: If it cannot be read.
        csv.Error: If it is no CSV.
        tf.errors.OpError: If it is remote or a TFRecord, and cannot be read.
    """
    if file.endswith(".csv"):
        yield from _read_csv(file)
    elif file.endswith(".jsonl"):
        yield from _read_json_lines(file)
    else:
        yield from _read_prediction_logs(file)


def _read_csv(file: str) -> Iterator[Request]:
    with open_file(file, "rb") as stream:
        reader = csv.DictReader(io.StringIO(stream.read().decode("utf-8-sig", errors="replace"), newline=""))
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                yield Request(place, [], "has not a cell for each column")
            else:
                yield Request(place, [{name: value for name, value in row.items() if value != ""}])


def _read_json_lines(file: str) -> Iterator[Request]:
    with open_file(file, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield Request(f"line {number}", _json_rows(json.loads(line)))
            except (ValueError, RecursionError) as err:
                is_json = not isinstance(err, json.JSONDecodeError | UnicodeDecodeError | RecursionError)
                reason = str(err) if is_json else "is not JSON"
                yield Request(f"line {number}", [], reason)


def _json_rows(body: Any) -> list[Row]:
    """Returns the rows of the body of a REST request, by rows (`instances`) or by columns (`inputs`)."""
    keys = [key for key in ("instances", "inputs") if isinstance(body, dict) and key in body]
    if len(keys) != 1:
        raise ValueError("is not the body of a request: it must have either instances or inputs")
    if keys == ["instances"]:
        instances = body["instances"]
        if not isinstance(instances, list):
            raise ValueError("has instances that are no list")
        return [_json_row(instance) for instance in instances]
    columns = body["inputs"] if isinstance(body["inputs"], dict) else {_EXAMPLES: body["inputs"]}
    return _rows_of_columns({name: value if isinstance(value, list) else [value] for name, value in columns.items()})


def _json_row(instance: Any) -> Row:
    if isinstance(instance, dict) and instance.keys() == {"b64"}:
        return _example_row(_decoded(instance))
    if isinstance(instance, dict) and instance.keys() == {_EXAMPLES}:
        return _example_row(_decoded(instance[_EXAMPLES]))
    if not isinstance(instance, dict):
        raise ValueError("has an instance that is no object")
    return instance


def _rows_of_columns(columns: Mapping[str, Any]) -> list[Row]:
    if columns.keys() == {_EXAMPLES}:
        return [_example_row(_decoded(example)) for example in columns[_EXAMPLES]]
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError("has columns of different lengths")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _decoded(value: Any) -> bytes:
    """Returns the bytes of a serialized tf.Example, out of JSON's `{"b64": ...}` or as they are."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (TypeError, LookupError, binascii.Error) as err:
        raise ValueError("has an example that is not base64") from err


def _example_row(serialized: bytes) -> Row:
    try:
        example = tf.train.Example.FromString(serialized)
    except DecodeError as err:
        raise ValueError("has an example that is no tf.Example") from err
    lists = {name: getattr(each, each.WhichOneof("kind")) for name, each in example.features.feature.items()
             if each.WhichOneof("kind")}  # fmt: skip
    return {name: list(values.value) for name, values in lists.items() if values.value}


def _read_prediction_logs(file: str) -> Iterator[Request]:
    compression = "GZIP" if file.endswith(".gz") else ""
    for number, record in enumerate(tf.data.TFRecordDataset(file, compression_type=compression), start=1):
        try:
            rows = _logged_rows(prediction_log_pb2.PredictionLog.FromString(record.numpy()))
            yield Request(f"record {number}", rows)
        except (DecodeError, ValueError) as err:
            reason = "is no PredictionLog" if isinstance(err, DecodeError) else str(err)
            yield Request(f"record {number}", [], reason)


def _logged_rows(log: prediction_log_pb2.PredictionLog) -> list[Row]:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        inputs = log.predict_log.request.inputs
        arrays = {name: np.atleast_1d(tf.make_ndarray(tensor)).tolist() for name, tensor in inputs.items()}
        return _rows_of_columns(arrays)
    if kind == "classify_log":
        request = log.classify_log.request.input
        context = _example_row(request.example_list_with_context.context.SerializeToString())
        examples = getattr(request, request.WhichOneof("kind") or "example_list").examples
        return [{**context, **_example_row(example.SerializeToString())} for example in examples]
    raise ValueError(f"holds no predict or classify request but {kind or 'nothing'}")
