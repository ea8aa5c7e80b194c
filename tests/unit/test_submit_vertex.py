"""`sluice submit --target vertex` against a local server with Vertex AI's own messages."""

import json
import re
import subprocess
import sys

import grpc
import pytest
from click.testing import CliRunner

from pipeline.cli import main

CREATE_JOB = "google.cloud.aiplatform.v1.PipelineService/CreatePipelineJob"
PARENT = "projects/my-project/locations/europe-west4"
SETTINGS = {
    "project": "my-project",
    "region": "europe-west4",
    "pipeline_root": "gs://bucket/runs",
    "service_account": "runner@my-project.iam.gserviceaccount.com",
}


@pytest.fixture
def submit(vertex_api, plain_spec):
    """Submits the plain pipeline; keyword arguments are keys of the config's section."""

    def run(*arguments, spec=plain_spec, **settings):
        values = SETTINGS | {"api_endpoint": vertex_api.host} | settings
        command = [
            "submit",
            "--target",
            "vertex",
            "--spec",
            str(spec),
            "--parameter",
            "name=x",
            "--parameter",
            "flag=true",
        ]
        overrides = [f"--set=vertex.{key}={json.dumps(value)}" for key, value in values.items()]
        return CliRunner().invoke(main, [*command, *overrides, *arguments])

    return run


@pytest.fixture
def sent(submit, vertex_api):
    """Submits and returns the one request that arrived."""

    def run(*arguments, **settings):
        result = submit(*arguments, **settings)
        assert result.exit_code == 0, result.output
        ((_, body),) = vertex_api.requests
        return body

    return run


def test_run_arrives_with_project_region_account_and_bucket(sent, vertex_api):
    body = sent("--run-name", "Nightly 7")
    job = body["pipelineJob"]
    assert body["parent"] == PARENT
    assert (job["displayName"], body["pipelineJobId"]) == ("Nightly 7", "nightly-7")
    assert job["serviceAccount"] == SETTINGS["service_account"]
    assert job["runtimeConfig"]["gcsOutputDirectory"] == SETTINGS["pipeline_root"]
    assert job["pipelineSpec"]["pipelineInfo"] == {"name": "plain"}
    assert vertex_api.requests[0][0] == CREATE_JOB
    assert vertex_api.tokens[0].startswith("Bearer ")


def test_run_without_a_name_is_called_by_pipeline_and_time(sent):
    assert re.fullmatch(r"plain-\d{14}", sent()["pipelineJobId"])


def test_parameters_arrive_by_their_types(sent):
    values = sent("--parameter", "rows=5")["pipelineJob"]["runtimeConfig"]["parameterValues"]
    assert values == {"name": "x", "flag": True, "rows": 5}


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("network", "projects/1/global/networks/vpc", "network", "projects/1/global/networks/vpc"),
        (
            "kms_key",
            "projects/p/locations/l/keyRings/r/cryptoKeys/k",
            "encryptionSpec",
            {"kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k"},
        ),
        ("labels", {"team": "water"}, "labels", {"team": "water"}),
    ],
)
def test_option_of_the_config_arrives(sent, key, value, field, expected):
    job = sent(**{key: value})["pipelineJob"]
    assert job[field] == expected


def test_options_that_are_not_set_are_not_sent(sent):
    assert {"network", "encryptionSpec", "labels"} & set(sent()["pipelineJob"]) == set()


def test_cache_is_as_compiled_unless_told_otherwise(sent, vertex_api):
    def caching(body):
        tasks = body["pipelineJob"]["pipelineSpec"]["root"]["dag"]["tasks"].values()
        return [task["cachingOptions"].get("enableCache") for task in tasks]

    assert caching(sent()) == [True, True]
    vertex_api.requests.clear()
    assert caching(sent("--no-cache")) == [False, False]


