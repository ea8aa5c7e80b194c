"""Clients against servers of their own that answer what TF Serving answers."""

import contextlib
import json
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from pipeline.prediction.predictors import ServerPredictor
from pipeline.serving.client import GrpcClient, RestClient, ServerError, connect

METADATA = {"model_spec": {"name": "m", "signature_name": "", "version": "7"}, "metadata": {}}


class Rest:
    """A REST server that answers from a script, then as a model whose class is the sign of `x`."""

    def __init__(self):
        self.script = []  # (status, body) of the next answers
        self.requests = []

    def answer(self, path, body):
        self.requests.append((path, body))
        if self.script:
            return self.script.pop(0)
        if body is None:
            return 200, json.dumps(METADATA)
        positive = [float(value > 0) for (value,) in body["inputs"]["x"]]
        probabilities = [[1 - p, p] for p in positive]
        return 200, json.dumps({"outputs": {"classes": [["-", "+"]] * len(positive), "probabilities": probabilities}})


@contextlib.contextmanager
def rest_server():
    rest = Rest()

    class Handler(BaseHTTPRequestHandler):
        def reply(self, body):
            status, text = rest.answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self):
            self.reply(None)

        def do_POST(self):
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield rest, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def rest():
    with rest_server() as server:
        yield server


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The same over gRPC."""

    def __init__(self):
        self.script = []  # (status, details) of the next answers
        self.specs = []

    def GetModelMetadata(self, request, context):  # noqa: N802
        self._follow_script(request, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = 7
        return response

    def Predict(self, request, context):  # noqa: N802
        self._follow_script(request, context)
        positive = (tf.make_ndarray(request.inputs["x"]) > 0).astype(np.float32)
        response = predict_pb2.PredictResponse()
        response.outputs["probabilities"].CopyFrom(tf.make_tensor_proto(np.hstack([1 - positive, positive])))
        response.outputs["classes"].CopyFrom(tf.make_tensor_proto([[b"-", b"+"]] * len(positive)))
        return response

    def _follow_script(self, request, context):
        self.specs.append(request.model_spec)
        if self.script:
            context.abort(*self.script.pop(0))


@pytest.fixture
def service():
    service = Service()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"127.0.0.1:{port}"
    server.stop(None).wait()


def check_answer(client):
    answer = client.predict({"x": np.array([[-1.5], [2]], np.float32)})
    np.testing.assert_array_equal(answer["probabilities"], np.float32([[1, 0], [0, 1]]))
    assert answer["classes"].tolist() == [["-", "+"], ["-", "+"]]
    assert client.version == 7


def test_rest_predicts_with_the_version_that_answered_first(rest):
    server, url = rest
    check_answer(connect(url + "/", "m"))
    assert server.requests == [
        ("/v1/models/m/metadata", None),
        ("/v1/models/m/versions/7:predict", {"signature_name": "serving_features", "inputs": {"x": [[-1.5], [2.0]]}}),
    ]


@pytest.mark.parametrize(("version", "path"), [("5", "versions/5"), ("stable", "labels/stable")])
def test_rest_asks_for_a_version_or_label(rest, version, path):
    server, url = rest
    RestClient(url, "m", version=version)
    assert server.requests == [(f"/v1/models/m/{path}/metadata", None)]


def test_rest_tries_again_while_the_server_is_unavailable(rest):
    server, url = rest
    server.script = [(503, "{}"), (503, "{}")]
    check_answer(RestClient(url, "m"))
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        ((404, '{"error": "Servable not found"}'), "404", r"/v1/models/m/metadata answered 404: Servable not found$"),
        ((400, '["odd"]'), "400", r"answered 400: \['odd'\]$"),
        ((502, "<html>"), "502", r"answered 502 with what is no JSON: '<html>'$"),
        ((200, "hello"), "200", r"answered 200 with what is no JSON: 'hello'$"),
    ],
)
def test_rest_error_has_status_and_text_and_is_not_tried_again(rest, answer, status, message):
    server, url = rest
    server.script = [answer]
    with pytest.raises(ServerError, match=message) as info:
        RestClient(url, "m")
    assert info.value.status == status
    assert len(server.requests) == 1


def test_rest_server_that_is_not_there_is_told():
    with rest_server() as (_, url):
        pass
    with pytest.raises(ServerError, match=r"/v1/models/m/metadata cannot be reached\. Does the server run there\?"):
        RestClient(url, "m")


def test_rest_server_that_hangs_is_given_up(rest):
    server, url = rest
    client = RestClient(url, "m", timeout_secs=0.2)
    release = threading.Event()
    server.answer = lambda path, body: (release.wait(30), (200, "{}"))[1]
    try:
        with pytest.raises(ServerError, match=r":predict did not answer within 0\.2 s\."):
            client.predict({"x": np.array([[1.0]])})
    finally:
        release.set()


def test_grpc_predicts_with_the_version_that_answered_first(service):
    server, address = service
    check_answer(connect(f"grpc://{address}", "m"))
    assert [(spec.name, spec.version.value, spec.signature_name) for spec in server.specs] == [
        ("m", 0, ""),
        ("m", 7, "serving_features"),
    ]


def test_grpc_asks_for_a_version_or_label(service):
    server, address = service
    GrpcClient(address, "m", version="5")
    GrpcClient(address, "m", version="stable")
    assert [(spec.version.value, spec.version_label) for spec in server.specs] == [(5, ""), (0, "stable")]


def test_grpc_tries_again_while_the_server_is_unavailable(service):
    server, address = service
    server.script = [(grpc.StatusCode.UNAVAILABLE, "soon")] * 2
    check_answer(GrpcClient(address, "m"))
    assert len(server.specs) == 4


def test_grpc_error_has_status_and_text_and_is_not_tried_again(service):
    server, address = service
    server.script = [(grpc.StatusCode.NOT_FOUND, "Servable not found")]
    with pytest.raises(ServerError, match=rf"grpc://{address} answered NOT_FOUND: Servable not found$") as info:
        GrpcClient(address, "m")
    assert info.value.status == "NOT_FOUND"
    assert len(server.specs) == 1


def test_server_predicts_many_requests_in_order(service):
    server, address = service
    predictor = ServerPredictor(GrpcClient(address, "m"))
    x = np.random.default_rng(0).normal(size=(5000, 1)).astype(np.float32)
    predictions = predictor.predict({"x": x})
    assert len(server.specs) == 1 + 5
    assert predictions.class_names == ("-", "+")
    np.testing.assert_array_equal(predictions.probabilities[:, 1], x[:, 0] > 0)
