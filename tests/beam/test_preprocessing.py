import dataclasses
import json

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from components.schema_gen import pack
from components.transform import preprocessing, vocabularies
from pipeline.beam import LOCAL_BEAM_ARGS
from schema import feature_roles, load_schema, transformed_name

pytestmark = pytest.mark.beam


ONE_VALUE = "presence { min_fraction: 1.0 } shape { dim { size: 1 } }"
OPTIONAL = "presence { min_count: 1 } value_count { min: 1 max: 1 }"
TABLE = f"""
feature {{ name: "depth (cm)" type: FLOAT {ONE_VALUE} }}
feature {{ name: "constant" type: FLOAT {ONE_VALUE} }}
feature {{ name: "time" type: INT {OPTIONAL} }}
feature {{ name: "colour" type: BYTES {OPTIONAL} string_domain {{ value: "red" value: "blue" }} }}
feature {{ name: "town" type: BYTES {OPTIONAL} }}
feature {{ name: "zone" type: INT {OPTIONAL} int_domain {{ is_categorical: true }} }}
feature {{ name: "flag" type: INT {ONE_VALUE} bool_domain {{}} }}
feature {{ name: "key" type: BYTES {ONE_VALUE} annotation {{ tag: "id" }} }}
feature {{
  name: "weight" type: FLOAT {ONE_VALUE} float_domain {{ min: 0 }} annotation {{ tag: "weight" }}
  not_in_environment: "SERVING"
}}
feature {{
  name: "y" type: BYTES {ONE_VALUE} string_domain {{ value: "no" value: "yes" }} not_in_environment: "SERVING"
}}
"""


def preprocessing_of(roles, domains=(), **config):
    settings = {"clip": False, "missing_indicator": False, "min_frequency": 1} | config
    settings |= {"roles": dataclasses.asdict(roles), "domains": pack(json.dumps(dict(domains)))}
    return lambda inputs: preprocessing.preprocessing_fn(inputs, settings)


def transform(seen, others, metadata, function, folder):
    """Analyzes the rows that are seen and returns them and the others, transformed, in any order."""
    with beam.Pipeline(argv=list(LOCAL_BEAM_ARGS)) as pipeline, tft_beam.Context(str(folder / "tmp")):
        analyzed = (pipeline | "Seen" >> beam.Create(seen), metadata) | tft_beam.AnalyzeDataset(function)
        rows = pipeline | "All" >> beam.Create([*seen, *others])
        outputs, _ = ((rows, metadata), analyzed) | tft_beam.TransformDataset()
        lines = outputs | beam.Map(lambda output: json.dumps({k: np.ravel(v).tolist() for k, v in output.items()}))
        _ = lines | beam.io.WriteToText(str(folder / "rows"), shard_name_template="")
        _ = analyzed | tft_beam.WriteTransformFn(str(folder / "graph"))
    return [json.loads(line) for line in (folder / "rows").read_text().splitlines()]


@pytest.fixture(scope="module")
def roles(reference_schema_file):
    return feature_roles(load_schema(reference_schema_file), "gate_action")


@pytest.fixture(scope="module")
def preprocessing_fn(roles):
    return preprocessing_of(roles)


@pytest.fixture(scope="module")
def transformed(roles, preprocessing_fn, tmp_path_factory):
    """Four rows transformed by the analysis of the first three; the fourth lies outside their range."""

    def row(share, label):
        """A row that stands at `share` of the way from 10 (n + 1) to 20 (n + 1) in the n-th feature."""
        return {name: [10 * (1 + share) * (n + 1)] for n, name in enumerate(roles.numeric)} | {roles.label: [label]}

    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in roles.numeric}
    spec[roles.label] = tf.io.FixedLenFeature([1], tf.int64)
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    seen = [row(0, 0), row(0.25, 1), row(1, 2)]
    folder = tmp_path_factory.mktemp("transformed")
    return transform(seen, [row(1.5, 1)], metadata, preprocessing_fn, folder)


def test_every_feature_is_scaled_by_its_own_range(roles, transformed):
    for name in roles.numeric:
        shares = sorted(row[transformed_name(name)][0] for row in transformed)
        np.testing.assert_allclose(shares, [0, 0.25, 1, 1.5], rtol=1e-6, err_msg=name)


def test_features_and_label_of_a_row_stay_together(roles, transformed):
    shares = {0: [0.0], 1: [0.25, 1.5], 2: [1.0]}
    for row in transformed:
        values = [row[transformed_name(name)][0] for name in roles.numeric]
        np.testing.assert_allclose(values, values[0], rtol=1e-6)
        assert any(np.isclose(values[0], share) for share in shares[row[transformed_name(roles.label)][0]])


