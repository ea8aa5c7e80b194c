"""Tries a candidate in `tensorflow_model_server`, where there is one. Runs in InfraValidator's process."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.infra_validator.loader import Array

BINARY = "tensorflow_model_server"
_NAME = "candidate"
_STATE = get_model_status_pb2.ModelVersionStatus
_POLL_SECS = 0.1


class ModelServerError(RuntimeError):
    """The server would not serve the model, or not answer."""


def served_logits(binary: str, model_dir: str, examples: Sequence[bytes], *, timeout_secs: float) -> Array:
    """Returns the logits that a model server gives for rows, float32 `[num_rows, C]`.

    Args:
        binary: Path of `tensorflow_model_server`.
        model_dir: Local folder of the SavedModel.
        examples: Serialized tf.Examples.
        timeout_secs: After which the server is given up.

    Raises:
        ModelServerError: If it does not load the model in time, or refuses the request.
    """
    deadline = time.monotonic() + timeout_secs
    with _server(binary, model_dir) as (process, channel):
        _wait_until_available(process, channel, deadline)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = _NAME
        request.inputs["examples"].CopyFrom(tf.make_tensor_proto(list(examples), tf.string))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            answer = stub.Predict(request, timeout=max(1.0, deadline - time.monotonic()))
        except grpc.RpcError as err:
            raise ModelServerError(f"{BINARY} refused eval rows: {err.code().name}: {err.details()}") from err
        return np.asarray(tf.make_ndarray(answer.outputs["logits"]))


@contextlib.contextmanager
def _server(binary: str, model_dir: str) -> Iterator[tuple[subprocess.Popen[bytes], grpc.Channel]]:
    with tempfile.TemporaryDirectory() as base_dir, socket.socket() as reserved:
        shutil.copytree(model_dir, os.path.join(base_dir, "1"))
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        reserved.close()
        process = subprocess.Popen([binary, f"--port={port}", f"--model_name={_NAME}", f"--model_base_path={base_dir}"])
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])
        try:
            yield process, channel
        finally:
            channel.close()
            process.kill()
            process.wait()


def _wait_until_available(process: subprocess.Popen[bytes], channel: grpc.Channel, deadline: float) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = _NAME
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ModelServerError(f"{BINARY} ended with exit code {process.returncode}")
        with contextlib.suppress(grpc.RpcError):  # it does not listen yet
            for status in stub.GetModelStatus(request, timeout=1).model_version_status:
                if status.state == _STATE.AVAILABLE:
                    return
                if status.status.error_code:
                    raise ModelServerError(f"{BINARY} cannot load the model: {status.status.error_message}")
        time.sleep(_POLL_SECS)
    raise ModelServerError(f"{BINARY} did not load the model in time")
