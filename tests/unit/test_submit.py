"""`sluice submit` before anything is sent: usage, settings, specs and parameters."""

import json
import re

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main

VERTEX = (
    "--target=vertex",
    "--set=vertex.project=my-project",
    "--set=vertex.region=europe-west4",
    "--set=vertex.pipeline_root=gs://bucket/runs",
    "--set=vertex.service_account=runner@my-project.iam.gserviceaccount.com",
)
KUBEFLOW = ("--target=kubeflow", "--set=kubeflow.host=http://127.0.0.1:9")
PLAIN_PARAMETERS = ("--parameter=name=x", "--parameter=flag=true")


def submit(*arguments):
    return CliRunner().invoke(main, ["submit", *map(str, arguments)])


def dry_run(*arguments):
    """Submits with --dry-run and returns the body of the last request."""
    result = submit("--dry-run", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(re.split(r"^(?=\{)", result.stdout, flags=re.MULTILINE)[-1])


def test_all_missing_settings_are_said_at_once_with_what_to_do():
    result = submit("--target", "vertex")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "ConfigError: vertex.project is not set. Set vertex.project, for example from the environment: "
        "${GOOGLE_CLOUD_PROJECT}",
        "vertex.region is not set. Set vertex.region, for example from the environment: ${GOOGLE_CLOUD_REGION}",
        "vertex.pipeline_root is not set. Set vertex.pipeline_root, for example from the environment: "
        "gs://${GCS_BUCKET_NAME}/sluice/runs",
        "vertex.service_account is not set. Set vertex.service_account, for example from the environment: "
        "${VERTEX_SA_EMAIL}",
        "image is not set. Give --image, or set image, for example from the environment: ${PIPELINE_IMAGE}",
    ]


def test_missing_host_is_said_with_what_to_do(plain_spec):
    result = submit("--target", "kubeflow", "--spec", plain_spec)
    assert result.exit_code == 2
    assert result.stderr == (
        "ConfigError: kubeflow.host is not set. Set kubeflow.host, for example from the environment: "
        "${KF_PIPELINES_ENDPOINT}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wait", "--dry-run"], "--dry-run sends nothing to wait for; leave out --wait."),
        (["--wait", "--set=vertex.schedule.cron=0 3 * * *"], "vertex.schedule starts the runs, each at its time"),
        (["--spec", "x.yaml", "--image", "y"], "--spec names the images already; leave out --image."),
    ],
)
def test_options_that_exclude_each_other_exit_2(arguments, message):
    result = submit(*VERTEX, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("text", ["rows", "=5"])
def test_parameter_that_is_no_pair_exits_2(plain_spec, text):
    result = submit(*VERTEX, "--spec", plain_spec, "--parameter", text)
    assert result.exit_code == 2
    assert f"{text} is not as in --parameter NAME=VALUE." in result.stderr


@pytest.mark.parametrize("target", [VERTEX, KUBEFLOW])
def test_all_wrong_parameters_are_said_before_anything_is_sent(plain_spec, target):
    result = submit(*target, "--spec", plain_spec, "--parameter=rows=many", "--parameter=epochs=3")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "SpecError: --parameter: rows is a NUMBER_INTEGER. Received: 'many'.",
        "--parameter: epochs is no parameter of this spec. It has: flag, name, rows.",
        "--parameter: flag, name: no default, and no value. Give --parameter NAME=VALUE.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not YAML or JSON"),
        ("", "is not a pipeline spec"),
        ("tasks: 3", 'is not a pipeline spec: .* has no field named "tasks"'),
        ("schemaVersion: 2.0.0", "schemaVersion is 2.0.0; backends run 2.1.0."),
    ],
)
def test_file_that_is_no_spec_exits_2(tmp_path, text, message):
    (tmp_path / "spec.yaml").write_text(text)
    result = submit(*KUBEFLOW, "--spec", tmp_path / "spec.yaml")
    assert result.exit_code == 2
    assert re.match(rf"SpecError: \S+spec.yaml: {message}", result.stderr)


def test_spec_that_is_not_there_exits_2():
    result = submit(*VERTEX, "--spec", "nowhere.yaml")
    assert result.exit_code == 2
    assert result.stderr == "SpecError: nowhere.yaml: cannot be read: No such file or directory.\n"


