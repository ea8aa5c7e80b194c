"""A model that is broken is not exported: with a transform graph that tft analyzed, as in a run."""

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

from components.trainer.export import export_model
from components.trainer.model import build_model
from pipeline.beam import LOCAL_BEAM_ARGS
from schema import FeatureRoles

pytestmark = pytest.mark.beam

ROLES = FeatureRoles(numeric=("a",), label="y", class_names=("no", "yes"))
SPEC = {"a": tf.io.FixedLenFeature([1], tf.float32), "y": tf.io.FixedLenFeature([1], tf.int64)}


@pytest.fixture(scope="module")
def tft_output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transform")
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(SPEC))
    with beam.Pipeline(argv=list(LOCAL_BEAM_ARGS)) as pipeline, tft_beam.Context(str(folder / "tmp")):
        rows = pipeline | beam.Create([{"a": [0.0], "y": [0]}, {"a": [4.0], "y": [1]}])
        transform_fn = (rows, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: {"a_xf": tft.scale_to_0_1(inputs["a"]), "y_xf": inputs["y"]}
        )
        _ = transform_fn | tft_beam.WriteTransformFn(str(folder / "graph"))
    metadata_io.write_metadata(metadata, str(folder / "graph" / tft.TFTransformOutput.RAW_METADATA_DIR))
    return tft.TFTransformOutput(str(folder / "graph"))


@pytest.fixture
def export(tft_output, tmp_path):
    """Exports a linear model whose weights are all one value."""

    def write(kernel):
        model = build_model(["a_xf"], 2, hidden_units=[])
        model.set_weights([np.full((1, 2), kernel, np.float32), np.full(2, kernel, np.float32)])
        features = [{"a": [value], "y": [1]} for value in (0.0, 1.0, 4.0)]
        folders = {name: str(tmp_path / name) for name in ("serving_model_dir", "model_run_dir")}
        export_model(model, tft_output, ROLES, raw_examples=list(map(serialized, features)), **folders)

    return write


def serialized(row):
    features = {
        "a": tf.train.Feature(float_list=tf.train.FloatList(value=row["a"])),
        "y": tf.train.Feature(int64_list=tf.train.Int64List(value=row["y"])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.nan, r"^weights are not finite after training: logits/kernel \(2 of 2 values\), logits/bias"),
        (3e38, r"^logits are not finite for 2 of 3 eval rows\."),
    ],
)
def test_model_that_is_not_finite_leaves_no_file(export, tmp_path, kernel, message):
    with pytest.raises(ValueError, match=message):
        export(kernel)
    assert list(tmp_path.iterdir()) == []


def test_finite_model_is_exported_with_its_logits(export, tmp_path):
    export(1.0)
    assert (tmp_path / "serving_model_dir" / "saved_model.pb").exists()
    assert (tmp_path / "model_run_dir" / "recorded_logits.json").exists()