def test_only_the_features_need_a_full_pass(roles, preprocessing_fn):
    specs = {name: tf.TensorSpec([None, 1], tf.float32) for name in roles.numeric}
    specs[roles.label] = tf.TensorSpec([None, 1], tf.int64)
    assert sorted(tft.get_analyze_input_columns(preprocessing_fn, specs)) == sorted(roles.numeric)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Rows of a table with features of every kind, transformed; those of which "key" says so were analyzed."""
    schema = text_format.Parse(TABLE, schema_pb2.Schema())
    roles = feature_roles(schema, "y")

    def row(depth, time, colour, town, zone, flag, y):
        optional = {"time": time, "colour": colour, "town": town, "zone": zone}
        values = {name: [] if value is None else [value] for name, value in optional.items()}
        return values | {
            "depth (cm)": [depth],
            "constant": [7.0],
            "flag": [flag],
            "key": ["k"],
            "weight": [2.5],
            "y": [y],
        }

    seen = [
        row(1.0, 1700000000, "red", "Ulm", 5, 0, "no"),
        row(3.0, None, None, "Ulm", 5, 1, "yes"),
        row(float("nan"), 1700000010, "blue", None, 900, 1, "no"),
        row(2.5, 1700000002, "green", "Bonn", None, 1, "no"),
    ]
    others = [row(float("inf"), 1700000020, "pink", "Rome", 77, 0, "maybe"), row(-9.0, None, "", "", None, 1, "no")]
    folder = tmp_path_factory.mktemp("table")
    metadata = dataset_metadata.DatasetMetadata(schema)

    def transformed(**config):
        subfolder = folder / str(len(list(folder.iterdir())))
        subfolder.mkdir()
        function = preprocessing_of(roles, vocabularies.domains_of(schema, roles), **config)
        rows = transform(seen, others, metadata, function, subfolder)
        return {name: [row[name][0] for row in rows] for name in rows[0]}, subfolder / "graph"

    return transformed(missing_indicator=True), transformed(clip=True, min_frequency=2), schema, roles


def test_missing_nan_and_infinite_numbers_become_the_mean_of_the_others(table):
    (columns, _), *_ = table
    mean = (1.0 + 3.0 + 2.5) / 3
    np.testing.assert_allclose(columns["depth (cm)_xf"], [0, 1, (mean - 1) / 2, 0.75, (mean - 1) / 2, -5], rtol=1e-6)
    np.testing.assert_allclose(columns["time_xf"], [0, 0.4, 1, 0.2, 2, 0.4], rtol=1e-6)
    assert columns["time_missing_xf"] == [0, 1, 0, 0, 0, 1]
    assert "depth (cm)_missing_xf" not in columns


def test_constant_column_becomes_zero(table):
    (columns, _), *_ = table
    assert columns["constant_xf"] == [0] * 6


def test_categories_become_positions_with_one_for_missing_and_one_for_unknown(table):
    (columns, graph), _, schema, roles = table
    assert columns["colour_xf"] == [1, 0, 2, 3, 3, 0]
    assert columns["town_xf"] == [1, 1, 0, 2, 3, 0]
    assert columns["zone_xf"] == [1, 1, 2, 0, 3, 0]
    assert columns["flag_xf"] == [1, 2, 2, 2, 1, 2]
    sizes = vocabularies.num_categories(schema, roles, tft.TFTransformOutput(str(graph)).vocabulary_size_by_name)
    assert sizes == {"colour": 4, "town": 4, "zone": 4, "flag": 4}


def test_label_becomes_the_position_of_its_class_and_the_weight_stays(table):
    (columns, _), *_ = table
    assert columns["y_xf"] == [0, 1, 0, 0, -1, 0]
    assert columns["weight_xf"] == [2.5] * 6


def test_ids_are_not_among_what_is_trained_on(table):
    (columns, _), *_, roles = table
    assert not any("key" in name for name in columns)
    assert roles.model_inputs(columns) == [
        *(f"{name}_xf" for name in ("depth (cm)", "constant", "time", "colour", "town", "zone", "flag")),
        "time_missing_xf",
    ]


def test_clipping_ends_at_the_range_of_the_training_split(table):
    _, (columns, _), *_ = table
    assert columns["depth (cm)_xf"][5] == 0
    assert columns["time_xf"][4] == 1
    assert "time_missing_xf" not in columns


def test_rare_category_is_unknown(table):
    _, (columns, graph), schema, roles = table
    assert columns["town_xf"] == [1, 1, 0, 2, 2, 0]
    sizes = vocabularies.num_categories(schema, roles, tft.TFTransformOutput(str(graph)).vocabulary_size_by_name)
    assert sizes["town"] == 3
    assert sizes["colour"] == 4
