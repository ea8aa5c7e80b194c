"""One trained model, every way that leads to it: the same rows give the same logits."""

import base64
import json
import pickle
import re
import subprocess
import sys

import apache_beam as beam
import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import features_extractor, predictions_extractor
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc
from tfx.components.bulk_inferrer.executor import Executor as BulkInferrer
from tfx.proto import bulk_inferrer_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils
from tfx_bsl.tfxio import tf_example_record

from components.infra_validator.feeds import feed_examples, read_recorded_logits
from components.infra_validator.loader import SavedModelSession
from components.infra_validator.signatures import load_meta_graph, signatures_of
from pipeline.beam import LOCAL_BEAM_ARGS

pytestmark = pytest.mark.e2e

TOLERANCE = 1e-5
NAME = "reference"


@pytest.fixture(scope="module")
def pushed(sluice, reference):
    """The pushed version, and the Trainer's sample of raw eval rows with the logits of the graph that it trained."""
    (trainer,) = (run for run in reference.record["components"] if run["component"] == "Trainer")
    examples, logits = read_recorded_logits(trainer["outputs"]["model_run"])
    assert logits.shape == (256, 3)
    return sluice.root / "serving_model" / NAME / str(reference.versions[0]), examples, logits


@pytest.fixture(scope="module")
def server(pushed):
    """The addresses, REST and gRPC, of a development server."""
    flags = [f"--model_base_path={pushed[0].parent}", f"--model_name={NAME}", "--port=0", "--rest_api_port=0"]
    command = [sys.executable, "-m", "pipeline.serving.server", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines = []
    while not any("gRPC" in line for line in lines):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    text = "".join(lines)
    yield re.search(r"http://\S+", text)[0], re.search(r"gRPC (\S+)", text)[1]
    process.terminate()
    process.communicate(timeout=30)


def tf2_load(version_dir, examples, **_):
    model = tf.saved_model.load(str(version_dir))
    return model.signatures["serving_default"](examples=tf.constant(examples))["logits"].numpy()


def tf1_session(version_dir, examples, **_):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(version_dir))
        signature = loaded.signature_def["serving_default"]
        return session.run(signature.outputs["logits"].name, {signature.inputs["examples"].name: examples})


def cpp_loader(version_dir, examples, *, signature_name="serving_default", **_):
    signature = signatures_of(load_meta_graph(str(version_dir)))[signature_name]
    session = SavedModelSession(str(version_dir))
    (logits,) = session.run(feed_examples(signature, examples), [signature.outputs["logits"].tensor_name])
    session.close()
    return logits


def cpp_loader_on_features(version_dir, examples, **_):
    return cpp_loader(version_dir, examples, signature_name="serving_features")


def tfma_extractor(version_dir, examples, *, folder, **_):
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(signature_name="serving_default", label_key="gate_action")]
    )
    shared_model = tfma.default_eval_shared_model(str(version_dir), eval_config=config, tags=["serve"])
    records = tf_example_record.TFExampleBeamRecord(
        physical_format="memory", telemetry_descriptors=["test"], raw_record_column_name=tfma.ARROW_INPUT_COLUMN
    )
    file = str(folder / "tfma.pickle")

    def pairs(extracts):
        yield from zip(extracts[tfma.INPUT_KEY], extracts[tfma.PREDICTIONS_KEY]["logits"], strict=True)

    def write(answers):
        with open(file, "wb") as stream:
            pickle.dump([(bytes(example), np.asarray(logits)) for example, logits in answers], stream)

    with beam.Pipeline(argv=list(LOCAL_BEAM_ARGS)) as pipeline:
        extracts = pipeline | beam.Create(examples) | records.BeamSource() | tfma.BatchedInputsToExtracts()
        extracts |= features_extractor.FeaturesExtractor(config).ptransform
        extracts |= predictions_extractor.PredictionsExtractor(config, shared_model).ptransform
        _ = extracts | beam.FlatMap(pairs) | beam.combiners.ToList() | beam.Map(write)
    with open(file, "rb") as stream:
        answers = dict(pickle.load(stream))
    return np.array([answers[example] for example in examples])


