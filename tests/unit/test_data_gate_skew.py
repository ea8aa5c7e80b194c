"""Skew against every kind of file that requests are logged to."""

import base64
import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.data_gate import DEFAULT_THRESHOLD
from components.data_gate.skew import compare_with_requests

SCHEMA = text_format.Parse(
    'feature { name: "rain" type: FLOAT shape { dim { size: 1 } } } '
    'feature { name: "gates" type: INT shape { dim { size: 1 } } } '
    'feature { name: "town" type: BYTES value_count { max: 1 } } feature { name: "age" type: INT } '
    'feature { name: "key" type: BYTES annotation { tag: "id" } } '
    'feature { name: "action" type: INT int_domain { is_categorical: true } not_in_environment: "SERVING" }',
    schema_pb2.Schema(),
)
NUM_ROWS = 300


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(1)
    return {
        "rain": np.float32(random.normal(5, 1, NUM_ROWS)).astype(float).tolist(),
        "gates": random.integers(0, 50, NUM_ROWS).tolist(),
        "town": random.choice(["Ulm", "Bonn", "Rome"], NUM_ROWS).tolist(),
    }


@pytest.fixture(scope="module")
def ours(rows):
    columns = {**rows, "action": [0, 1, 2] * (NUM_ROWS // 3)}
    types = {"rain": pa.float32(), "town": pa.binary()}
    arrays = {
        name: pa.array([[value] for value in values], pa.list_(types.get(name, pa.int64())))
        for name, values in columns.items()
    }
    options = tfdv.StatsOptions(schema=SCHEMA)
    return stats_impl.generate_statistics_in_memory(pa.RecordBatch.from_pydict(arrays), options)


@pytest.fixture
def compare(ours, tmp_path):
    """Compares with a file of that name and content, with the severity `warn`."""

    def run(name, content, severity="warn"):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        settings = {"severity": severity, "threshold": DEFAULT_THRESHOLD, "thresholds": {}}
        comparison, found = compare_with_requests(ours, SCHEMA, "action", requests_file=str(file), settings=settings)
        assert {finding.severity for finding in found} <= {severity}
        return comparison, [finding.sentence.replace(f"{tmp_path}/", "") for finding in found]

    return run


def records(rows):
    return [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]


def example(row):
    kinds = {
        float: lambda v: {"float_list": {"value": [v]}},
        int: lambda v: {"int64_list": {"value": [v]}},
        str: lambda v: {"bytes_list": {"value": [v.encode()]}},
    }
    features = {name: tf.train.Feature(**kinds[type(value)](value)) for name, value in row.items()}
    return tf.train.Example(features=tf.train.Features(feature=features))


def lines(*bodies):
    return "".join(json.dumps(body) + "\n" for body in bodies)


def encoded(row):
    return {"b64": base64.b64encode(example(row).SerializeToString()).decode()}


def tfrecord(path, logs, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for log in logs:
            writer.write(log if isinstance(log, bytes) else log.SerializeToString())
    return path.read_bytes()


def predict_log(**inputs):
    log = prediction_log_pb2.PredictionLog()
    for name, values in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return log


def classify_log(examples, context=None):
    log = prediction_log_pb2.PredictionLog()
    request = log.classify_log.request.input
    if context is None:
        request.example_list.examples.extend(examples)
    else:
        request.example_list_with_context.examples.extend(examples)
        request.example_list_with_context.context.CopyFrom(context)
    return log


def by_columns(rows):
    return {name: np.array(values).reshape(-1, 1) for name, values in rows.items()}


FILES = {
    "instances": lambda rows, _: ("r.jsonl", lines(*({"instances": [row]} for row in records(rows)))),
    "instances of lists": lambda rows, _: (
        "r.jsonl",
        lines({"signature_name": "s", "instances": [{k: [v] for k, v in row.items()} for row in records(rows)]}),
    ),
    "inputs": lambda rows, _: ("r.jsonl", lines({"inputs": rows})),
    "inputs of lists": lambda rows, _: (
        "r.jsonl", lines({"inputs": {name: values.tolist() for name, values in by_columns(rows).items()}}),
    ),
    "encoded instances": lambda rows, _: ("r.jsonl", lines({"instances": [encoded(row) for row in records(rows)]})),
    "named encoded instances": lambda rows, _: (
        "r.jsonl", lines({"instances": [{"examples": encoded(row)} for row in records(rows)]}),
    ),
    "encoded inputs": lambda rows, _: (
        "r.jsonl", lines({"inputs": {"examples": [encoded(row) for row in records(rows)]}}),
    ),
    "csv": lambda rows, _: (
        "r.csv",
        "rain,action,gates,town\n"
        + "".join(f"{row['rain']!r},,{row['gates']},{row['town']}\n" for row in records(rows)),
    ),
    "predict by examples": lambda rows, path: (
        "r.tfrecord",
        tfrecord(path, [predict_log(examples=[example(row).SerializeToString() for row in records(rows)])]),
    ),
    "predict by features": lambda rows, path: ("r.tfrecord", tfrecord(path, [predict_log(**by_columns(rows))])),
    "classify": lambda rows, path: (
        "requests-00000-of-00001", tfrecord(path, [classify_log([example(row)]) for row in records(rows)]),
    ),
    "classify with a context": lambda rows, path: (
        "r.tfrecord.gz",
        tfrecord(
            path,
            [
                classify_log([example({"gates": row["gates"], "town": row["town"]})], example({"rain": row["rain"]}))
                for row in records(rows)
            ],
            "GZIP",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_requests_like_the_training_rows_are_at_no_distance(compare, rows, tmp_path, kind):
    comparison, sentences = compare(*FILES[kind](rows, tmp_path / "written"))
    assert sentences == []
    assert comparison.against.startswith(f"{NUM_ROWS} requests of ")
    assert {each.feature: each.value for each in comparison.distances} == {
        "rain": 0.0,
        "gates": 0.0,
        "town": 0.0,
        "age": None,
    }


@pytest.mark.parametrize("severity", ["warn", "fail"])
def test_other_requests_are_told(compare, rows, severity):
    shifted = rows | {"rain": [value + 2 for value in rows["rain"]]}
    comparison, (sentence,) = compare("r.jsonl", lines({"inputs": shifted}), severity)
    value = comparison.distances[0].value
    assert sentence == (
        f"'rain' in the train split: Jensen-Shannon divergence {value:.3f} from 300 requests of r.jsonl, above 0.15 "
        "(COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH)"
    )
    assert value > DEFAULT_THRESHOLD


def test_missing_and_unknown_features_are_told(compare, rows):
    few = [{"rain": row["rain"], "wind": 1.0} if index < 3 else row for index, row in enumerate(records(rows))]
    _, sentences = compare("r.jsonl", lines({"instances": few}))
    assert sentences == [
        "'gates' is missing in 3 of 300 rows (1.00%) of r.jsonl",
        "'wind', in 3 of 300 rows (1.00%) of r.jsonl, is not a feature of the schema",
    ]


def test_feature_that_no_request_has_is_not_measured(compare, rows):
    comparison, sentences = compare("r.jsonl", lines({"inputs": {"rain": rows["rain"]}}))
    assert sentences == ["'gates' is missing in 300 of 300 rows (100.00%) of r.jsonl"]
    assert comparison.distances[-1].note == "has no values in what it is compared with"


GOOD = {"rain": 1.5, "gates": 3}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2 is not JSON"),
        ("\xff", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[]", "line 2 is not the body of a request: it must have either instances or inputs"),
        ('{"instances": [], "inputs": {}}',
         "line 2 is not the body of a request: it must have either instances or inputs"),
        ('{"instances": {}}', "line 2 has instances that are no list"),
        ('{"instances": [1]}', "line 2 has an instance that is no object"),
        ('{"instances": [{"b64": "?"}]}', "line 2 has an example that is not base64"),
        ('{"instances": [{"b64": 5}]}', "line 2 has an example that is not base64"),
        ('{"instances": [{"b64": "AAAA"}]}', "line 2 has an example that is no tf.Example"),
        ('{"inputs": {"rain": [1, 2], "gates": [1]}}', "line 2 has columns of different lengths"),
        ('{"instances": [{"rain": "wet"}]}', "line 2: 'rain' is 'wet', which is no number"),
        ('{"instances": [{"rain": [1, 2]}]}', "line 2: 'rain' is [1, 2], which is no number"),
        ('{"instances": [{"gates": 1.5}]}', "line 2: 'gates' is 1.5, which is no whole number"),
        ('{"instances": [{"gates": 1e300}]}', "line 2: 'gates' is 1e+300, which is no whole number"),
    ],
)  # fmt: skip
def test_line_that_cannot_be_read_is_left_out_and_named(compare, line, problem):
    good = lines({"instances": [GOOD]}).encode()
    comparison, sentences = compare("r.jsonl", good + line.encode("latin-1") + b"\n\n" + good)
    assert comparison.against.startswith("2 requests of ")
    assert sentences[0] == f"left out of r.jsonl: {problem}"


def test_only_the_first_problems_are_told(compare):
    _, sentences = compare("r.jsonl", lines({"instances": [GOOD]}) + "{\n" * 5)
    line = "left out of r.jsonl: line 2 is not JSON; line 3 is not JSON; line 4 is not JSON and 2 more"
    assert sentences[0] == line


def test_records_that_cannot_be_read_are_left_out_and_named(compare, tmp_path):
    log = prediction_log_pb2.PredictionLog()
    log.regress_log.request.input.example_list.examples.add()
    logs = [predict_log(**{name: [value] for name, value in GOOD.items()}), log, b"\xff"]
    comparison, sentences = compare("r.tfrecord", tfrecord(tmp_path / "written", logs))
    assert comparison.against.startswith("1 requests of ")
    assert sentences[0] == (
        "left out of r.tfrecord: record 2 holds no predict or classify request but regress_log; record 3 is no "
        "PredictionLog"
    )


def test_csv_lines_that_cannot_be_read_are_left_out_and_named(compare):
    _, sentences = compare("r.csv", "rain,gates\n1.5,3\n1.5\nwet,3\n1.5,3,4\n")
    assert sentences[0] == (
        "left out of r.csv: line 3 has not a cell for each column; line 4: 'rain' is 'wet', which is no number; "
        "line 5 has not a cell for each column"
    )


@pytest.mark.parametrize(
    ("name", "content", "sentences"),
    [
        ("r.csv", "", ["r.csv holds no request that can be compared with"]),
        ("r.csv", "rain,gates\n", ["r.csv holds no request that can be compared with"]),
        ("r.jsonl", "", ["r.jsonl holds no request that can be compared with"]),
        ("r.tfrecord", "", ["r.tfrecord holds no request that can be compared with"]),
        ("r.jsonl", None, ["r.jsonl cannot be read: No such file or directory",
                           "r.jsonl holds no request that can be compared with"]),
        ("r.tfrecord", "no record at all",
         ["r.tfrecord cannot be read: corrupted record at 0 (Is this even a TFRecord file?)",
          "r.tfrecord holds no request that can be compared with"]),
    ],
)  # fmt: skip
def test_file_without_requests_is_told(compare, name, content, sentences):
    comparison, found = compare(name, content)
    assert comparison.note == "it holds no request that can be compared with"
    assert comparison.distances == ()
    assert found == sentences


def test_missing_values_of_optional_features_are_none(compare, rows):
    empty = {"town": "", "age": float("nan")}
    columns = {**rows, "town": ["" if i % 3 == 0 else town for i, town in enumerate(rows["town"])]}
    body = json.dumps({"inputs": columns | {"age": [float("nan")] * NUM_ROWS}})
    comparison, sentences = compare("r.jsonl", body)
    assert sentences == []
    distances = {each.feature: each.value for each in comparison.distances}
    assert distances["age"] is None
    assert distances["town"] < 0.1
    _, sentences = compare("r.jsonl", json.dumps({"instances": [{"rain": 1.0, "gates": 2, **empty, "key": "x"}]}))
    assert not any("town" in each or "age" in each or "key" in each for each in sentences)


def test_text_that_is_none_is_told(compare, rows):
    _, sentences = compare("r.jsonl", json.dumps({"instances": [{"rain": 1.0, "gates": 2, "town": 7}]}))
    assert "left out of r.jsonl: line 1: 'town' is 7, which is no text" in sentences[0]
