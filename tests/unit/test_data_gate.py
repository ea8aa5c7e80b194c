"""What DataGate finds in anomalies and statistics that TFDV itself computes, and what comes of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.data_gate import REPORT_FILE, DataRefusedError
from components.data_gate.anomalies import find_anomalies
from components.data_gate.executor import DataGate
from components.data_gate.row_counts import class_counts, find_too_few

NUM_ROWS = 200
SCHEMA = text_format.Parse(
    """
    feature { name: "rain" type: FLOAT presence { min_fraction: 1.0 } shape { dim { size: 1 } }
              float_domain { min: 0 max: 10 disallow_nan: true disallow_inf: true } }
    feature { name: "gates" type: INT presence { min_fraction: 1.0 } shape { dim { size: 1 } }
              int_domain { min: 0 max: 5 } }
    feature { name: "action" type: INT presence { min_fraction: 1.0 } shape { dim { size: 1 } }
              int_domain { min: 0 max: 2 is_categorical: true } }
    """,
    schema_pb2.Schema(),
)
SETTINGS = {
    "severity": "fail",
    "rules": [],
    "min_rows": {"train": 1, "eval": 1},
    "min_rows_per_class": {"train": 1, "eval": 0},
    "drift": None,
    "skew": None,
    "label": "action",
    "class_names": ["hold", "release", "flush"],
}


def make_columns(**changed):
    """Returns columns that fit the schema, some of them changed."""
    random = np.random.default_rng(1)
    columns = {
        "rain": random.uniform(1, 9, NUM_ROWS).tolist(),
        "gates": random.integers(0, 6, NUM_ROWS).tolist(),
        "action": (np.arange(NUM_ROWS) % 3).tolist(),
    }
    for name, values in changed.items():
        columns[name] = [*values, *columns.get(name, [1.0] * NUM_ROWS)[len(values) :]]
    return columns


def check(columns):
    """Returns TFDV's statistics and anomalies of columns of which None is an empty cell and nan is a number."""
    types = {float: pa.float32(), int: pa.int64(), str: pa.binary()}
    arrays = {
        name: pa.array(
            [None if value is None else [value] for value in values],
            pa.list_(types[type(next(value for value in values if value is not None))]),
        )
        for name, values in columns.items()
    }
    batch = pa.RecordBatch.from_pydict(arrays)
    statistics = stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions(schema=SCHEMA))
    return statistics, tfdv.validate_statistics(statistics, SCHEMA)


def find(columns, split="train", **settings):
    statistics, anomalies = check(columns)
    return find_anomalies(anomalies, statistics.datasets[0], SCHEMA, split=split, settings=SETTINGS | settings)