def test_schedule_arrives_in_place_of_a_run(submit, vertex_api):
    schedule = {"cron": "TZ=Europe/Amsterdam 0 3 * * *", "max_concurrent_runs": 2}
    result = submit(schedule=schedule, kms_key="projects/p/locations/l/keyRings/r/cryptoKeys/k")
    ((rpc, body),) = vertex_api.requests
    assert rpc == "google.cloud.aiplatform.v1.ScheduleService/CreateSchedule"
    schedule = body["schedule"]
    assert (body["parent"], schedule["displayName"]) == (PARENT, "plain")
    assert (schedule["cron"], schedule["maxConcurrentRunCount"]) == ("TZ=Europe/Amsterdam 0 3 * * *", "2")
    request = schedule["createPipelineJobRequest"]
    assert (request["parent"], request["pipelineJob"]["serviceAccount"]) == (PARENT, SETTINGS["service_account"])
    assert request["pipelineJob"]["encryptionSpec"] == {"kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}
    assert "pipelineJobId" not in request
    assert "pipelines/schedules/4711?project=my-project" in result.stdout


@pytest.mark.parametrize("schedule", [None, {"cron": "0 3 * * *"}])
def test_dry_run_prints_exactly_what_is_sent(submit, vertex_api, schedule, monkeypatch):
    arguments = ("--run-name", "same", "--no-cache", "--parameter", "rows=7")
    assert submit(*arguments, schedule=schedule, labels={"team": "water"}).exit_code == 0
    ((rpc, body),) = vertex_api.requests
    vertex_api.requests.clear()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
    result = submit(*arguments, "--dry-run", schedule=schedule, labels={"team": "water"})
    call, _, printed = result.stdout.partition("\n")
    assert (result.exit_code, call) == (0, f"{vertex_api.host} {rpc}")
    assert json.loads(printed) == body
    assert vertex_api.requests == []


def job(state, tasks=None, error=""):
    details = [
        {
            "task_id": number,
            "task_name": name,
            "state": task_state,
            "start_time": {"seconds": 100},
            "end_time": {"seconds": 107} if task_state == "SUCCEEDED" else None,
            "error": {"message": f"{name} fell over\nin a trace"} if task_state == "FAILED" else None,
        }
        for number, (name, task_state) in enumerate((tasks or {}).items(), start=1)
    ]
    return {"state": f"PIPELINE_STATE_{state}", "job_detail": {"task_details": details}, "error": {"message": error}}


def test_wait_shows_each_change_until_success(submit, vertex_api):
    vertex_api.jobs = [
        job("PENDING"),
        job("RUNNING", {"prepare": "SKIPPED", "train": "RUNNING"}),
        job("RUNNING", {"prepare": "SKIPPED", "train": "RUNNING"}),
        job("SUCCEEDED", {"prepare": "SKIPPED", "train": "SUCCEEDED", "plain": "SUCCEEDED"}),
    ]
    result = submit("--wait", "--run-name", "r")
    link = "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/runs/r?project=my-project"
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            f"Submitted r: {link}",
            "  prepare             cached",
            "  train               running",
            "  train        7.0 s  succeeded",
            "SUCCEEDED: tasks: 1 cached, 1 succeeded",
        ],
    )


def test_wait_ends_with_the_message_of_the_task_that_failed(submit, vertex_api):
    vertex_api.jobs = [job("FAILED", {"prepare": "FAILED", "train": "NOT_TRIGGERED"}, "the job failed")]
    result = submit("--wait")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "FAILED: prepare: prepare fell over (tasks: 1 failed, 1 not triggered)"
    assert "train               not triggered" in result.stdout


def test_wait_ends_when_the_run_is_cancelled(submit, vertex_api):
    vertex_api.jobs = [job("CANCELLING", {"prepare": "CANCELLING"}), job("CANCELLED", {"prepare": "CANCELLED"})]
    result = submit("--wait")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "CANCELLED: tasks: 1 cancelled"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "Permission 'aiplatform.pipelineJobs.create' denied on resource"),
        (grpc.StatusCode.NOT_FOUND, "The project my-project was not found."),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Quota exceeded for pipeline runs."),
        (grpc.StatusCode.ALREADY_EXISTS, "A pipeline job with this ID already exists."),
    ],
)
def test_refusal_of_the_api_is_one_sentence(submit, vertex_api, code, message):
    vertex_api.refusal = (code, f"{message}\nand more")
    result = submit()
    assert result.exit_code == 1
    assert result.stderr == f"Error: {vertex_api.host} answers {code.name}: {message}\n"


def test_host_that_cannot_be_reached_is_one_sentence(submit):
    result = submit(api_endpoint="localhost:9")
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: localhost:9 cannot be reached: .*Connection refused.*\n", result.stderr)


def test_missing_credentials_are_said_with_what_to_do(submit, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    result = submit()
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: There are no Google Cloud credentials: File /nowhere/key.json was not found. "
        r"Run `gcloud auth application-default login`, or set .*\n",
        result.stderr,
    )


def test_credentials_that_are_refused_are_said_with_what_to_do(submit, vertex_api, tmp_path, monkeypatch):
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "expired"}
    (tmp_path / "user.json").write_text(json.dumps(user | {"token_uri": "http://127.0.0.1:9/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "user.json"))
    result = submit()
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: localhost:\d+: no valid credentials: .* Run `gcloud auth .*\n", result.stderr)


def test_libraries_write_nothing_to_the_terminal(vertex_api, plain_spec, tmp_path):
    command = [sys.executable, "-m", "pipeline", "submit", "--target", "vertex", "--spec", plain_spec]
    options = ["--parameter", "name=x", "--parameter", "flag=true", "--run-name", "r"]
    settings = [f"--set=vertex.{key}={value}" for key, value in (SETTINGS | {"api_endpoint": "localhost:9"}).items()]
    done = subprocess.run([*command, *options, *settings], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: localhost:9 cannot be reached: .*\n", done.stderr)