def bulk_inferrer(version_dir, examples, *, folder, **_):
    """TFX's own executor, on artifacts in a folder."""
    (folder / "examples" / "Split-unlabelled").mkdir(parents=True)
    file = str(folder / "examples" / "Split-unlabelled" / "data.gz")
    with tf.io.TFRecordWriter(file, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for example in examples:
            writer.write(example)
    (folder / "model").mkdir()
    (folder / "model" / "Format-Serving").symlink_to(version_dir)
    artifacts = {}
    for key, kind in (("examples", "Examples"), ("model", "Model"), ("inference_result", "InferenceResult")):
        artifacts[key] = [getattr(standard_artifacts, kind)()]
        artifacts[key][0].uri = str(folder / key)
    artifacts["examples"][0].split_names = artifact_utils.encode_split_names(["unlabelled"])
    properties = {
        "data_spec": proto_utils.proto_to_json(bulk_inferrer_pb2.DataSpec()),
        "model_spec": proto_utils.proto_to_json(bulk_inferrer_pb2.ModelSpec(model_signature_name=["serving_default"])),
    }
    context = BulkInferrer.Context(extra_flags=list(LOCAL_BEAM_ARGS), tmp_dir=str(folder), unique_id="1")
    outputs = {"inference_result": artifacts.pop("inference_result")}
    BulkInferrer(context).Do(artifacts, outputs, properties)
    logs = tf.data.TFRecordDataset(list(map(str, (folder / "inference_result").glob("*.gz"))), "GZIP")
    answers = {}
    for record in logs.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record).predict_log
        answers[canonical(log.request.inputs["examples"].string_val[0])] = tf.make_ndarray(
            log.response.outputs["logits"]
        )[0]
    return np.array([answers[canonical(example)] for example in examples])


def canonical(example):
    """BulkInferrer serializes the rows anew, their features in any order."""
    return tf.train.Example.FromString(example).SerializeToString(deterministic=True)


def rest_examples(version_dir, examples, *, server, **_):
    instances = [{"b64": base64.b64encode(example).decode()} for example in examples]
    return rest(server, {"instances": instances})


def rest_rows(version_dir, examples, *, server, **_):
    signature = signatures_of(load_meta_graph(str(version_dir)))["serving_features"]
    feeds = feed_examples(signature, examples)
    columns = {name: feeds[info.tensor_name].tolist() for name, info in signature.inputs.items()}
    instances = [{name: column[row] for name, column in columns.items()} for row in range(len(examples))]
    return rest(server, {"signature_name": "serving_features", "instances": instances})


def rest(server, request):
    response = requests.post(f"{server[0]}:predict", data=json.dumps(request), timeout=60)
    assert response.status_code == 200, response.text
    return np.array([prediction["logits"] for prediction in response.json()["predictions"]])


def grpc_predict(version_dir, examples, *, server, **_):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = NAME
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto(examples))
    with grpc.insecure_channel(server[1]) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
    return tf.make_ndarray(answer.outputs["logits"])


WAYS = [
    tf2_load, tf1_session, cpp_loader, cpp_loader_on_features, tfma_extractor, bulk_inferrer, rest_examples, rest_rows,
    grpc_predict,
]  # fmt: skip


def test_every_way_to_the_model_gives_the_trainer_s_logits(pushed, server, tmp_path, capsys):
    version_dir, examples, logits = pushed
    differences = {}
    for way in WAYS:
        folder = tmp_path / way.__name__
        folder.mkdir()
        answer = way(version_dir, examples, server=server, folder=folder)
        assert answer.shape == logits.shape, way.__name__
        differences[way.__name__] = float(np.abs(answer - logits).max())
    with capsys.disabled():
        print(f"\nlargest difference from the Trainer's logits on {len(examples)} eval rows:")
        for name, difference in differences.items():
            print(f"  {name:<24}{difference:.1e}")
    assert max(differences.values()) <= TOLERANCE


def test_every_push_prints_its_parity(reference):
    assert re.search(
        r"^Infra   C\+\+ loader: within \d\.\de-0[6-9] of the Trainer's logits on 256 rows", reference.stdout, re.M
    )