ANOMALIES = {
    "FLOAT_TYPE_HAS_NAN": (
        {"rain": [float("nan")] * 3}, "rain", (None, 3, False),
        "'rain' in the train split: 3 of 200 rows (1.50%) NaN. Invalid values: Float feature has NaN values "
        "(FLOAT_TYPE_HAS_NAN)",
    ),
    "FLOAT_TYPE_HAS_INF": (
        {"rain": [float("-inf")]}, "rain", ("-inf", 1, True),
        "'rain' in the train split: at least 1 of 200 rows (0.50%) infinite. Invalid values: Float feature has Inf "
        "values (FLOAT_TYPE_HAS_INF)",
    ),
    "FLOAT_TYPE_BIG_FLOAT": (
        {"rain": [99.0] * 40}, "rain", (99.0, 39, True),
        "'rain' in the train split: at least 39 of 200 rows (19.50%) above the domain, up to 99. Out-of-range values: "
        "Unexpectedly high value: 99>10(upto six significant digits) (FLOAT_TYPE_BIG_FLOAT)",
    ),
    "FLOAT_TYPE_SMALL_FLOAT": (
        {"rain": [-4.0]}, "rain", (-4.0, 1, True),
        "'rain' in the train split: at least 1 of 200 rows (0.50%) below the domain, down to -4. Out-of-range values: "
        "Unexpectedly low values: -4<0(upto six significant digits) (FLOAT_TYPE_SMALL_FLOAT)",
    ),
    "INT_TYPE_BIG_INT": (
        {"action": [7, 9, 7]}, "action", (9.0, 3, False),
        "'action' in the train split: 3 of 200 rows (1.50%) above the domain, up to 9. Out-of-range values: "
        "Unexpectedly large value: 9 (INT_TYPE_BIG_INT)",
    ),
    "INT_TYPE_SMALL_INT": (
        {"gates": [-1]}, "gates", (-1.0, 1, True),
        "'gates' in the train split: at least 1 of 200 rows (0.50%) below the domain, down to -1. Out-of-range values: "
        "Unexpectedly small value: -1 (INT_TYPE_SMALL_INT)",
    ),
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": (
        {"rain": [None, None]}, "rain", (None, 2, False),
        "'rain' in the train split: 2 of 200 rows (1.00%) without a value. Column dropped: The feature was present in "
        "fewer examples than expected: minimum fraction = 1.000000, actual = 0.990000 "
        "(FEATURE_TYPE_LOW_FRACTION_PRESENT)",
    ),
    "FLOAT_TYPE_STRING_NOT_FLOAT": (
        {"rain": ["wet", "wet", *map(str, range(198))]}, "rain", ("wet", 2, False),
        "'rain' in the train split: 2 of 200 rows (1.00%) not a number: 'wet'. Invalid values: String values that were "
        'not floats were found, such as "wet" (FLOAT_TYPE_STRING_NOT_FLOAT)',
    ),
    "UNEXPECTED_DATA_TYPE": (
        {"rain": [1] * NUM_ROWS}, "rain", (None, None, False),
        "'rain' in the train split: 200 rows. Unexpected data type: Expected data of type: FLOAT but got INT "
        "(UNEXPECTED_DATA_TYPE)",
    ),
    "SCHEMA_NEW_COLUMN": (
        {"wind": [1.0]}, "wind", (None, 200, False),
        "'wind' in the train split: 200 of 200 rows (100.00%) with a value. New column: New column (column in data but "
        "not in schema) (SCHEMA_NEW_COLUMN)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("anomaly", ANOMALIES)
@pytest.mark.parametrize("severity", ["fail", "warn", "ignore"])
def test_anomaly_is_told_with_its_severity_value_count_and_share(anomaly, severity):
    changed, feature, (value, count, at_least), sentence = ANOMALIES[anomaly]
    rule = {"feature": feature, "anomaly": anomaly, "split": None, "severity": severity}
    (found,) = (each for each in find(make_columns(**changed), rules=[rule]) if each.anomaly == anomaly)
    assert (found.severity, found.feature, found.split) == (severity, feature, "train")
    assert (found.value, found.count, found.at_least) == (value, count, at_least)
    assert found.share == (None if count is None else count / NUM_ROWS)
    assert found.sentence == sentence


def test_missing_column_is_missing_in_every_row():
    columns = make_columns()
    del columns["rain"]
    (found,) = find(columns)
    assert (found.anomaly, found.count, found.share) == ("SCHEMA_MISSING_COLUMN", NUM_ROWS, 1.0)
    assert found.sentence == (
        "'rain' in the train split: 200 of 200 rows (100.00%) without a value. Column dropped: Column is completely "
        "missing (SCHEMA_MISSING_COLUMN)"
    )


def test_data_that_fit_the_schema_have_no_finding():
    assert find(make_columns()) == []


@pytest.mark.parametrize("num_beyond", [1, 7, 60, 150])
def test_at_least_is_never_more_than_there_are(num_beyond):
    beyond = np.linspace(10.5, 500, num_beyond).tolist()
    (found,) = find(make_columns(rain=beyond))
    assert 1 <= found.count <= num_beyond


def test_anomaly_of_the_whole_split_is_told():
    text = (
        'dataset_anomaly_info { reason { type: DATASET_LOW_NUM_EXAMPLES short_description: "Low" description: "3." } }'
    )
    anomalies = text_format.Parse(text, anomalies_pb2.Anomalies())
    statistics = statistics_pb2.DatasetFeatureStatistics(num_examples=3)
    (found,) = find_anomalies(anomalies, statistics, SCHEMA, split="eval", settings=SETTINGS)
    assert found.sentence == "the data in the eval split: 3 rows. Low: 3 (DATASET_LOW_NUM_EXAMPLES)"


def rule(severity, **named):
    return {"feature": None, "anomaly": None, "split": None, **named, "severity": severity}


@pytest.mark.parametrize(
    ("rules", "severity"),
    [
        ([], "fail"),
        ([rule("warn", feature="rain")], "warn"),
        ([rule("warn", anomaly="FLOAT_TYPE_HAS_NAN")], "warn"),
        ([rule("warn", feature="rain", split="eval")], "fail"),
        ([rule("warn", feature="gates")], "fail"),
        ([rule("warn", anomaly="FLOAT_TYPE_BIG_FLOAT")], "fail"),
        ([rule("warn", feature="rain"), rule("ignore", anomaly="FLOAT_TYPE_HAS_NAN")], "ignore"),
        ([rule("ignore", anomaly="FLOAT_TYPE_HAS_NAN"), rule("warn", feature="rain")], "warn"),
    ],
)
def test_last_rule_that_fits_decides(rules, severity):
    (found,) = find(make_columns(rain=[float("nan")]), rules=rules)
    assert found.severity == severity


@pytest.mark.parametrize("num_classes", [2, 3, 12, 60])
def test_rows_of_each_class_are_counted_exactly(num_classes):
    random = np.random.default_rng(num_classes)
    labels = random.choice(num_classes, size=5000, p=random.dirichlet(np.ones(num_classes)))
    schema = text_format.Parse(
        f'feature {{ name: "y" type: INT int_domain {{ min: 0 max: {num_classes - 1} is_categorical: true }} }}',
        schema_pb2.Schema(),
    )
    frame = pd.DataFrame({"y": np.append(labels, num_classes + 3)})  # one beyond the domain
    statistics = tfdv.generate_statistics_from_dataframe(frame, tfdv.StatsOptions(schema=schema))
    counts = class_counts(statistics.datasets[0], "y", list(map(str, range(num_classes))))
    assert counts == np.bincount(labels, minlength=num_classes).tolist()


@pytest.mark.parametrize("num_classes", [2, 40])
def test_rows_of_each_class_of_a_text_label_are_counted_exactly(num_classes):
    random = np.random.default_rng(num_classes)
    names = [f"class {index}" for index in range(num_classes)]
    labels = random.choice(num_classes, size=3000)
    frame = pd.DataFrame({"y": [names[label] for label in labels] + ["another"]})
    statistics = tfdv.generate_statistics_from_dataframe(frame)
    assert class_counts(statistics.datasets[0], "y", names) == np.bincount(labels, minlength=num_classes).tolist()


def test_classes_are_not_counted_by_halves():
    labels = np.arange(2000)
    for schema in (
        text_format.Parse('feature { name: "y" type: INT int_domain { is_categorical: true } }', schema_pb2.Schema()),
        text_format.Parse('feature { name: "y" type: INT int_domain { max: 1999 } }', schema_pb2.Schema()),
    ):
        statistics = tfdv.generate_statistics_from_dataframe(
            pd.DataFrame({"y": labels}), tfdv.StatsOptions(schema=schema)
        )
        assert class_counts(statistics.datasets[0], "y", list(map(str, range(2000)))) is None


def too_few(num_rows, counts, **settings):
    names = SETTINGS["class_names"]
    return find_too_few(num_rows, counts, class_names=names, split="train", settings=SETTINGS | settings)


def test_split_without_rows_is_refused():
    (found,) = too_few(0, [0, 0, 0])
    assert (found.severity, found.sentence) == ("fail", "there are no rows in the train split")


def test_too_few_rows_are_refused():
    (found,) = too_few(9, [3, 3, 3], min_rows={"train": 10})
    assert found.severity == "fail"
    assert found.sentence == "there are 9 rows in the train split, fewer than data_gate.min_rows.train: 10"


def test_too_few_rows_of_a_class_are_refused():
    (found,) = too_few(9, [8, 1, 0])
    assert (found.severity, found.value, found.count, found.share) == ("fail", 2, 0, 0.0)
    assert found.sentence == (
        "'action' in the train split: 0 of 9 rows (0.00%) of class 'flush' (2), fewer than "
        "data_gate.min_rows_per_class.train: 1"
    )
    assert too_few(9, [8, 1, 0], min_rows_per_class={"train": 0}) == []
    assert too_few(9, None) == []


@pytest.fixture
def gate(tmp_path):
    """Runs DataGate on splits as StatisticsGen and ExampleValidator leave them; returns the report."""

    def run(*, settings=None, serving_model_dir="", serving_requests="", **splits):
        inputs = {"anomalies": standard_artifacts.ExampleAnomalies(), "schema": standard_artifacts.Schema()}
        inputs["statistics"] = standard_artifacts.ExampleStatistics()
        for name, artifact in inputs.items():
            artifact.uri = str(tmp_path / name)
            Path(artifact.uri).mkdir(exist_ok=True)
        for split, columns in splits.items():
            statistics, anomalies = check(columns)
            for name, file, message in (
                ("anomalies", "SchemaDiff.pb", anomalies),
                ("statistics", "FeatureStats.pb", statistics),
            ):
                folder = Path(inputs[name].uri) / f"Split-{split}"
                folder.mkdir(exist_ok=True)
                (folder / file).write_bytes(message.SerializeToString())
                inputs[name].split_names = artifact_utils.encode_split_names(list(splits))
        (tmp_path / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(SCHEMA))
        findings = standard_artifacts.ExampleAnomalies()
        findings.uri = str(tmp_path / "findings")
        Path(findings.uri).mkdir(exist_ok=True)
        DataGate.test_call(
            **inputs,
            findings=findings,
            settings=json.dumps(SETTINGS | (settings or {})),
            serving_model_dir=serving_model_dir or str(tmp_path / "models"),
            serving_requests=serving_requests,
        )
        return json.loads((tmp_path / "findings" / REPORT_FILE).read_text())

    return run


def test_gate_lets_data_without_anomalies_through_and_counts_them(gate):
    report = gate(train=make_columns(), eval=make_columns())
    counts = {"rows": NUM_ROWS, "classes": {"hold": 67, "release": 67, "flush": 66}}
    assert report == {"splits": {"train": counts, "eval": counts}, "findings": [], "drift": None, "skew": None}


def test_gate_tells_all_reasons_at_once_and_keeps_them(gate):
    with pytest.raises(DataRefusedError, match=r"'rain' in the train split.*NaN") as caught:
        gate(train=make_columns(rain=[float("nan")]), eval=make_columns(action=[7]))
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["'rain' in the train split", "'action' in the eval split"]
    report = json.loads(caught.value.report)
    assert [finding["sentence"] for finding in report["findings"]] == lines
    assert {finding["severity"] for finding in report["findings"]} == {"fail"}


@pytest.mark.parametrize(("severity", "logged"), [("warn", 1), ("ignore", 0)])
def test_what_is_not_severe_is_kept_and_passes(gate, caplog, severity, logged):
    report = gate(train=make_columns(), eval=make_columns(action=[7]), settings={"severity": severity})
    (finding,) = report["findings"]
    assert (finding["severity"], finding["anomaly"], finding["split"]) == (severity, "INT_TYPE_BIG_INT", "eval")
    assert len([record for record in caplog.records if finding["sentence"] in record.getMessage()]) == logged


def test_line_ends_in_names_make_no_new_line(gate):
    columns = {**make_columns(), "a\nb": [1.0] * NUM_ROWS}
    with pytest.raises(DataRefusedError, match=r"^'a b' in the train split: [^\n]*$"):
        gate(train=columns)
