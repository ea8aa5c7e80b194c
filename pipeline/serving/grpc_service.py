"""TF Serving's gRPC services on its official stubs. Runs in the development server."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from pipeline.serving.models import ServedModel
from pipeline.serving.servable import DEFAULT_SIGNATURE
from pipeline.serving.status import INTERNAL_ERROR, ServingError, invalid_argument
from pipeline.serving.tensors import examples_of, inputs_of, to_tensor_proto


def add_services(server: grpc.Server, model: ServedModel) -> None:
    """Adds PredictionService and ModelService to a server."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(model), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(model), server)


def _with_status(method: Callable[..., Any]) -> Callable[..., Any]:
    """Answers a ServingError with its status."""

    @functools.wraps(method)
    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except ServingError as err:
            error = err
        except Exception:  # a client gets no traceback
            logging.exception("%s failed.", method.__name__)
            error = ServingError(grpc.StatusCode.INTERNAL, INTERNAL_ERROR)
        return context.abort(error.code, error.details)

    return answer


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: ServedModel) -> None:
        self._model = model

    @_with_status
    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> Any:
        """Runs a signature."""
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        with self._model.use(*_spec(request)) as servable:
            outputs = servable.predict(name, inputs_of(request), request.output_filter)
        response = predict_pb2.PredictResponse(model_spec=_answered_by(request, servable.version, name))
        for alias, array in outputs.items():
            response.outputs[alias].CopyFrom(to_tensor_proto(array))
        return response

    @_with_status
    def Classify(self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext) -> Any:
        """Classifies tf.Examples."""
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        with self._model.use(*_spec(request)) as servable:
            classes, scores = servable.classify(name, examples_of(request.input))
        response = classification_pb2.ClassificationResponse(model_spec=_answered_by(request, servable.version, name))
        for labels, values in zip(classes.tolist(), scores.tolist(), strict=True):
            row = response.result.classifications.add()
            for label, score in zip(labels, values, strict=True):
                row.classes.add(label=label, score=score)
        return response

    @_with_status
    def Regress(self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext) -> Any:
        """Refuses."""
        with self._model.use(*_spec(request)) as servable:
            servable.regress(request.model_spec.signature_name)

    @_with_status
    def MultiInference(self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext) -> Any:
        """Refuses."""
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, "The development server has no MultiInference.")

    @_with_status
    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> Any:
        """Tells the signatures."""
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for metadata_field in request.metadata_field:
            if metadata_field != "signature_def":
                raise invalid_argument(f"Metadata field {metadata_field} is not supported")
        with self._model.use(*_spec(request)) as servable:
            spec = _answered_by(request, servable.version)
            response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=spec)
            response.metadata["signature_def"].Pack(servable.signature_defs)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, model: ServedModel) -> None:
        self._model = model

    @_with_status
    def GetModelStatus(self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext) -> Any:
        """Tells the state of every version."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        statuses = self._model.statuses(spec.name, version)
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=statuses)

    @_with_status
    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> Any:
        """Refuses; the server follows `models.config`."""
        message = "The development server reads models.config by itself: use `sluice versions`."
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, message)


def _spec(request: Any) -> tuple[str, int | None, str]:
    """Returns model, version and label of a request.

    Raises:
        ServingError: If it names no model.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    return spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label


def _answered_by(request: Any, version: int, signature_name: str = "") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=request.model_spec.name, signature_name=signature_name)
    spec.version.value = version
    return spec
