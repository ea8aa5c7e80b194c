"""`sluice submit --target kubeflow` against a local server that takes Kubeflow's own models."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main

API = "/apis/v2beta1"


@pytest.fixture
def submit(kubeflow_api, plain_spec, monkeypatch):
    """Submits the plain pipeline; keyword arguments are keys of the config's section."""
    monkeypatch.delenv("KF_PIPELINES_UI_ENDPOINT", raising=False)

    def run(*arguments, spec=plain_spec, **settings):
        return CliRunner().invoke(main, command(spec, {"host": kubeflow_api.host} | settings, arguments))

    return run


def command(spec, settings, arguments):
    fixed = ["submit", "--target", "kubeflow", "--spec", str(spec), "--parameter", "name=x", "--parameter", "flag=true"]
    return [*fixed, *(f"--set=kubeflow.{key}={json.dumps(value)}" for key, value in settings.items()), *arguments]


@pytest.fixture
def sent(submit, kubeflow_api):
    """Submits and returns the body of the last request that arrived."""

    def run(*arguments, **settings):
        result = submit(*arguments, **settings)
        assert result.exit_code == 0, result.output
        return kubeflow_api.requests[-1][1]

    return run


def test_run_arrives_in_an_experiment_of_the_pipeline_s_name(sent, kubeflow_api):
    body = sent("--run-name", "Nightly 7")
    assert (body["display_name"], body["experiment_id"]) == ("Nightly 7", "EXPERIMENT_ID")
    assert body["pipeline_spec"]["pipelineInfo"] == {"name": "plain"}
    calls = [call.partition("?")[0].replace(kubeflow_api.host, "") for call, _ in kubeflow_api.requests]
    assert calls == [f"GET {API}/experiments", f"POST {API}/experiments", f"POST {API}/runs"]
    assert kubeflow_api.experiments[0]["display_name"] == "plain"


def test_run_without_a_name_is_called_by_pipeline_and_time(sent):
    assert re.fullmatch(r"plain-\d{14}", sent()["display_name"])


def test_experiment_that_is_there_is_taken(sent, kubeflow_api):
    kubeflow_api.experiments = [{"experiment_id": "7", "display_name": "water"}]
    assert sent(experiment="water")["experiment_id"] == "7"
    assert "water" in kubeflow_api.requests[0][0]
    assert len(kubeflow_api.requests) == 2


def test_namespace_arrives_with_the_experiment(sent, kubeflow_api):
    sent(namespace="team-water")
    assert kubeflow_api.requests[0][0].endswith("&namespace=team-water")
    assert kubeflow_api.requests[1][1] == {"display_name": "plain", "namespace": "team-water"}


def test_parameters_arrive_by_their_types(sent):
    parameters = sent("--parameter", "rows=5")["runtime_config"]["parameters"]
    assert parameters == {"name": "x", "flag": True, "rows": 5}
    assert type(parameters["rows"]) is int


def test_pipeline_root_and_service_account_arrive(sent):
    body = sent(pipeline_root="s3://bucket/runs", service_account="runner")
    assert body["runtime_config"]["pipeline_root"] == "s3://bucket/runs"
    assert body["service_account"] == "runner"


def test_what_is_not_set_is_not_sent(sent):
    body = sent()
    assert "service_account" not in body
    assert "pipeline_root" not in body["runtime_config"]


