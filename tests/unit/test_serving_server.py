import contextlib
import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from pipeline.serving.models import ServedModel
from pipeline.serving.servable import Servable
from pipeline.serving.server import HOST, main, running_server
from pipeline.serving.tensors import to_tensor_proto

ROWS = {"instances": [1.0, 2.0]}


@pytest.fixture
def model(tmp_path, saved_model):
    shutil.copytree(saved_model, tmp_path / "doubler" / "1")
    return ServedModel("doubler", tmp_path / "doubler", lambda text: None)


def predict_rest(ports):
    return requests.post(f"http://{HOST}:{ports.rest}/v1/models/doubler:predict", json=ROWS)


def predict_grpc(ports):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "doubler"
    request.inputs["x"].CopyFrom(to_tensor_proto(np.array(ROWS["instances"], np.float32)))
    with grpc.insecure_channel(f"{HOST}:{ports.grpc}") as channel:
        return list(prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request).outputs["y"].float_val)


def is_open(ports):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "doubler"
    with grpc.insecure_channel(f"{HOST}:{ports.grpc}") as channel, contextlib.suppress(grpc.RpcError):
        return bool(model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=60))
    return False


def test_requests_under_way_are_answered_before_the_server_stops(model, monkeypatch):
    predict, under_way, may_go_on = Servable.predict, threading.Semaphore(0), threading.Event()

    def predict_slowly(*arguments):
        under_way.release()
        may_go_on.wait(60)
        return predict(*arguments)

    monkeypatch.setattr(Servable, "predict", predict_slowly)
    with ThreadPoolExecutor() as pool:
        running = contextlib.ExitStack()
        ports = running.enter_context(running_server(model, rest_port=0, grpc_port=0, poll_secs=60.0))
        rest, over_grpc = pool.submit(predict_rest, ports), pool.submit(predict_grpc, ports)
        assert under_way.acquire(timeout=60)
        assert under_way.acquire(timeout=60)
        stopped = pool.submit(running.close)
        while is_open(ports):
            assert not stopped.done()
        may_go_on.set()
        assert rest.result(timeout=60).json() == {"predictions": [2.0, 4.0]}
        assert over_grpc.result(timeout=60) == [2.0, 4.0]
        stopped.result(timeout=60)
    with pytest.raises(requests.ConnectionError):
        predict_rest(ports)


def test_a_taken_port_is_an_error(model):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        for ports in ({"rest_port": port, "grpc_port": 0}, {"rest_port": 0, "grpc_port": port}):
            with (
                pytest.raises(OSError, match=f"^Port {port} cannot be used: "),
                running_server(model, poll_secs=1.0, **ports),
            ):
                pass


def test_a_folder_must_be_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--port=0"])
    assert "Both model_base_path and model_config_file are empty!" in capsys.readouterr().err
