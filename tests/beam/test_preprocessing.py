import dataclasses
import json

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from components.transform import preprocessing
from pipeline.beam import LOCAL_BEAM_ARGS
from schema import feature_roles, load_schema, transformed_name

pytestmark = pytest.mark.beam


@pytest.fixture(scope="module")
def roles(reference_schema_file):
    return feature_roles(load_schema(reference_schema_file), "gate_action")


@pytest.fixture(scope="module")
def preprocessing_fn(roles):
    custom_config = {"roles": dataclasses.asdict(roles)}
    return lambda inputs: preprocessing.preprocessing_fn(inputs, custom_config)


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
    with beam.Pipeline(argv=list(LOCAL_BEAM_ARGS)) as pipeline, tft_beam.Context(str(folder / "tmp")):
        analyzed = (pipeline | "Seen" >> beam.Create(seen), metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        rows = pipeline | "All" >> beam.Create([*seen, row(1.5, 1)])
        outputs, _ = ((rows, metadata), analyzed) | tft_beam.TransformDataset()
        lines = outputs | beam.Map(lambda output: json.dumps({k: np.ravel(v).tolist() for k, v in output.items()}))
        _ = lines | beam.io.WriteToText(str(folder / "rows"), shard_name_template="")
    return [json.loads(line) for line in (folder / "rows").read_text().splitlines()]


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