def test_second_document_arrives(sent, plain_spec, tmp_path):
    mount = {"mountPath": "/mnt", "pvcNameParameter": {"runtimeValue": {"constant": "claim"}}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-train": {"pvcMount": [mount]}}}}}}
    spec = tmp_path / "with-platform.yaml"
    spec.write_text(plain_spec.read_text() + "---\n" + yaml.safe_dump(platform))
    body = sent(spec=spec)
    assert body["pipeline_spec"]["platform_spec"] == platform
    assert body["pipeline_spec"]["pipeline_spec"]["pipelineInfo"] == {"name": "plain"}


def test_cache_is_as_compiled_unless_told_otherwise(sent):
    def caching(body):
        return [
            task["cachingOptions"].get("enableCache") for task in body["pipeline_spec"]["root"]["dag"]["tasks"].values()
        ]

    assert caching(sent()) == [True, True]
    assert caching(sent("--no-cache")) == [None, None]


def test_schedule_arrives_as_a_recurring_run_with_a_field_of_seconds(submit, kubeflow_api):
    result = submit(schedule={"cron": "30 3 * * 1", "max_concurrent_runs": 2}, service_account="runner")
    assert result.exit_code == 0, result.stderr
    call, body = kubeflow_api.requests[-1]
    assert call == f"POST {kubeflow_api.host}{API}/recurringruns"
    assert body["trigger"] == {"cron_schedule": {"cron": "0 30 3 * * 1"}}
    assert (body["max_concurrency"], body["mode"], body["no_catchup"]) == (2, "ENABLE", True)
    assert (body["display_name"], body["service_account"]) == ("plain", "runner")
    assert result.stdout == f"Submitted plain: {kubeflow_api.host}/#/recurringrun/details/RECURRING_RUN_ID\n"


def test_time_zone_of_a_schedule_is_refused(submit, kubeflow_api):
    result = submit(schedule={"cron": "TZ=Europe/Amsterdam 0 3 * * *"})
    assert result.exit_code == 2
    assert "kubeflow.schedule.cron: 'TZ=Europe/Amsterdam 0 3 * * *' has a time zone, which" in result.stderr
    assert kubeflow_api.requests == []


@pytest.mark.parametrize("schedule", [None, {"cron": "0 3 * * *"}])
def test_dry_run_prints_exactly_what_is_sent(submit, kubeflow_api, schedule):
    settings = {"schedule": schedule, "experiment": "water", "namespace": "team", "pipeline_root": "s3://bucket/runs"}
    arguments = ("--run-name", "same", "--no-cache", "--parameter", "rows=7")
    assert submit(*arguments, **settings).exit_code == 0
    received = list(kubeflow_api.requests)
    result = submit(*arguments, "--dry-run", **settings)
    assert result.exit_code == 0
    assert kubeflow_api.requests == received
    printed = re.split(r"^(?=GET |POST )", result.stdout, flags=re.MULTILINE)[1:]
    calls = [text.partition("\n") for text in printed]
    assert [(call, json.loads(body) if body else None) for call, _, body in calls] == received


@pytest.mark.parametrize("variable", ["KF_PIPELINES_SA_TOKEN_PATH", "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID"])
def test_dry_run_needs_neither_a_host_that_answers_nor_a_login(submit, monkeypatch, variable):
    monkeypatch.setenv(variable, "nowhere")
    assert submit("--dry-run", host="http://127.0.0.1:9").exit_code == 0


def test_token_is_read_from_the_file_that_the_environment_names(sent, kubeflow_api, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("secret")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    sent()
    assert set(kubeflow_api.tokens) == {"Bearer secret"}


def test_missing_token_file_is_one_sentence(submit, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", "/nowhere/token")
    result = submit()
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: /nowhere/token: cannot be read: No such file or directory. KF_PIPELINES_SA_TOKEN_PATH names it.\n"
    )


def run(state, tasks=None, error=None):
    details = [
        {
            "task_id": f"{number}-{name}",
            "display_name": name,
            "state": task_state,
            "start_time": "2026-01-01T00:00:00Z",
            "end_time": "2026-01-01T00:00:07Z" if task_state in ("SUCCEEDED", "FAILED") else "1970-01-01T00:00:00Z",
            **({"error": {"code": 2, "message": f"{name} fell over\nin a trace"}} if task_state == "FAILED" else {}),
        }
        for number, (name, task_state) in enumerate((tasks or {}).items())
    ]
    return {
        "run_id": "RUN_ID",
        "state": state,
        "run_details": {"task_details": details},
        **({"error": {"code": 2, "message": error}} if error else {}),
    }


def test_wait_shows_each_change_of_a_task_until_success(submit, kubeflow_api):
    kubeflow_api.runs = [
        run("PENDING"),
        run("RUNNING", {"prepare-driver": "RUNNING", "prepare": "RUNNING"}),
        run("RUNNING", {"prepare-driver": "SUCCEEDED", "prepare": "RUNNING"}),
        run("RUNNING", {"prepare-driver": "SUCCEEDED", "prepare": "SUCCEEDED", "train": "RUNNING"}),
        run("SUCCEEDED", {"prepare-driver": "SUCCEEDED", "prepare": "SUCCEEDED", "train": "SUCCEEDED"}),
    ]
    result = submit("--wait", "--run-name", "r")
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            f"Submitted r: {kubeflow_api.host}/#/runs/details/RUN_ID",
            "  prepare             running",
            "  prepare      7.0 s  succeeded",
            "  train               running",
            "  train        7.0 s  succeeded",
            "SUCCEEDED: tasks: 2 succeeded",
        ],
    )


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (run("FAILED", {"prepare": "FAILED"}), "FAILED: prepare: prepare fell over (tasks: 1 failed)"),
        (run("FAILED", error="no such image\n..."), "FAILED: no such image (tasks: none)"),
        (run("FAILED"), "FAILED: the API gives no reason, the task's log does (tasks: none)"),
        (run("CANCELED", {"prepare": "SUCCEEDED", "train": "CANCELED"}), "CANCELLED: tasks: 1 succeeded, 1 cancelled"),
    ],
)
def test_wait_says_how_a_run_ended_that_did_not_succeed(submit, kubeflow_api, answer, verdict):
    kubeflow_api.runs = [answer]
    result = submit("--wait")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, verdict)


