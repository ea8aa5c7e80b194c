"""The development server as a process of its own, asked with curl and with TF Serving's official stubs."""

import base64
import itertools
import json
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
from google.protobuf import text_format
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from components.infra_validator.loader import SavedModelSession
from components.infra_validator.signatures import load_meta_graph, signatures_of
from components.pusher.versions import assign_label, rollback
from components.trainer import REQUEST_FILE, WARMUP_FILE
from pipeline.serving import engine
from pipeline.serving.status import MAX_REQUEST_BYTES
from pipeline.serving.tensors import to_tensor_proto

pytestmark = pytest.mark.e2e

NUM_REQUESTS = 10_000
NUM_CLIENTS = 8
NUM_PUSHES = 5
END, AVAILABLE = 50, 30


@dataclass
class Server:
    """A server process on a folder of versions."""

    base_dir: Path
    command: list
    lines: list = field(default_factory=list)

    def __enter__(self):
        self.process = subprocess.Popen(
            [*self.command, "--port=0", "--rest_api_port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        ready = queue.Queue()
        self.reader = threading.Thread(target=self._read, args=(ready,))
        self.reader.start()
        if not ready.get(timeout=120):
            pytest.fail(f"The server did not start: {self.lines}")
        self.url, self.address = (self._said(pattern) for pattern in (r"REST (\S+)/reference$", r"gRPC (\S+)$"))
        self.channel = grpc.insecure_channel(self.address, [("grpc.max_send_message_length", -1)])
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.process.terminate()
        self.process.wait(timeout=30)
        self.reader.join()

    def _read(self, ready):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("gRPC"):
                ready.put(True)
        ready.put(False)

    def _said(self, pattern):
        return next(match[1] for line in self.lines if (match := re.search(pattern, line)))

    def curl(self, path, body=None, *options):
        """Returns the HTTP status and the body."""
        command = ["curl", "--silent", "--write-out", "\n%{http_code}", *options, f"{self.url}{path}"]
        if body is not None:
            command += ["--data-binary", "@-"]
            body = body if isinstance(body, str) else json.dumps(body)
        answer = subprocess.run(command, input=body, capture_output=True, text=True, check=True).stdout
        text, _, status = answer.rpartition("\n")
        return int(status), text

    def served_version(self, label=""):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = "reference"
        request.model_spec.version_label = label
        return self.predictions.GetModelMetadata(request).model_spec.version.value

    def statuses(self):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "reference"
        return {it.version: it for it in self.models.GetModelStatus(request).model_version_status}


class Model:
    """The pushed model, and what it answers for 32 rows by TensorFlow's own loader."""

    def __init__(self, model_dir):
        self.model_dir = model_dir
        row = json.loads((model_dir / REQUEST_FILE).read_text())["instances"][0]
        scale = np.linspace(0.5, 1.5, 32)
        self.rows = [{name: [float(np.float32(values[0] * it))] for name, values in row.items()} for it in scale]
        signature = signatures_of(load_meta_graph(str(model_dir)))["serving_features"]
        session = SavedModelSession(str(model_dir))
        feeds = {info.tensor_name: self.column(name) for name, info in signature.inputs.items()}
        arrays = session.run(feeds, [info.tensor_name for info in signature.outputs.values()])
        session.close()
        self.expected = dict(zip(signature.outputs, arrays, strict=True))
        self.class_names = [name.decode() for name in self.expected["classes"][0]]

    def column(self, name, rows=slice(None)):
        return np.array([row[name] for row in self.rows[rows]], np.float32)

    def predict_request(self, rows=slice(None)):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "reference"
        request.model_spec.signature_name = "serving_features"
        for name in self.rows[0]:
            request.inputs[name].CopyFrom(to_tensor_proto(self.column(name, rows)))
        return request

    def examples(self):
        for row in self.rows:
            example = example_pb2.Example()
            for name, values in row.items():
                example.features.feature[name].float_list.value.extend(values)
            yield example

    def push(self, base_dir, version, change=lambda model_dir: None):
        """Copies the model beside, and makes it a version by one rename, as Pusher does."""
        staged = base_dir / f".push-{version}"
        shutil.copytree(self.model_dir, staged)
        change(staged)
        staged.rename(base_dir / str(version))


@pytest.fixture(scope="module")
def model(reference):
    return Model(reference.root / "serving_model" / "reference" / str(reference.versions[-1]))


@pytest.fixture
def base_dir(tmp_path, model):
    folder = tmp_path / "reference"
    folder.mkdir()
    model.push(folder, 1)
    return folder


def server_of(base_dir):
    return Server(base_dir, [sys.executable, "-m", "pipeline.serving.server", f"--model_base_path={base_dir}"])


@pytest.fixture(scope="module")
def server(tmp_path_factory, model):
    """Versions 1, `stable`, and 2, `canary`."""
    folder = tmp_path_factory.mktemp("served") / "reference"
    folder.mkdir()
    model.push(folder, 1)
    model.push(folder, 2)
    assign_label(folder, 1, "stable")
    assign_label(folder, 2, "canary", settle_secs=0)
    with server_of(folder) as running:
        yield running


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "not within 30 s"
        time.sleep(0.02)


def test_curl_gets_predictions_for_rows(server, model):
    status, text = server.curl(
        "/reference:predict", {"signature_name": "serving_features", "instances": model.rows[:3]}
    )
    predictions = json.loads(text)["predictions"]
    assert status == 200
    for name in ("logits", "probabilities"):
        np.testing.assert_allclose([row[name] for row in predictions], model.expected[name][:3], atol=1e-5)
    assert [row["classes"] for row in predictions] == [model.class_names] * 3
    assert [row["predicted_class"] for row in predictions] == [
        [it.decode()] for it in model.expected["predicted_class"][:3, 0]
    ]


def test_curl_answers_the_request_that_travels_with_the_model(server, model):
    status, text = server.curl("/reference:predict", (model.model_dir / REQUEST_FILE).read_text())
    assert status == 200
    assert len(json.loads(text)["predictions"]) == 3


@pytest.mark.parametrize("version", ["/versions/1", "/labels/stable", ""])
def test_curl_gets_outputs_for_columns(server, model, version):
    columns = {name: model.column(name).tolist() for name in model.rows[0]}
    status, text = server.curl(
        f"/reference{version}:predict", {"signature_name": "serving_features", "inputs": columns}
    )
    outputs = json.loads(text)["outputs"]
    assert status == 200
    np.testing.assert_allclose(outputs["logits"], model.expected["logits"], atol=1e-5)
    assert outputs.keys() == model.expected.keys()


def test_curl_sends_serialized_examples(server, model):
    instances = [{"b64": base64.b64encode(it.SerializeToString()).decode()} for it in model.examples()]
    for rows in (instances, [{"examples": it} for it in instances]):
        status, text = server.curl("/reference:predict", {"instances": rows})
        assert status == 200
        logits = [row["logits"] for row in json.loads(text)["predictions"]]
        np.testing.assert_allclose(logits, model.expected["logits"], atol=1e-5)


def test_curl_classifies(server, model):
    first, *others = model.rows[0]
    context = {name: model.rows[0][name] for name in others}
    body = {"signature_name": "classify", "context": context, "examples": [{first: model.rows[0][first]}]}
    for request in (body, {"signature_name": "classify", "examples": [model.rows[0]]}):
        status, text = server.curl("/reference:classify", request)
        (pairs,) = json.loads(text)["results"]
        assert status == 200
        assert [label for label, _ in pairs] == model.class_names
        np.testing.assert_allclose([score for _, score in pairs], model.expected["probabilities"][0], atol=1e-5)


def test_curl_gets_status_and_metadata(server):
    assert json.loads(server.curl("/reference/versions/1")[1]) == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    versions = [it["version"] for it in json.loads(server.curl("/reference")[1])["model_version_status"]]
    metadata = json.loads(server.curl("/reference/labels/stable/metadata")[1])
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert versions == ["2", "1"]
    assert metadata["model_spec"] == {"name": "reference", "signature_name": "", "version": "1"}
    assert signatures["classify"]["method_name"] == "tensorflow/serving/classify"
    assert signatures["serving_default"]["inputs"]["examples"]["dtype"] == "DT_STRING"
    assert signatures["serving_default"]["inputs"]["examples"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


def test_stubs_get_predictions(server, model):
    response = server.predictions.Predict(model.predict_request())
    logits = response.outputs["logits"]
    assert response.model_spec.version.value == 2
    assert response.model_spec.signature_name == "serving_features"
    assert response.outputs.keys() == model.expected.keys()
    assert [dim.size for dim in logits.tensor_shape.dim] == [32, 3]
    np.testing.assert_allclose(logits.float_val, model.expected["logits"].ravel(), atol=1e-5)
    assert list(response.outputs["predicted_class"].string_val) == model.expected["predicted_class"].ravel().tolist()


def test_stubs_get_the_outputs_they_ask_for(server, model):
    request = model.predict_request()
    request.model_spec.version_label = "stable"
    request.output_filter.append("probabilities")
    response = server.predictions.Predict(request)
    assert list(response.outputs) == ["probabilities"]
    assert response.model_spec.version.value == 1


def test_stubs_classify(server, model):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "reference"
    request.model_spec.signature_name = "classify"
    request.input.example_list.examples.extend(model.examples())
    classifications = server.predictions.Classify(request).result.classifications
    scores = [[it.score for it in row.classes] for row in classifications]
    assert [it.label for it in classifications[0].classes] == model.class_names
    np.testing.assert_allclose(scores, model.expected["probabilities"], atol=1e-5)


def test_stubs_get_status_and_metadata(server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "reference"
    response = server.predictions.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert response.model_spec.version.value == 2
    assert signatures.signature_def["classify"].method_name == "tensorflow/serving/classify"
    assert {version: it.state for version, it in server.statuses().items()} == {1: AVAILABLE, 2: AVAILABLE}


def features_of(row):
    return {"signature_name": "serving_features", "instances": [row]}


def features(model, **changes):
    return features_of({**model.rows[0], **changes})


# What is asked: path, body (of the model); what is answered: HTTP status, how the error begins.
REST_ERRORS = {
    "unknown model": ("/nope:predict", features, 404, r"Servable not found for request: Latest\(nope\)"),
    "status of an unknown model": ("/nope", None, 404, "Could not find any versions of model nope$"),
    "unknown version": (
        "/reference/versions/9:predict",
        features,
        404,
        r"Servable not found for request: Specific\(reference, 9\)\. .* versions: 1, 2\.$",
    ),
    "status of an unknown version": (
        "/reference/versions/9",
        None,
        404,
        "Could not find version 9 of model reference$",
    ),
    "unknown label": ("/reference/labels/x:predict", features, 400, "Unrecognized servable version label: x$"),
    "unknown signature": (
        "/reference:predict",
        {"signature_name": "nope", "instances": [1]},
        400,
        'Serving signature name: "nope" not found in signature def. .*serving_default',
    ),
    "signature that does not classify": (
        "/reference:classify",
        {"examples": [{"x": 1}]},
        400,
        r"Expected one or two output Tensors, found 4\. .*classify \(classify\)",
    ),
    "regress": ("/reference:regress", {"examples": [{"x": 1}]}, 400, r"Expected one output Tensor\."),
    "missing feature": (
        "/reference:predict",
        lambda model: {"signature_name": "serving_features", "instances": [dict(list(model.rows[0].items())[1:])]},
        400,
        r"(?s)Failed to process element: 0 of 'instances' list\. JSON object: .* keys must be equal to: .*Missing: ",
    ),
    "missing feature in columns": (
        "/reference:predict",
        {"signature_name": "serving_features", "inputs": {}},
        400,
        r"Missing named input: \w+ in 'inputs' object\. The signature takes \w+ float \[\?,1\],",
    ),
    "extra feature": (
        "/reference:predict",
        lambda model: features(model, extra=[1.0]),
        400,
        "Failed to process element: 0 key: extra of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: extra",
    ),
    "wrong type": (
        "/reference:predict",
        lambda model: features(model, **{next(iter(model.rows[0])): ["1.5"]}),
        400,
        r"Failed to process element: 0 key: \w+ of 'instances' list. Error: INVALID_ARGUMENT: "
        r'JSON Value: "1.5" Type: String is not of expected type: float$',
    ),
    "wrong shape": (
        "/reference:predict",
        lambda model: features(model, **{next(iter(model.rows[0])): [1.0, 2.0]}),
        400,
        r"(?s)condition \[1,11\], .*Inputs that do not fit signature serving_features: "
        r"\w+ is float \[1,2\] and should be float \[\?,1\]\.$",
    ),
    "wrong example": (
        "/reference:predict",
        {"instances": ["no example"]},
        400,
        "Could not parse example input, value: 'no example'",
    ),
    "malformed JSON": ("/reference:predict", "{'a': 1}", 400, "JSON Parse error: Missing a name .* at offset: 1$"),
    "empty body": ("/reference:predict", "", 400, "JSON Parse error: The document is empty$"),
    "no rows": ("/reference:predict", {"instances": []}, 400, "(?s)JSON Value: .* No values in 'instances' array$"),
    "neither rows nor columns": ("/reference:predict", {}, 400, "Missing 'inputs' or 'instances' key$"),
    "wrong method": ("/reference:predict", None, 400, "Malformed request: GET /v1/models/reference:predict"),
    "unknown verb": ("/reference:guess", {}, 400, "Malformed request: POST /v1/models/reference:guess"),
}


@pytest.mark.parametrize("case", REST_ERRORS)
def test_rest_errors_are_those_of_tf_serving(server, model, case):
    path, body, status, text = REST_ERRORS[case]
    answer_status, answer = server.curl(path, body(model) if callable(body) else body)
    assert answer_status == status
    assert re.match(text, json.loads(answer)["error"])


def test_oversized_body_is_refused(server):
    answer = requests.post(f"{server.url}/reference:predict", b" " * (MAX_REQUEST_BYTES + 1))
    assert answer.status_code == 413
    assert re.match("The body has 67108865 bytes; at most 67108864", answer.json()["error"])


def without_first(request):
    del request.inputs[min(request.inputs)]


def with_first(tensor):
    def change(request):
        request.inputs[min(request.inputs)].CopyFrom(tensor)

    return change


# How a good request is changed, by a function or by text to merge; what is answered.
GRPC_ERRORS = {
    "unknown model": (
        "model_spec { name: 'nope' }",
        grpc.StatusCode.NOT_FOUND,
        r"Servable not found for request: Latest\(nope\)",
    ),
    "unknown version": (
        "model_spec { version { value: 9 } }",
        grpc.StatusCode.NOT_FOUND,
        r"Servable not found for request: Specific\(reference, 9\)",
    ),
    "unknown label": (
        "model_spec { version_label: 'x' }",
        grpc.StatusCode.INVALID_ARGUMENT,
        "Unrecognized servable version label: x$",
    ),
    "unknown signature": (
        "model_spec { signature_name: 'nope' }",
        grpc.StatusCode.FAILED_PRECONDITION,
        r'Serving signature key "nope" not found\. .*serving_default',
    ),
    "no model": (
        lambda request: request.ClearField("model_spec"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "Missing ModelSpec$",
    ),
    "no name": (
        lambda request: request.model_spec.ClearField("name"),
        grpc.StatusCode.INVALID_ARGUMENT,
        r"ModelSpec has no name specified\.$",
    ),
    "missing feature": (
        without_first,
        grpc.StatusCode.INVALID_ARGUMENT,
        r"input size does not match signature: 9!=10 .* Sent extra: \{\}\. Missing but required: \{\w+\}\.$",
    ),
    "extra feature": (
        lambda request: request.inputs["extra"].CopyFrom(to_tensor_proto(np.zeros((1, 1), np.float32))),
        grpc.StatusCode.INVALID_ARGUMENT,
        r"input size does not match signature: 11!=10 .* Sent extra: \{extra\}\. Missing but required: \{\}\.$",
    ),
    "wrong type": (
        with_first(to_tensor_proto(np.zeros((1, 1), np.int64))),
        grpc.StatusCode.INVALID_ARGUMENT,
        r"Expects arg\[\d\] to be float but int64 is provided\n.* \w+ is int64 \[1,1\] and should be float \[\?,1\]\.$",
    ),
    "wrong shape": (
        with_first(to_tensor_proto(np.zeros((1, 2), np.float32))),
        grpc.StatusCode.INVALID_ARGUMENT,
        r"(?s)condition \[1,11\], .*: \w+ is float \[1,2\] and should be float \[\?,1\]\.$",
    ),
    "broken tensor": (
        with_first(tensor_pb2.TensorProto(dtype=1, tensor_content=b"abc")),
        grpc.StatusCode.INVALID_ARGUMENT,
        r"tensor parsing error: \w+: ",
    ),
    "unknown output": (
        "output_filter: 'nope'",
        grpc.StatusCode.INVALID_ARGUMENT,
        r"output tensor alias not found in signature: nope Outputs expected to be in the set \{classes,",
    ),
    "oversized message": (
        with_first(tensor_pb2.TensorProto(dtype=1, tensor_content=b" " * MAX_REQUEST_BYTES)),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        r"SERVER: Received message larger than max|Received message larger than max",
    ),
}


@pytest.mark.parametrize("case", GRPC_ERRORS)
def test_grpc_errors_are_those_of_tf_serving(server, model, case):
    change, code, text = GRPC_ERRORS[case]
    request = model.predict_request(slice(1))
    text_format.Merge(change, request) if isinstance(change, str) else change(request)
    with pytest.raises(grpc.RpcError) as raised:
        server.predictions.Predict(request)
    assert raised.value.code() is code
    assert re.match(text, raised.value.details())


def test_grpc_regress_and_empty_classify_are_refused(server):
    regress, classify = regression_pb2.RegressionRequest(), classification_pb2.ClassificationRequest()
    for method, request, text in (
        (server.predictions.Regress, regress, r"Expected one output Tensor\."),
        (server.predictions.Classify, classify, r"Input is empty\."),
    ):
        text_format.Merge("model_spec { name: 'reference' signature_name: 'classify' }", request)
        with pytest.raises(grpc.RpcError, match=text) as raised:
            method(request)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_no_request_fails_while_versions_are_pushed(base_dir, model, capsys):
    latencies, versions, pushed = {"REST": [], "gRPC": []}, set(), threading.Event()
    numbers = itertools.count()
    bodies = [json.dumps(features_of(row)) for row in model.rows]
    grpc_requests = [model.predict_request(slice(index, index + 1)) for index in range(len(model.rows))]

    def ask_rest(session, row):
        answer = session.post(f"{running.url}/reference:predict", bodies[row])
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"][0]["logits"]

    def ask_grpc(stub, row):
        response = stub.Predict(grpc_requests[row])
        versions.add(response.model_spec.version.value)
        return response.outputs["logits"].float_val

    def client(kind):
        with requests.Session() as session, grpc.insecure_channel(running.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while (number := next(numbers)) < NUM_REQUESTS or not pushed.is_set():
                row = number % len(model.rows)
                start = time.perf_counter()
                logits = ask_rest(session, row) if kind == "REST" else ask_grpc(stub, row)
                latencies[kind].append(time.perf_counter() - start)
                np.testing.assert_allclose(logits, model.expected["logits"][row], atol=1e-5)

    def push():
        try:
            for version in range(2, 2 + NUM_PUSHES):
                model.push(base_dir, version)
                wait_until(lambda version=version: version in versions)
        finally:
            pushed.set()

    with server_of(base_dir) as running, ThreadPoolExecutor(NUM_CLIENTS + 1) as pool:
        start = time.perf_counter()
        futures = [pool.submit(client, kind) for kind in ["REST", "gRPC"] * (NUM_CLIENTS // 2)]
        futures.append(pool.submit(push))
        for future in futures:
            future.result()
        seconds = time.perf_counter() - start
        wait_until(lambda: [it.state for it in running.statuses().values()] == [AVAILABLE] + [END] * NUM_PUSHES)
    total = sum(map(len, latencies.values()))
    assert total >= NUM_REQUESTS
    assert versions == set(range(1, 2 + NUM_PUSHES))
    with capsys.disabled():
        print(
            f"\n{total} requests from {NUM_CLIENTS} clients across {NUM_PUSHES} pushes: {total / seconds:.0f}/s;",
            end="",
        )
        for kind, values in latencies.items():
            p50, p99 = np.percentile(values, [50, 99]) * 1000
            print(f" {kind} p50 {p50:.1f} ms, p99 {p99:.1f} ms;", end="")


def test_promotion_and_rollback_take_effect_on_a_running_server(base_dir, model, capsys):
    model.push(base_dir, 2)
    with server_of(base_dir) as running:
        assert running.served_version() == 2
        assign_label(base_dir, 1, "stable")
        assign_label(base_dir, 2, "canary")
        wait_until(lambda: running.curl("/reference/labels/canary/metadata")[0] == 200)
        assert (running.served_version("stable"), running.served_version("canary")) == (1, 2)
        assign_label(base_dir, 2, "stable")
        wait_until(lambda: running.served_version("stable") == 2)
        start = time.perf_counter()
        rollback(base_dir)
        wait_until(lambda: running.served_version() == running.served_version("stable") == 1)
        seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f"\nThe rollback took effect after {seconds:.2f} s", end="")


def test_a_version_that_does_not_load_never_takes_the_served_one_away(base_dir, model):
    def lose_variables(model_dir):
        shutil.rmtree(model_dir / "variables")

    def spoil_warmup(model_dir):
        (model_dir / WARMUP_FILE).write_bytes(b"no TFRecord" * 10)

    with server_of(base_dir) as running:
        model.push(base_dir, 2, lambda model_dir: (model_dir / "saved_model.pb").unlink())
        for version, change in ((3, lose_variables), (4, spoil_warmup)):
            model.push(base_dir, version, change)
            wait_until(lambda version=version: version in running.statuses())
            wait_until(lambda version=version: running.statuses()[version].state == END)
            assert running.served_version() == 1
            assert running.curl("/reference:predict", features_of(model.rows[0]))[0] == 200
        statuses = running.statuses()
        assert {version: it.state for version, it in statuses.items()} == {1: AVAILABLE, 3: END, 4: END}
        assert re.search("Could not find variable", statuses[3].status.error_message)
        assert re.match(f"{WARMUP_FILE}: .*corrupt", statuses[4].status.error_message)
        shutil.copy(model.model_dir / WARMUP_FILE, base_dir / "4" / WARMUP_FILE)
        wait_until(lambda: running.served_version() == 4)


def test_a_server_waits_for_the_first_version_and_keeps_what_it_has(tmp_path, model):
    base_dir = tmp_path / "reference"
    with server_of(base_dir) as running:
        assert running.curl("/reference")[0] == running.curl("/reference:predict", {"instances": [1]})[0] == 404
        base_dir.mkdir()
        model.push(base_dir, 1)
        wait_until(lambda: running.curl("/reference")[0] == 200)
        wait_until(lambda: running.statuses()[1].state == AVAILABLE)
        base_dir.rename(tmp_path / "away")
        wait_until(lambda: any("is not there. What is served stays." in line for line in running.lines[3:]))
        assert running.served_version() == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server(base_dir, number):
    with server_of(base_dir) as running, requests.Session() as session:
        assert session.get(f"{running.url}/reference").status_code == 200
        running.process.send_signal(number)
        assert running.process.wait(timeout=30) == 0
        running.reader.join()
        assert running.lines[-2:] == ["Stopping.", "version 1 is unloaded"]


def test_the_flags_of_tensorflow_model_server_start_it(base_dir, model, tmp_path):
    assign_label(base_dir, 1, "stable")
    binary = tmp_path / engine.MODEL_SERVER
    binary.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipeline.serving.server "$@"\n')
    binary.chmod(0o755)
    command = engine.model_server_command(base_dir, rest_port=0, grpc_port=0)
    with Server(base_dir, [str(binary), *command[1:]]) as running:
        assert running.served_version("stable") == 1
