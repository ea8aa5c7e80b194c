"""The compiled specs, as structures: what changed in one shows as lines of a diff with the place of each value."""

import difflib
import json
import re
from pathlib import Path

import kfp
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.config import load_config
from pipeline.kubeflow_v2_runner import CompileError, compile_pipeline

SPECS_DIR = Path(__file__).parent / "specs"
NAMES = [f"{target}-{name}" for target in ("vertex", "kubeflow") for name in ("reference", "every-option")]
EXAMPLE_GENS = ("ExampleGen", "UnlabelledExampleGen")


def lines(value, place=""):
    """Yields a line per leaf: its place and its value. JSON in a text is taken apart; digests of code are left out."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") and not value.startswith("{{"):
        value = json.loads(value)
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from lines(value[key], f"{place}.{key}".lstrip("."))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from lines(item, f"{place}[{index}]")
    else:
        yield f"{place}: {re.sub(r'[0-9a-f]{64}', '<sha256>', json.dumps(value))}"


@pytest.mark.parametrize("name", NAMES)
def test_spec_is_what_it_was(compiled, name, request):
    pipeline = compiled[name]
    found = list(
        lines({"spec": pipeline.spec, "platform": pipeline.platform, "job": {**pipeline.job, "pipelineSpec": ""}})
    )
    golden = SPECS_DIR / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text("\n".join(found) + "\n")
    diff = difflib.unified_diff(golden.read_text().splitlines(), found, "expected", "compiled", n=0, lineterm="")
    if changes := "\n".join(diff):
        pytest.fail(f"{name} changed; if it should, run this test with --update-golden:\n{changes}", pytrace=False)


@pytest.mark.parametrize("name", NAMES)
def test_spec_loads_with_the_official_packages(compiled, name):
    text = compiled[name].yaml_text
    spec, *platform = yaml.safe_load_all(text)
    parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    for document in platform:
        json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec())
    assert parsed.schema_version == "2.1.0"
    loaded = kfp.components.load_component_from_text(text)
    assert set(loaded.component_spec.inputs) == set(spec["root"]["inputDefinitions"]["parameters"])


@pytest.mark.parametrize("name", NAMES[:2])
def test_vertex_job_holds_the_spec(compiled, name):
    job = json_format.ParseDict(compiled[name].job, pipeline_spec_pb2.PipelineJob())
    assert json.loads(compiled[name].job_text)["pipelineSpec"] == compiled[name].spec
    assert job.labels["tfx_runner"] == "kubeflow_v2"


def task(pipeline, name):
    return pipeline.spec["components"]["tfx-dag"]["dag"]["tasks"][name]


def container(pipeline, name):
    return pipeline.spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_every_task_has_its_resources_and_retries(compiled, target):
    pipeline = compiled[f"{target}-every-option"]
    assert container(pipeline, "StatisticsGen")["resources"] == {
        "cpuLimit": 1.0, "resourceCpuLimit": "1", "memoryLimit": 4.0, "resourceMemoryLimit": "4G",
    }  # fmt: skip
    assert container(pipeline, "ExampleGen")["resources"] == {
        "cpuLimit": 0.5, "resourceCpuLimit": "500m", "memoryLimit": 2.147483648, "resourceMemoryLimit": "2Gi",
    }  # fmt: skip
    assert container(pipeline, "Trainer")["resources"]["accelerator"] == {
        "type": "NVIDIA_TESLA_T4", "resourceType": "NVIDIA_TESLA_T4", "count": "2", "resourceCount": "2",
    }  # fmt: skip
    retries = {
        "maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "3600s",
    }  # fmt: skip
    assert task(pipeline, "Trainer")["retryPolicy"] == task(pipeline, "UnlabelledExampleGen")["retryPolicy"] == retries
    assert pipeline.spec["root"]["dag"]["tasks"]["ExitHandler"]["retryPolicy"] == retries
    assert "retryPolicy" not in task(pipeline, "Pusher")


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_only_what_the_key_of_a_cache_describes_is_cached(compiled, target):
    pipeline = compiled[f"{target}-every-option"]
    tasks = pipeline.spec["components"]["tfx-dag"]["dag"]["tasks"]
    uncached = {name for name, each in tasks.items() if not each["cachingOptions"].get("enableCache")}
    of_the_target = EXAMPLE_GENS if target == "kubeflow" else ["VertexPusher"]
    assert uncached == {"Baseline", "DataGate", "Trainer", "Pusher", "WarmStart", *of_the_target}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_to_a_resolver_or_an_importer(compiled, name):
    executors = compiled[name].spec["deploymentSpec"]["executors"]
    assert {kind for executor in executors.values() for kind in executor} == {"container"}
    hooked = {label for label, executor in executors.items() if "lifecycle" in executor["container"]}
    assert (hooked == set()) == name.startswith("kubeflow")


@pytest.mark.parametrize("name", NAMES)
def test_user_code_comes_from_the_image(compiled, name):
    parameters = (
        task(compiled[name], "Trainer")["inputs"]["parameters"]
        | task(compiled[name], "Transform")["inputs"]["parameters"]
    )
    assert parameters["run_fn"]["runtimeValue"]["constant"] == "components.trainer.module.run_fn"
    function = "components.transform.preprocessing.preprocessing_fn"
    assert parameters["preprocessing_fn"]["runtimeValue"]["constant"] == function
    assert "module_file" not in parameters


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_runtime_parameters_have_the_values_of_the_config(compiled, target):
    definitions = compiled[f"{target}-every-option"].spec["root"]["inputDefinitions"]["parameters"]
    folder = "gs://bucket" if target == "vertex" else "/mnt/sluice"
    assert {name: definition["defaultValue"] for name, definition in definitions.items()} == {
        "input_dir": f"{folder}/data",
        "unlabelled_input_dir": f"{folder}/unlabelled",
        "serving_model_dir": f"{folder}/models",
        "serving_requests": f"{folder}/requests.jsonl",
        "span": -1,
        "num_epochs": 5,
        "learning_rate": 0.01,
        "accuracy_lower_bound": 0.9,
        "accuracy_absolute_change": -0.02,
        "loss_upper_bound": 0.35,
    }
    required = compiled[f"{target}-reference"].required_parameters
    assert required == ["input_dir", "serving_model_dir"]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_reaches_a_task(compiled, name):
    spec = compiled[name].spec
    dag = spec["components"]["tfx-dag"]
    used = re.findall(r'"componentInputParameter": "(\w+)"', json.dumps(dag["dag"]))
    names = set(spec["root"]["inputDefinitions"]["parameters"])
    assert set(used) == names == set(dag["inputDefinitions"]["parameters"])
    assert set(spec["root"]["dag"]["tasks"]["tfx-dag"]["inputs"]["parameters"]) == names


def test_kubeflow_knows_every_type_of_artifact(compiled):
    for component in compiled["kubeflow-every-option"].spec["components"].values():
        for side in ("inputDefinitions", "outputDefinitions"):
            for artifact in component.get(side, {}).get("artifacts", {}).values():
                assert artifact["artifactType"]["schemaTitle"] in ("system.Artifact", "system.Dataset", "system.Model")


def test_volumes_reach_every_container(compiled):
    executors = compiled["kubeflow-every-option"].platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(compiled["kubeflow-every-option"].spec["deploymentSpec"]["executors"])
    assert compiled["kubeflow-reference"].platform == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("infra_validator.executor=docker", "infra_validator.executor: docker starts containers, which a task cannot"),
        ("pusher.executor=stock", "pusher.executor: stock needs serving_model_dir in the config's section"),
    ],
)
def test_what_a_target_cannot_run_is_refused(reference_config_file, override, message):
    with pytest.raises(CompileError, match=message):
        compile_pipeline(load_config(reference_config_file, [override]), target="kubeflow")


def test_stock_pusher_has_a_fixed_destination(reference_config_file):
    overrides = ["pusher.executor=stock", "vertex.serving_model_dir=gs://bucket/models"]
    pipeline = compile_pipeline(load_config(reference_config_file, overrides), target="vertex")
    constant = task(pipeline, "Pusher")["inputs"]["parameters"]["push_destination"]["runtimeValue"]["constant"]
    assert json.loads(constant)["filesystem"]["base_directory"] == "gs://bucket/models"
    assert pipeline.required_parameters == ["input_dir"]


def test_parameters_that_no_command_line_holds_are_refused(reference_config_file):
    config = load_config(reference_config_file, [f"trainer.custom={{text: {'x' * 110_000}}}"])
    with pytest.raises(CompileError, match=r"Trainer: its parameters take 11\d{4} characters, .* holds 131072"):
        compile_pipeline(config, target="vertex")


def test_module_file_outside_the_image_is_refused(reference_config_file, tmp_path):
    (tmp_path / "mine.py").write_text("def run_fn(fn_args): pass\n")
    config = load_config(reference_config_file, [f"trainer.module_file={tmp_path}/mine.py"])
    with pytest.raises(CompileError, match=r"Trainer's module_file .*mine.py lies outside .* Move it to .*trainer"):
        compile_pipeline(config, target="vertex")
