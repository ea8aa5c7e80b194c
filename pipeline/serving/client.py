"""Clients of TF Serving's REST and gRPC APIs. Runs in the process of `sluice predict`; REST needs no TensorFlow.

TF Serving's guide "RESTful API"; tensorflow_serving/apis/prediction_service.proto. A client stays with the version that
answered it first, so that one file is predicted by one model.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

Array = npt.NDArray[Any]

GRPC_SCHEME = "grpc://"
SCHEMES = ("http://", "https://", GRPC_SCHEME)
_SIGNATURE = "serving_features"
_LARGEST_VERSION = 2**63 - 1
_CONNECT_SECS = 5.0
_NUM_RETRIES = 3
_FIRST_PAUSE_SECS = 0.2
_RETRY_UNAVAILABLE = {
    "methodConfig": [
        {
            "name": [{"service": "tensorflow.serving.PredictionService"}],
            "retryPolicy": {
                "maxAttempts": _NUM_RETRIES + 1,
                "initialBackoff": f"{_FIRST_PAUSE_SECS}s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class ServerError(RuntimeError):
    """What a server answered instead of predictions, or that it did not.

    Attributes:
        status: HTTP's or gRPC's status, `404` or `NOT_FOUND`; empty where the server could not be reached.
    """

    def __init__(self, message: str, status: str = "") -> None:
        super().__init__(message)
        self.status = status


class Client(Protocol):
    """A client of one version of a model.

    Attributes:
        version: The version that answers.
    """

    version: int

    def predict(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Predicts rows.

        Args:
            columns: A tensor `[num_rows, 1]` per raw feature.

        Returns:
            The outputs of the signature `serving_features` by name, strings as object arrays of `str`.

        Raises:
            ServerError: If the server cannot be reached, does not answer in time or refuses.
        """


def connect(server: str, model_name: str, version: str = "") -> Client:
    """Finds out which version answers.

    Args:
        server: `http://HOST:PORT`, `https://HOST:PORT` or `grpc://HOST:PORT`.
        model_name: The model's name on the server.
        version: A version's number or label; what the server chooses unless given.

    Raises:
        ServerError: If the server cannot be reached or has no such version.
    """
    if version.isdecimal() and (len(version) > len(str(_LARGEST_VERSION)) or int(version) > _LARGEST_VERSION):
        raise ServerError(f"no server has a version above {_LARGEST_VERSION}. Received: {version[:40]}.")
    if server.startswith(GRPC_SCHEME):
        return GrpcClient(server.removeprefix(GRPC_SCHEME), model_name, version=version)
    return RestClient(server, model_name, version=version)


class RestClient:
    """A `Client` that speaks REST."""

    def __init__(self, url: str, model_name: str, *, version: str = "", timeout_secs: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = (_CONNECT_SECS, timeout_secs)
        self._session = requests.Session()
        retries = Retry(
            connect=_NUM_RETRIES,
            read=False,
            status=_NUM_RETRIES,
            status_forcelist=[503],
            allowed_methods=None,
            backoff_factor=_FIRST_PAUSE_SECS,
            raise_on_status=False,
        )
        self._session.mount(self._url, HTTPAdapter(max_retries=retries))
        model_path = f"/v1/models/{model_name}"
        kind = "versions" if version.isdecimal() else "labels"
        path = f"{model_path}/{kind}/{quote(version, safe='')}" if version else model_path
        metadata = self._call("GET", f"{path}/metadata")
        try:
            self.version = int(metadata["model_spec"]["version"])
        except (KeyError, TypeError, ValueError) as err:
            raise ServerError(f"{url} does not answer as TF Serving does: {str(metadata)[:200]}") from err
        self._predict_path = f"{model_path}/versions/{self.version}:predict"

    def predict(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """As `Client.predict`."""
        inputs = {name: column.tolist() for name, column in columns.items()}
        answer = self._call("POST", self._predict_path, {"signature_name": _SIGNATURE, "inputs": inputs})
        if not isinstance(answer, dict) or not isinstance(answer.get("outputs"), dict):
            raise ServerError(f"{self._url} does not answer as TF Serving does: {str(answer)[:200]}")
        outputs = {name: np.array(values) for name, values in answer["outputs"].items()}
        return {
            name: array.astype(object if array.dtype.kind == "U" else np.float32) for name, array in outputs.items()
        }

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        url = self._url + path
        data = json.dumps(body) if body else None  # `json=body` would refuse NaN, which TF Serving reads
        try:
            response = self._session.request(method, url, data=data, timeout=self._timeout)
        except requests.Timeout as err:
            raise ServerError(f"{url} did not answer within {self._timeout[1]:g} s.") from err
        except requests.RequestException as err:
            raise ServerError(f"{url} cannot be reached. Does the server run there?") from err
        try:
            answer = response.json()
        except json.JSONDecodeError as err:
            text = f"{url} answered {response.status_code} with what is no JSON: {response.text[:200]!r}"
            raise ServerError(text, str(response.status_code)) from err
        if not response.ok:
            reason = answer.get("error", answer) if isinstance(answer, dict) else answer
            raise ServerError(f"{url} answered {response.status_code}: {reason}", str(response.status_code))
        return answer


class GrpcClient:
    """A `Client` that speaks gRPC, on TF Serving's own stubs."""

    def __init__(self, address: str, model_name: str, *, version: str = "", timeout_secs: float = 60.0) -> None:
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

        self._address = address
        self._timeout_secs = timeout_secs
        channel = grpc.insecure_channel(address, [("grpc.service_config", json.dumps(_RETRY_UNAVAILABLE))])
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._new_request = predict_pb2.PredictRequest
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = model_name
        if version.isdecimal():
            request.model_spec.version.value = int(version)
        elif version:
            request.model_spec.version_label = version
        self._model_spec = self._call(self._stub.GetModelMetadata, request).model_spec
        self._model_spec.signature_name = _SIGNATURE
        self.version = int(self._model_spec.version.value)

    def predict(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """As `Client.predict`."""
        import tensorflow as tf

        request = self._new_request(model_spec=self._model_spec)
        for name, column in columns.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(column))
        response = self._call(self._stub.Predict, request)
        outputs = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
        return {name: _decoded(array) if array.dtype == object else array for name, array in outputs.items()}

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=self._timeout_secs)
        except grpc.RpcError as err:
            status = err.code().name
            message = f"{GRPC_SCHEME}{self._address} answered {status}: {err.details()}"
            raise ServerError(message, status) from err


def _decoded(array: Array) -> Array:
    return np.array([text.decode() for text in array.flat], object).reshape(array.shape)