def test_kubeflow_s_second_document_is_refused_for_vertex(plain_spec, tmp_path):
    file = tmp_path / "kubeflow.yaml"
    file.write_text(plain_spec.read_text() + "---\nplatforms: {kubernetes: {}}\n")
    result = submit(*VERTEX, "--spec", file)
    assert result.exit_code == 2
    assert result.stderr == (
        f"SpecError: {file}: was compiled for Kubeflow: its second document says what Kubernetes does, which Vertex AI "
        "ignores. Compile it with --target vertex.\n"
    )


def test_pipeline_job_of_vertex_is_refused_for_kubeflow(plain_spec, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"pipelineSpec": yaml.safe_load(plain_spec.read_text())}))
    result = submit(*KUBEFLOW, "--spec", file)
    assert result.exit_code == 2
    assert result.stderr == (
        f"SpecError: {file}: was compiled for Vertex AI: it is a PipelineJob. Compile it with --target kubeflow.\n"
    )


def test_hook_for_vertex_is_refused_for_kubeflow(plain_spec, tmp_path):
    file, spec = tmp_path / "vertex.yaml", yaml.safe_load(plain_spec.read_text())
    spec["deploymentSpec"]["executors"]["exec-train"]["container"]["lifecycle"] = {"preCacheCheck": {}}
    file.write_text(yaml.safe_dump(spec))
    result = submit(*KUBEFLOW, "--spec", file)
    assert result.exit_code == 2
    assert "was compiled for Vertex AI: exec-train has a hook that Kubeflow ignores." in result.stderr


def test_labels_and_values_of_a_pipeline_job_are_kept(plain_spec, tmp_path):
    job = {
        "pipelineSpec": yaml.safe_load(plain_spec.read_text()),
        "labels": {"team": "a", "tfx_runner": "b"},
        "runtimeConfig": {
            "parameterValues": {"name": "x", "flag": True},
            "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST",
        },
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    body = dry_run(*VERTEX, "--set=vertex.labels={team: water}", "--spec", tmp_path / "job.json", "--parameter=name=y")
    assert body["pipelineJob"]["labels"] == {"team": "water", "tfx_runner": "b"}
    assert body["pipelineJob"]["runtimeConfig"] == {
        "gcsOutputDirectory": "gs://bucket/runs",
        "parameterValues": {"name": "y", "flag": True},
        "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST",
    }


def test_config_is_compiled_for_vertex_with_the_image():
    data = ("--set=vertex.input_dir=gs://bucket/data", "--set=vertex.serving_model_dir=gs://bucket/models")
    job = dry_run(*VERTEX, *data, "--image", "registry.example/sluice:1", "--no-cache")["pipelineJob"]
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {"registry.example/sluice:1"}
    assert job["labels"]["tfx_runner"] == "kubeflow_v2"
    tasks = job["pipelineSpec"]["components"]["tfx-dag"]["dag"]["tasks"].values()
    assert {task["cachingOptions"]["enableCache"] for task in tasks} == {False}


def test_config_is_compiled_for_kubeflow_with_its_volumes():
    volume = "--set=kubeflow.volumes=[{claim_name: sluice, mount_path: /mnt}]"
    data = ("--set=kubeflow.input_dir=/mnt/data", "--set=kubeflow.serving_model_dir=/mnt/models")
    body = dry_run(*KUBEFLOW, volume, *data, "--set=image=registry.example/sluice:1", "--parameter=num_epochs=3")
    executors = body["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["pvcMount"][0]["mountPath"] == "/mnt"
    assert body["runtime_config"]["parameters"] == {"num_epochs": 3}


def test_data_without_a_place_is_a_missing_parameter():
    result = submit(*KUBEFLOW, "--dry-run", "--image", "registry.example/sluice:1")
    assert result.exit_code == 2
    assert "input_dir, serving_model_dir: no default, and no value. Give --parameter" in result.stderr


def test_config_that_the_target_cannot_run_exits_2():
    result = submit(*VERTEX, "--dry-run", "--image", "x", "--set=infra_validator.executor=docker")
    assert result.exit_code == 2
    assert result.stderr.startswith("CompileError: infra_validator.executor: docker starts containers")
