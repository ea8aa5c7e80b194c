"""BulkInferrer's executor and the offline predictor on a tiny model whose answers can be computed by hand."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tfx import types
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.standard_artifacts import Examples, InferenceResult, Model

from components.bulk_inferrer.component import create_bulk_inferrer
from components.bulk_inferrer.executor import Executor
from pipeline.beam import LOCAL_BEAM_ARGS
from pipeline.prediction.offline import OfflinePredictor

pytestmark = pytest.mark.beam


class SignModel(tf.Module):
    """Says `+` with the probability `sigmoid(x)`, and `-` otherwise."""

    def _answer(self, examples):
        x = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
        logits = tf.concat([tf.zeros_like(x), x], axis=1)
        classes = tf.tile(tf.constant([["-", "+"]]), [tf.shape(x)[0], 1])
        return classes, tf.nn.softmax(logits)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        classes, probabilities = self._answer(examples)
        return {"classes": classes, "probabilities": probabilities}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs):
        classes, scores = self._answer(inputs)
        return {"classes": classes, "scores": scores}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A Model artifact's folder."""
    folder = tmp_path_factory.mktemp("model")
    serving_dir = str(folder / "Format-Serving")
    model = SignModel()
    signatures = {"serving_default": model.serving_default, "classify": model.classify}
    tf.saved_model.save(model, serving_dir, signatures=signatures)
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(serving_dir)
    method_name = tf.saved_model.CLASSIFY_METHOD_NAME
    updater.replace_method_name(signature_key="classify", method_name=method_name, tags=["serve"])
    updater.save()
    return folder


def test_offline_predictor_keeps_the_order_of_many_batches(model_dir, tmp_path):
    (tmp_path / "7").symlink_to(model_dir / "Format-Serving")
    x = np.random.default_rng(0).normal(size=(2500, 1)).astype(np.float32)
    predictor = OfflinePredictor(tmp_path / "7")
    predictions = predictor.predict({"x": x})
    assert predictor.version == 7
    assert predictions.class_names == ("-", "+")
    np.testing.assert_allclose(predictions.probabilities[:, 1], 1 / (1 + np.exp(-x[:, 0])), atol=1e-6)


def example(**values):
    row = tf.train.Example()
    for name, value in values.items():
        feature = row.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    return row.SerializeToString()


@pytest.fixture
def infer(model_dir, tmp_path):
    """Runs the executor on 1500 rows and returns the folder of its InferenceResult."""

    def run(*, blessed=True, **exec_properties):
        examples, model, result = Examples(), Model(), InferenceResult()
        examples.uri, model.uri, result.uri = str(tmp_path / "examples"), str(model_dir), str(tmp_path / "result")
        examples.split_names = artifact_utils.encode_split_names(["unlabelled"])
        (tmp_path / "examples" / "Split-unlabelled").mkdir(parents=True)
        (tmp_path / "result").mkdir()
        file = tmp_path / "examples" / "Split-unlabelled" / "rows-00000-of-00001.gz"
        with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
            for n in range(1500):
                writer.write(example(x=n / 100 - 7, station=f"s,{n}", n=n, **({"note": "odd"} if n % 2 else {})))
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("blessed", int(blessed))
        context = Executor.Context(beam_pipeline_args=list(LOCAL_BEAM_ARGS), tmp_dir=str(tmp_path), unique_id="1")
        inputs = {"examples": [examples], "model": [model], "model_blessing": [blessing]}
        specs = {"data_spec": "{}", "model_spec": json.dumps({"model_signature_name": ["serving_default"]})}
        Executor(context).Do(inputs, {"inference_result": [result]}, specs | exec_properties)
        return tmp_path / "result"

    return run


def test_bulk_inferrer_writes_a_csv_that_can_be_read(infer):
    folder = infer(id_columns='["station", "note"]', file_format="csv")
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["station", "note", "predicted_class", "probability_-", "probability_+"]
    assert len(rows) == 1500
    for row in rows:
        n = int(row["station"].removeprefix("s,"))
        assert row["note"] == ("odd" if n % 2 else "")
        np.testing.assert_allclose(float(row["probability_+"]), 1 / (1 + np.exp(7 - n / 100)), atol=1e-6)
        assert row["predicted_class"] == ("+" if n > 700 else "-")
    assert list(folder.glob("prediction_logs*.gz"))


def test_bulk_inferrer_writes_a_parquet_file_with_the_ids_types(infer):
    table = pq.read_table(infer(id_columns='["n"]', file_format="parquet") / "predictions.parquet")
    assert sorted(table["n"].to_pylist()) == list(range(1500))
    assert {field.name: str(field.type) for field in table.schema} == {
        "n": "int64",
        "predicted_class": "string",
        "probability_-": "float",
        "probability_+": "float",
    }


def test_bulk_inferrer_does_not_use_a_model_that_is_not_blessed(infer):
    assert list(infer(blessed=False, id_columns="[]", file_format="csv").iterdir()) == []


def test_bulk_inferrer_names_an_id_column_that_is_not_there(infer):
    message = r"bulk_inferrer\.id_columns: statoin is not in the unlabelled data\. Its columns: n, note, station, x\."
    with pytest.raises(ValueError, match=message):
        infer(id_columns='["statoin"]', file_format="csv")


def test_bulk_inferrer_takes_stock_artifacts_and_gives_one():
    node = create_bulk_inferrer(
        types.Channel(type=Examples),
        types.Channel(type=Model),
        types.Channel(type=standard_artifacts.ModelBlessing),
        id_columns=["station"],
    )
    assert node.id == "BulkInferrer"
    assert {name: channel.type for name, channel in node.outputs.items()} == {
        standard_component_specs.INFERENCE_RESULT_KEY: InferenceResult
    }
    assert json.loads(node.exec_properties["id_columns"]) == ["station"]
