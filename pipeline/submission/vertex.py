"""The API of Vertex AI Pipelines, through google-cloud-aiplatform's own clients. Runs in `sluice submit`.

Not through its `PipelineJob` class: that one creates a missing bucket, minutes before it fails where it may not, and
swallows Ctrl-C meanwhile.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import google.auth
import grpc
from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError, ServiceUnavailable
from google.auth.exceptions import GoogleAuthError
from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient
from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient
from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, EncryptionSpec, PipelineJob, Schedule
from google.cloud.aiplatform_v1.types.pipeline_job import PipelineTaskDetail
from google.protobuf import json_format

from pipeline.deployment_config import ScheduleConfig, VertexConfig
from pipeline.submission.api import (
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

_CONSOLE = "https://console.cloud.google.com/vertex-ai/locations"
_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_LOGIN = (
    "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the key file of a "
    "service account."
)
_CACHED = PipelineTaskDetail.State.SKIPPED  # "due to cache hit": reference of PipelineTaskDetail.State


class VertexApi:
    """A project and region of Vertex AI.

    Args:
        config: Has at least the project, the region, the service account and the pipeline root.
        requests: Gets the requests, which are then not sent; none are recorded if None.

    Raises:
        ApiError: If there are no credentials to send requests with.
    """

    def __init__(self, config: VertexConfig, requests: list[Request] | None = None) -> None:
        self._config = config
        self._host = config.api_endpoint or f"{config.region}-aiplatform.googleapis.com"
        self._parent = f"projects/{config.project}/locations/{config.region}"
        self._options: dict[str, Any] = {"retry": None, "timeout": REQUEST_TIMEOUT_SECS}
        self._client_arguments = _sending(self._host) if requests is None else _recording(self._host, requests)

    def submit(self, submission: Submission) -> Submitted:
        """Creates a PipelineJob, or a schedule if the config has one; see `Api`."""
        job = self._make_job(submission)
        schedule = self._config.schedule
        with self._api_errors():
            if schedule:
                return self._create_schedule(job, schedule, submission.run_name)
            return self._create_run(job, submission.run_name)

    def _make_job(self, submission: Submission) -> PipelineJob:
        job, config = PipelineJob(), self._config
        json_format.ParseDict(submission.job, PipelineJob.pb(job), ignore_unknown_fields=True)
        job.labels.update(config.labels)
        job.runtime_config.gcs_output_directory = config.pipeline_root
        job.runtime_config.parameter_values.update(submission.parameters)
        job.service_account = config.service_account
        job.network = config.network
        if config.kms_key:
            job.encryption_spec = EncryptionSpec(kms_key_name=config.kms_key)
        return job

    def _create_run(self, job: PipelineJob, run_name: str) -> Submitted:
        job.display_name = run_name
        job_id = re.sub("[^-0-9a-z]+", "-", run_name.lower()).strip("-")
        created = self._jobs.create_pipeline_job(
            parent=self._parent, pipeline_job=job, pipeline_job_id=job_id, **self._options
        )
        return self._submitted(created.name, "runs", ":cancel", method="POST")

    def _create_schedule(self, job: PipelineJob, schedule: ScheduleConfig, run_name: str) -> Submitted:
        created = ScheduleServiceClient(**self._client_arguments(ScheduleServiceClient)).create_schedule(
            parent=self._parent,
            schedule=Schedule(
                display_name=run_name,
                cron=schedule.cron,
                max_concurrent_run_count=schedule.max_concurrent_runs,
                create_pipeline_job_request=CreatePipelineJobRequest(parent=self._parent, pipeline_job=job),
            ),
            **self._options,
        )
        return self._submitted(created.name, "schedules", "", method="DELETE")

    def _submitted(self, name: str, kind: str, suffix: str, *, method: str) -> Submitted:
        link = f"{_CONSOLE}/{self._config.region}/pipelines/{kind}/{name.split('/')[-1]}?project={self._config.project}"
        token = '-H "Authorization: Bearer $(gcloud auth print-access-token)"'
        return Submitted(name, link, f"curl -X {method} {token} https://{self._host}/v1/{name}{suffix}")

    def status(self, submitted: Submitted) -> RunStatus:
        """Gets a PipelineJob; see `Api`."""
        with self._api_errors():
            job = self._jobs.get_pipeline_job(name=submitted.name, **self._options)
        return RunStatus(
            state=job.state.name.removeprefix("PIPELINE_STATE_").lower(),
            tasks=[_task_status(detail) for detail in job.job_detail.task_details],
            error=first_line(job.error.message),
        )

    @functools.cached_property
    def _jobs(self) -> PipelineServiceClient:
        return PipelineServiceClient(**self._client_arguments(PipelineServiceClient))

    @contextlib.contextmanager
    def _api_errors(self) -> Iterator[None]:
        try:
            yield
        except GoogleAuthError as err:
            raise ApiError(f"{self._host}: no valid credentials: {first_line(str(err))} {_LOGIN}") from err
        except GoogleAPICallError as err:
            reason = first_line(err.message)
            if "metadata from plugin" in reason:  # gRPC asks for a token in the middle of a request
                raise ApiError(f"{self._host}: no valid credentials: {reason} {_LOGIN}") from err
            if isinstance(err, ServiceUnavailable | DeadlineExceeded):
                raise ApiError(f"{self._host} cannot be reached: {reason}") from err
            name = err.grpc_status_code.name if err.grpc_status_code else err.code
            raise ApiError(f"{self._host} answers {name}: {reason}") from err


def _task_status(detail: PipelineTaskDetail) -> TaskStatus:
    return TaskStatus(
        task_id=str(detail.task_id),
        name=detail.task_name,
        state="cached" if detail.state == _CACHED else detail.state.name.lower().replace("_", " "),
        seconds=seconds_between(detail.start_time, detail.end_time),
        error=first_line(detail.error.message),
    )


def _sending(host: str) -> Callable[[Any], dict[str, Any]]:
    """Returns the arguments of clients that send their requests."""
    try:
        credentials, _ = google.auth.default(scopes=_SCOPES)
    except GoogleAuthError as err:
        raise ApiError(f"There are no Google Cloud credentials: {first_line(str(err))} {_LOGIN}") from err
    return lambda client: {"credentials": credentials, "client_options": {"api_endpoint": host}}


def _recording(host: str, requests: list[Request]) -> Callable[[Any], dict[str, Any]]:
    """Returns the arguments of clients that record their requests in place of sending them."""
    channel = grpc.intercept_channel(grpc.insecure_channel(host), _Recorder(host, requests))
    return lambda client: {"transport": client.get_transport_class("grpc")(host=host, channel=channel)}


class _Recorder(grpc.UnaryUnaryClientInterceptor):
    def __init__(self, host: str, requests: list[Request]) -> None:
        self._host = host
        self._requests = requests

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> "_Answer":
        """Answers a request with the resource that it would create."""
        body = json_format.MessageToDict(type(request).pb(request))
        self._requests.append(Request(f"{self._host} {client_call_details.method.removeprefix('/')}", body))
        return _Answer(getattr(request, "pipeline_job", None) or request.schedule)


class _Answer:
    def __init__(self, resource: Any) -> None:
        self._resource = resource

    def result(self) -> Any:
        """Gives the answer, as gRPC's calls do."""
        return self._resource
