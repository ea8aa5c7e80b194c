"""TF Serving's REST API as a WSGI application. Runs in the development server.

Routes, order of checks and codes are those of http_rest_api_util.cc and http_rest_api_handler.cc; the page "RESTful
API" of TF Serving's guide documents the bodies.
"""

import json
import logging
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_status_pb2
from werkzeug.wrappers import Request, Response

from pipeline.serving import json_examples, json_predict
from pipeline.serving.json_values import parse_object, to_json
from pipeline.serving.models import ServedModel
from pipeline.serving.servable import DEFAULT_SIGNATURE, Array, Servable
from pipeline.serving.status import INTERNAL_ERROR, MAX_REQUEST_BYTES, ServingError, invalid_argument

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(_MODEL + ":(?P<verb>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(_MODEL + "(?P<metadata>/metadata)?", re.IGNORECASE)
_MAX_VERSION = (1 << 63) - 1
_MAX_VERSION_DIGITS = len(str(_MAX_VERSION))


class RestApi:
    """Answers HTTP requests for one model.

    Attributes:
        is_stopping: Set to turn new requests away, those on open connections too.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self.is_stopping = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers one request (PEP 3333)."""
        request = Request(environ)
        try:
            response = self._answer(request)
        except ServingError as err:
            response = _response(json.dumps({"error": str(err)}, indent=4), err.http_status)
        except Exception:  # a client gets no traceback
            logging.exception("%s %s failed.", request.method, request.path)
            response = _response(json.dumps({"error": INTERNAL_ERROR}, indent=4), 500)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if self.is_stopping:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "The server is stopping.")
        target = request.environ["REQUEST_URI"]  # undecoded, with the query, as TF Serving matches it
        if not target.lower().startswith("/v1/"):
            return _response(
                json.dumps({"error": f"Not found: {target}. The API is under /v1/models/."}, indent=4), 404
            )
        if (request.content_length or 0) > MAX_REQUEST_BYTES:
            text = (
                f"The body has {request.content_length} bytes; at most {MAX_REQUEST_BYTES} are read. Send fewer rows."
            )
            return _response(json.dumps({"error": text}, indent=4), 413)
        if request.method == "POST" and (match := _POST.fullmatch(target)):
            return self._infer(match, request.get_data())
        if request.method == "GET" and (match := _GET.fullmatch(target)):
            return self._metadata(match) if match["metadata"] else self._status(match)
        if request.method == "GET" and target.lower() == "/v1/models":
            raise invalid_argument(f"Missing model name in request. This server has the model {self._model.name}.")
        raise invalid_argument(
            f"Malformed request: {request.method} {target}. Wanted: GET /v1/models/{self._model.name}"
            "[/versions/N|/labels/L][/metadata], or POST with :predict or :classify at the end."
        )

    def _infer(self, match: re.Match[str], body: bytes) -> Response:
        document = parse_object(body)
        name = document.get("signature_name", "")
        examples = [] if match["verb"] == "predict" else json_examples.examples_of(document)
        with self._model.use(*_spec(match)) as servable:
            if match["verb"] == "predict":
                answer = _predict(servable, name, document)
            elif match["verb"] == "classify":
                answer = {"results": _pairs(*servable.classify(name, examples))}
            else:
                servable.regress(name)
        text = json.dumps(answer, ensure_ascii=False)
        return _response(text.encode(errors="surrogateescape"), 200)

    def _status(self, match: re.Match[str]) -> Response:
        name, version, _ = _spec(match)  # TF Serving ignores the label here
        statuses = self._model.statuses(name, version)
        return _message(get_model_status_pb2.GetModelStatusResponse(model_version_status=statuses))

    def _metadata(self, match: re.Match[str]) -> Response:
        with self._model.use(*_spec(match)) as servable:
            spec = {"name": self._model.name, "signature_name": "", "version": str(servable.version)}
            definitions = _to_dict(servable.signature_defs)
        document = {"model_spec": spec, "metadata": {"signature_def": definitions}}
        return _response(json.dumps(document, indent=1) + "\n", 200)


def _spec(match: re.Match[str]) -> tuple[str, int | None, str]:
    digits = (match["version"] or "").lstrip("0")
    if len(digits) > _MAX_VERSION_DIGITS or int(digits or 0) > _MAX_VERSION:
        raise invalid_argument(f"Failed to convert version: {match['version'][:_MAX_VERSION_DIGITS]} to numeric.")
    version = int(digits or 0) if match["version"] else None
    return unquote(match["name"]), version, unquote(match["label"] or "")


def _predict(servable: Servable, name: str, document: dict[str, Any]) -> dict[str, Any]:
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        have = ", ".join(sorted(servable.signatures))
        raise invalid_argument(
            f'Serving signature name: "{name}" not found in signature def. Version {servable.version} has: {have}.'
        )
    inputs = json_predict.inputs_of(document, servable.signatures[name])
    return json_predict.outputs_to_json(servable.predict(name, inputs), in_rows="instances" in document)


def _pairs(classes: Array, scores: Array) -> list[list[list[Any]]]:
    """Returns `[label, score]` of every class of every row."""
    rows = zip(to_json(classes, "classes"), to_json(scores, "scores"), strict=True)
    return [[list(pair) for pair in zip(*row, strict=True)] for row in rows]


def _message(message: Message) -> Response:
    return _response(json.dumps(_to_dict(message), indent=1) + "\n", 200)


def _to_dict(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _response(body: str | bytes, status: int) -> Response:
    return Response(body, status, content_type="application/json")
