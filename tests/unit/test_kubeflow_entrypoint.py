"""The command of a compiled task, with the ExecutorInput that Kubeflow's or Vertex AI's backend gives it."""

import json
from types import MappingProxyType

import pytest

from components import kubeflow_entrypoint
from components.kubeflow_entrypoint import main
from components.trainer.executor import run_parameters

SCHEMA_GEN = "components.schema_gen.executor.Executor"
NO_SPLITS = {"split_names": "[]"}
EXAMPLE_GEN = "tfx.components.example_gen.csv_example_gen.executor.Executor"


def artifact_list(uri, title=None, **metadata):
    artifact = {"uri": uri, "metadata": metadata, "name": f"artifacts/{uri}"}
    return {"artifacts": [artifact | ({"type": {"instanceSchema": f"title: {title}\n"}} if title else {})]}


def run(
    tmp_path,
    executor,
    *flags,
    parameters=MappingProxyType({}),
    inputs=MappingProxyType({}),
    outputs,
    types=MappingProxyType({}),
):
    """Runs one task; returns its exit code and its ExecutorOutput."""
    output_file = tmp_path / "kfp_outputs" / "output_metadata.json"
    invocation = {
        "inputs": {"parameterValues": dict(parameters), "artifacts": dict(inputs)},
        "outputs": {"artifacts": outputs, "outputFile": str(output_file)},
    }
    inputs_spec = {
        "artifacts": {name: {"artifactType": {"instanceSchema": f"title: {title}\n"}} for name, title in types.items()},
        "parameters": {
            name: {"parameterType": "NUMBER_INTEGER" if isinstance(value, int) else "STRING"}
            for name, value in parameters.items()
        },
    }
    code = main(
        [
            *flags,
            "--executor_class_path",
            executor,
            "--json_serialized_invocation_args",
            json.dumps(invocation),
            "--json_serialized_inputs_spec_args",
            json.dumps(inputs_spec),
            "--runner=FnApiRunner",
            "--sdk_container_image=unused",
        ]
    )
    return code, json.loads(output_file.read_text()) if output_file.exists() else {}


@pytest.fixture
def launcher_folders(tmp_path, monkeypatch):
    """Stands in for the launcher's folders at the root of a container."""
    folders = {scheme: f"{tmp_path}/launcher/{scheme[:-3]}/" for scheme in kubeflow_entrypoint._LOCAL_FOLDERS}
    monkeypatch.setattr(kubeflow_entrypoint, "_LOCAL_FOLDERS", folders)
    return tmp_path / "launcher"


@pytest.mark.parametrize("scheme", ["minio", "s3", "gs"])
def test_launcher_finds_artifacts_in_its_folders_and_keeps_their_uris(tmp_path, launcher_folders, scheme):
    outputs = {"schema": artifact_list(f"{scheme}://bucket/run/schema", "tfx.Schema")}
    code, output = run(
        tmp_path, SCHEMA_GEN, "--local_artifacts", parameters={"schema_text": 'feature { name: "x" }'}, outputs=outputs
    )
    assert code == 0
    assert (launcher_folders / scheme / "bucket/run/schema/schema.pbtxt").read_text() == 'feature { name: "x" }'
    assert "uri" not in output["artifacts"]["schema"]["artifacts"][0]


def test_artifacts_without_a_type_or_unknown_to_the_component_are_no_hindrance(tmp_path, launcher_folders):
    outputs = {
        "schema": artifact_list("minio://b/schema", "system.Artifact"),
        "executor-logs": artifact_list("minio://b/executor-logs", "system.Artifact"),
    }
    spec = {"artifacts": {"schema": {"artifactType": {"instanceSchema": "title: tfx.Schema\n"}}}}
    flags = ("--local_artifacts", f"--outputs_spec={json.dumps(spec)}")
    code, output = run(tmp_path, SCHEMA_GEN, *flags, parameters={"schema_text": ""}, outputs=outputs)
    assert (code, list(output["artifacts"])) == (0, ["schema"])
    findings_spec = {"artifacts": {"findings": {"artifactType": {"instanceSchema": "title: tfx.ExampleAnomalies\n"}}}}
    code, _ = run(
        tmp_path,
        "components.data_gate.executor.DataGate_Executor",
        *("--local_artifacts", f"--outputs_spec={json.dumps(findings_spec)}"),
        parameters={"settings": '{"drift": null, "skew": null}', "serving_model_dir": ""},
        inputs={
            "anomalies": {"artifacts": [{"uri": "minio://b/a", "type": {"instanceSchema": ""}, "metadata": NO_SPLITS}]},
            "statistics": artifact_list("minio://b/statistics", "Dataset", **NO_SPLITS),
            "schema": artifact_list("minio://b/schema", "Dataset"),
        },
        outputs={"findings": artifact_list("minio://b/findings", "tfx.ExampleAnomalies")},
        types={"anomalies": "tfx.ExampleAnomalies", "statistics": "tfx.ExampleStatistics", "schema": "tfx.Schema"},
    )
    assert code == 0


def test_backend_without_launcher_gets_the_uris(tmp_path):
    outputs = {"schema": artifact_list(str(tmp_path / "schema"), "tfx.Schema")}
    code, output = run(tmp_path, SCHEMA_GEN, parameters={"schema_text": ""}, outputs=outputs)
    assert (code, output["artifacts"]["schema"]["artifacts"][0]["uri"]) == (0, str(tmp_path / "schema"))


@pytest.mark.beam
def test_driver_runs_where_the_backend_has_no_hook_for_it(tmp_path):
    for span in (1, 2):
        (tmp_path / f"span-{span}").mkdir()
        (tmp_path / f"span-{span}" / "rows.csv").write_text("x,y\n" + f"{span},1\n" * 20)
    parameters = {
        "input_base": str(tmp_path),
        "input_config": '{"splits": [{"name": "rows", "pattern": "span-{SPAN}/*.csv"}]}',
        "output_config": '{"split_config": {"splits": [{"name": "train", "hash_buckets": 1}]}}',
        "output_data_format": 6,
        "output_file_format": 5,
    }
    for requested, span in ((-1, 2), (1, 1)):
        code, output = run(
            tmp_path,
            EXAMPLE_GEN,
            "--run_driver",
            parameters=parameters | {"requested_span": requested},
            outputs={"examples": artifact_list(str(tmp_path / f"examples-{requested}"), "tfx.Examples")},
        )
        (examples,) = output["artifacts"]["examples"]["artifacts"]
        assert (code, examples["metadata"]["custom:span"], examples["metadata"]["split_names"]) == (
            0,
            span,
            '["train"]',
        )


def test_driver_alone_leaves_the_rows_alone(tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n1,1\n")
    parameters = {"input_base": str(tmp_path), "input_config": '{"splits": [{"name": "rows", "pattern": "*.csv"}]}'}
    outputs = {"examples": artifact_list(str(tmp_path / "examples"), "tfx.Examples")}
    code, output = run(tmp_path, EXAMPLE_GEN, "--driver_only", parameters=parameters, outputs=outputs)
    assert code == 0
    assert output["parameterValues"]["span"] == 0
    assert not (tmp_path / "examples").exists()


@pytest.mark.parametrize("wrong", [{"num_epochs": 0}, {"learning_rate": -0.1}, {"learning_rate": float("nan")}])
def test_hyperparameters_of_a_run_are_checked_when_it_runs(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be above 0. Received: "):
        run_parameters({"num_epochs": 1, "learning_rate": 0.1, **wrong})
