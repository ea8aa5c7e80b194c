"""The parts of Kubeflow Pipelines' v2beta1 HTTP API that `sluice submit` uses; it takes the official models alone."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kfp_server_api
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

ROOT = "/apis/v2beta1"
_TYPES = {"str": str, "int": int, "bool": bool, "datetime": str, "object": dict}


def check_model(name, value):
    """Raises ValueError unless a JSON value has the fields and types of a model of kfp_server_api."""
    if items := re.fullmatch(r"list\[(.*)\]|dict\(str, (.*)\)", name):
        for item in value if items[1] else value.values():
            check_model(items[1] or items[2], item)
        return
    model = getattr(kfp_server_api, name, None)
    if name in _TYPES or not model.openapi_types:  # an enum
        if name == "object" and not isinstance(value, dict):
            return  # the value of a parameter
        if not isinstance(value, _TYPES.get(name, str)) or (model and value not in model.allowable_values):
            raise ValueError(f"{value!r} is no {name}")
        return
    fields = {key: model.openapi_types[attribute] for attribute, key in model.attribute_map.items()}
    for key, item in value.items():
        if key not in fields:
            raise ValueError(f"{name} has no field {key}")
        is_int64 = key == "max_concurrency"  # which protobuf's JSON takes as a number too
        check_model("int" if is_int64 else fields[key], item)


def check_pipeline(body):
    spec = body["pipeline_spec"]
    json_format.ParseDict(spec.get("pipeline_spec", spec), PipelineSpec())
    json_format.ParseDict(spec.get("platform_spec", {}), PlatformSpec())


class FakeKubeflowApi:
    """Answers on `host`; `requests` holds what came in.

    Attributes:
        requests: Method and URL, and body, of each request but those for a state.
        tokens: The `Authorization` of each request.
        experiments: Those that there are.
        runs: What GET of a run answers, one after the other; the last one stays.
        refusal: Status, headers and body with which requests are refused, if any.
    """

    def __init__(self):
        self.requests, self.tokens, self.experiments, self.runs, self.refusal = [], [], [], [], None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self.host = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method, path, body):
        """Returns the answer to a request; raises ValueError if the API would not take it."""
        resource = path.partition("?")[0].removeprefix(ROOT)
        if method == "GET" and resource.startswith("/runs/"):
            return self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]
        self.requests.append((f"{method} {self.host}{path}", body))
        if (method, resource) == ("GET", "/experiments"):
            return {"experiments": self.experiments}
        if (method, resource) == ("POST", "/experiments"):
            check_model("V2beta1Experiment", body)
            self.experiments.append({**body, "experiment_id": "EXPERIMENT_ID"})
            return self.experiments[-1]
        if body["experiment_id"] not in [experiment["experiment_id"] for experiment in self.experiments]:
            raise ValueError(f"there is no experiment {body['experiment_id']}")
        check_pipeline(body)
        if (method, resource) == ("POST", "/runs"):
            check_model("V2beta1Run", body)
            return {**body, "run_id": "RUN_ID"}
        check_model("V2beta1RecurringRun", body)
        return {**body, "recurring_run_id": "RECURRING_RUN_ID"}


def _make_handler(api):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(None)

        def do_POST(self):
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body):
            api.tokens.append(self.headers["Authorization"])
            status, headers, answer = api.refusal or (200, {}, None)
            if answer is None:
                try:
                    answer = json.dumps(api.answer(self.command, self.path, body))
                except ValueError as err:
                    status, answer = 400, json.dumps({"code": 3, "message": str(err)})
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_):
            pass

    return Handler