def test_link_is_that_of_the_user_interface(submit, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example/pipeline/")
    assert submit("--run-name", "r").stdout == "Submitted r: https://kubeflow.example/pipeline/#/runs/details/RUN_ID\n"


def test_interrupt_leaves_the_run_going_and_says_how_to_cancel_it(kubeflow_api, plain_spec, tmp_path):
    kubeflow_api.runs = [run("RUNNING", {"prepare": "RUNNING"})]
    arguments = command(plain_spec, {"host": kubeflow_api.host}, ["--wait", "--run-name", "r"])
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True
    )
    lines = [process.stdout.readline(), process.stdout.readline()]
    while len(kubeflow_api.tokens) < 5:  # three requests to submit, and two polls
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    link = f"{kubeflow_api.host}/#/runs/details/RUN_ID"
    assert lines == [f"Submitted r: {link}\n", "  prepare             running\n"]
    assert (process.returncode, stderr) == (130, "")
    assert stdout.splitlines() == [
        f"No longer watched; the run goes on: {link}",
        f"To cancel it: curl -X POST {kubeflow_api.host}{API}/runs/RUN_ID:terminate",
    ]


@pytest.fixture
def refuse_states(kubeflow_api):
    """Lets the next requests for a state fail, as many as told."""

    def refuse(times):
        left = iter(range(times))

        def answer(method, path, body, answer=kubeflow_api.answer):
            if "/runs/" in path and next(left, None) is not None:
                raise ValueError("try again")
            return answer(method, path, body)

        kubeflow_api.answer, kubeflow_api.runs = answer, [run("SUCCEEDED")]

    return refuse


def test_wait_outlives_answers_that_fail(submit, refuse_states):
    refuse_states(4)
    assert submit("--wait").stdout.endswith("SUCCEEDED: tasks: none\n")


def test_wait_gives_up_after_five_answers_that_fail(submit, kubeflow_api, refuse_states):
    refuse_states(5)
    result = submit("--wait", "--run-name", "r")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {kubeflow_api.host} answers 400 Bad Request: try again "
        f"The run may go on: {kubeflow_api.host}/#/runs/details/RUN_ID\n"
    )


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            (403, {}, json.dumps({"code": 7, "message": "User 'x' may not create runs in team.\nmore"})),
            "answers 403 Forbidden: User 'x' may not create runs in team.",
        ),
        ((404, {}, ""), "answers 404 Not Found"),
        ((500, {}, "upstream fell over\nmore"), "answers 500 Internal Server Error: upstream fell over"),
        (
            (302, {"Location": "/dex/auth"}, ""),
            "answers 302 Found: /dex/auth. It needs a login: put a token into a file and its path into "
            "KF_PIPELINES_SA_TOKEN_PATH.",
        ),
    ],
)
def test_refusal_of_the_api_is_one_sentence(submit, kubeflow_api, refusal, message):
    kubeflow_api.refusal = refusal
    result = submit()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {kubeflow_api.host} {message}\n"


@pytest.mark.parametrize("host", ["http://127.0.0.1:9", "http://nowhere.invalid", "https://127.0.0.1:9"])
def test_host_that_cannot_be_reached_is_one_sentence_soon(submit, host):
    start = time.monotonic()
    result = submit(host=host)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(rf"Error: {host} cannot be reached: .+\n", result.stderr)
    assert time.monotonic() - start < 15
