"""The API of Kubeflow Pipelines 2, through `kfp.Client`. Runs in `sluice submit`."""

import contextlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import kfp.client
import kfp_server_api
import urllib3
import yaml
from kfp_server_api import rest

from pipeline.deployment_config import KubeflowConfig
from pipeline.submission.api import (
    CANCELLED,
    REQUEST_TIMEOUT_SECS,
    ApiError,
    Request,
    RunStatus,
    Submitted,
    TaskStatus,
    first_line,
    seconds_between,
)
from pipeline.submission.submission import Submission

_TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
_LOGIN = f". It needs a login: put a token into a file and its path into {_TOKEN_VARIABLE}."
_ANSWERS = {
    "/experiments": {"experiment_id": "EXPERIMENT_ID"},
    "/runs": {"run_id": "RUN_ID"},
    "/recurringruns": {"recurring_run_id": "RECURRING_RUN_ID"},
}


class KubeflowApi:
    """An installation of Kubeflow Pipelines.

    Args:
        config: Has at least the host.
        requests: Gets the requests, which are then not sent; none are recorded if None.
    """

    def __init__(self, config: KubeflowConfig, requests: list[Request] | None = None) -> None:
        self._config = config
        self._host = (config.host or "").rstrip("/")
        self._client = _make_client(self._host, is_dry_run=requests is not None)
        api_client = self._client._run_api.api_client  # kfp.Client has no other way to bound its waits
        api_client.configuration.retries = False
        settings = api_client.configuration
        api_client.rest_client = _Sender(settings) if requests is None else _Recorder(settings, requests)

    def submit(self, submission: Submission) -> Submitted:
        """Creates the experiment if there is none of its name, and a run or a recurring run in it; see `Api`."""
        config = self._config
        experiment = config.experiment or submission.pipeline_name
        with tempfile.TemporaryDirectory() as folder, self._api_errors():
            spec_file = Path(folder, "pipeline.yaml")
            documents = [submission.spec, submission.platform] if submission.platform else [submission.spec]
            spec_file.write_text(yaml.safe_dump_all(documents))
            arguments = {
                "experiment_id": self._client.create_experiment(experiment, namespace=config.namespace).experiment_id,
                "job_name": submission.run_name,
                "pipeline_package_path": str(spec_file),
                "params": dict(submission.parameters),
                "pipeline_root": config.pipeline_root,
                "service_account": config.service_account,
            }
            if config.schedule is None:
                run_id = self._client.run_pipeline(**arguments).run_id
                return self._submitted(run_id, f"runs/details/{run_id}", f"POST {self._url}/runs/{run_id}:terminate")
            recurring_run_id = self._client.create_recurring_run(
                # Kubeflow's cron begins with a field of seconds; robfig/cron 1.2 reads five fields without the last.
                cron_expression=f"0 {config.schedule.cron}",
                max_concurrency=config.schedule.max_concurrent_runs,
                no_catchup=True,
                **arguments,
            ).recurring_run_id
        link = f"recurringrun/details/{recurring_run_id}"
        return self._submitted(recurring_run_id, link, f"DELETE {self._url}/recurringruns/{recurring_run_id}")

    @property
    def _url(self) -> str:
        return f"{self._host}/apis/v2beta1"

    def _submitted(self, name: str, page: str, cancel: str) -> Submitted:
        ui = os.environ.get("KF_PIPELINES_UI_ENDPOINT", self._host).rstrip("/")
        return Submitted(name, f"{ui}/#/{page}", f"curl -X {cancel}")

    def status(self, submitted: Submitted) -> RunStatus:
        """Gets a run; see `Api`."""
        with self._api_errors():
            run = self._client.get_run(submitted.name)
        details = (run.run_details and run.run_details.task_details) or ()
        return RunStatus(_word(run.state), [_task_status(detail) for detail in details], _message(run.error))

    @contextlib.contextmanager
    def _api_errors(self) -> Iterator[None]:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # kfp.Client prints links of its own
                yield
        except urllib3.exceptions.HTTPError as err:
            raise ApiError(f"{self._host} cannot be reached: {first_line(str(err)).split(': ', 1)[-1]}") from err
        except kfp_server_api.ApiException as err:
            if not err.status:  # TLS
                raise ApiError(f"{self._host} cannot be reached: {' '.join(err.reason.split())}") from err
            reasons = [f"{self._host} answers {err.status} {err.reason}", _explanation(err)]
            login = _LOGIN if err.status in (302, 303, 307, 401) else ""
            raise ApiError(": ".join(filter(None, reasons)) + login) from err
        except OSError as err:
            raise ApiError(f"{err.filename}: cannot be read: {err.strerror}. {_TOKEN_VARIABLE} names it.") from err
        except ValueError as err:  # kfp.Client's own checks
            raise ApiError(f"{self._host}: {first_line(str(err))}") from err


class _Client(kfp.client.Client):
    def get_kfp_healthz(self, sleep_duration: int = 5) -> kfp_server_api.V2beta1GetHealthzResponse:
        """Spares the constructor a request with retries of its own: it would look for a namespace, which is given."""
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)


def _make_client(host: str, *, is_dry_run: bool) -> _Client:
    login: dict[str, Any] = {}
    if is_dry_run:
        login["existing_token"] = "none"  # without one, kfp.Client may go and fetch it
    elif _TOKEN_VARIABLE in os.environ:
        login["credentials"] = kfp.client.ServiceAccountTokenVolumeCredentials()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _Client(host=host, **login)


class _Sender(rest.RESTClientObject):
    def request(self, method: str, url: str, **arguments: Any) -> Any:
        """Sends a request, and gives up when there is no answer."""
        return super().request(method, url, **{**arguments, "_request_timeout": (REQUEST_TIMEOUT_SECS / 3, 60)})


class _Recorder(rest.RESTClientObject):
    def __init__(self, configuration: Any, requests: list[Request]) -> None:
        super().__init__(configuration)
        self._requests = requests

    def request(self, method: str, url: str, **arguments: Any) -> Any:
        """Answers a request with what it would create, or with an empty list."""
        query = urlencode(arguments.get("query_params") or [])
        self._requests.append(Request(f"{method} {url}{'?' * bool(query)}{query}", arguments.get("body")))
        answer = _ANSWERS["/" + url.rsplit("/", 1)[-1]] if method == "POST" else {}
        body = io.BytesIO(json.dumps(answer).encode())
        return rest.RESTResponse(urllib3.HTTPResponse(body, status=200))


def _task_status(detail: Any) -> TaskStatus:
    return TaskStatus(
        task_id=detail.task_id,
        name=detail.display_name,
        state=_word(detail.state),
        seconds=seconds_between(detail.start_time, detail.end_time),
        error=_message(detail.error),
    )


def _word(state: str | None) -> str:
    return {"CANCELED": CANCELLED}.get(state or "", (state or "pending").lower())


def _message(error: Any) -> str:
    return first_line((error and error.message) or "")


def _explanation(err: kfp_server_api.ApiException) -> str:
    """Returns what a refusal says: where it leads, the message of the API, or the body's first line."""
    if location := (err.headers or {}).get("Location"):
        return location
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return first_line(json.loads(err.body)["message"])
    return first_line(err.body if isinstance(err.body, str) else (err.body or b"").decode(errors="replace"))
