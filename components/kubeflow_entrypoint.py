"""What the container of a compiled task runs: TFX's own entrypoint, given what a backend leaves out.

Runs in a task's container, on Vertex AI and on Kubeflow Pipelines 2. The latter's driver and launcher
(kubeflow/pipelines, backend/src/v2) differ from what TFX 1.21 expects: artifacts come without TFX's types, and with
one more for the log; they are files of the launcher's, in local folders; no driver of ExampleGen runs; the final
status is no text. Sources: tfx/orchestration/kubeflow/v2/container and .../file_based_example_gen.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from components.imports import quick_imports

with quick_imports():
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor
    from tfx.orchestration.kubeflow.v2.file_based_example_gen import driver

    from components.data_gate import DataRefusedError
    from components.example_gen import select_span
    from components.model_manifest import is_remote, open_file
    from components.pusher import REASON_PROPERTY

_LOCAL_FOLDERS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}  # component/launcher_v2.go, LocalPathForURI
_MODEL_REFUSED, _DATA_REFUSED = 3, 4  # exit codes, as of `sluice run`


def main(argv: Sequence[str]) -> int:
    """Runs the driver or the executor of one task.

    Args:
        argv: The arguments that TFX's compiler writes, and `--driver_only` (of ExampleGen, in place of its executor),
            `--run_driver` (before it), `--local_artifacts` (where a launcher copies artifacts to and from local
            folders) or `--outputs_spec` (the component's outputs with TFX's types, as JSON).

    Returns:
        The exit code: 0, 3 if a model was not pushed, 4 if the data was refused.
    """
    flags, beam_args = _parse_flags(argv)
    invocation = json.loads(flags.json_serialized_invocation_args)
    inputs, outputs = invocation.setdefault("inputs", {}), invocation["outputs"]
    _complete_parameters(inputs.setdefault("parameterValues", {}))
    _complete_types(inputs, json.loads(flags.json_serialized_inputs_spec_args))
    if flags.outputs_spec:
        _complete_types(outputs, json.loads(flags.outputs_spec))
    for artifact in _artifacts(inputs, outputs):
        artifact["name"] = artifact.get("name") or artifact["uri"]  # TFX's Evaluator needs one
        if flags.local_artifacts:
            artifact["uri"] = _local_path(artifact["uri"])
        if not flags.driver_only and not is_remote(artifact["uri"]):
            # As TFX's local launcher does, but no backend; a folder without files gets lost on its way.
            os.makedirs(artifact["uri"], exist_ok=True)
    flags.json_serialized_invocation_args = json.dumps(invocation)
    if flags.driver_only or flags.run_driver:
        driver.main(flags)
    if flags.driver_only:
        return 0
    if flags.run_driver:
        _merge_metadata(_read(outputs["outputFile"]), into=outputs)
        flags.json_serialized_invocation_args = json.dumps(invocation)
    try:
        kubeflow_v2_run_executor.main((flags, beam_args))
    except DataRefusedError as err:
        logging.error("DATA REFUSED: %s", "; ".join(str(err).splitlines()))
        return _DATA_REFUSED
    return _finish(outputs["outputFile"], local_artifacts=flags.local_artifacts)


def _parse_flags(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("driver_only", "run_driver", "local_artifacts"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("executor_class_path", "outputs_spec"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", default="{}")
    return parser.parse_known_args(argv)


def _complete_parameters(parameters: dict[str, Any]) -> None:
    select_span(parameters)
    for name, value in parameters.items():
        if isinstance(value, dict | list):  # the final status, which TFX takes as text
            parameters[name] = json.dumps(value)


def _complete_types(side: dict[str, Any], spec: dict[str, Any]) -> None:
    """Gives the inputs or outputs of an ExecutorInput (kfp's pipeline_spec.proto) their types, and drops all others."""
    specs = spec.get("artifacts", {})
    side["artifacts"] = {name: each for name, each in side.get("artifacts", {}).items() if name in specs}
    for name, artifact_list in side["artifacts"].items():
        for artifact in artifact_list["artifacts"]:
            artifact["type"] = specs[name]["artifactType"]


def _artifacts(*sides: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for side in sides:
        for artifact_list in side.get("artifacts", {}).values():
            yield from artifact_list["artifacts"]


def _local_path(uri: str) -> str:
    for scheme, folder in _LOCAL_FOLDERS.items():
        if uri.startswith(scheme):
            return folder + uri.removeprefix(scheme)
    return uri


def _merge_metadata(output: dict[str, Any], *, into: dict[str, Any]) -> None:
    for found, artifact in zip(_artifacts(output), _artifacts(into), strict=True):
        artifact.setdefault("metadata", {}).update(found["metadata"])


def _read(output_file: str) -> dict[str, Any]:
    with open_file(output_file, "r") as file:
        return json.loads(file.read())


def _finish(output_file: str, *, local_artifacts: bool) -> int:
    """Leaves it to the launcher where artifacts lie, if it copies them; tells apart what was not pushed."""
    output = _read(output_file)
    if local_artifacts:
        for artifact in _artifacts(output):
            artifact.pop("uri", None)
        with open_file(output_file, "w") as file:
            file.write(json.dumps(output))
    for artifact in output.get("artifacts", {}).get("pushed_model", {}).get("artifacts", []):
        if not artifact["metadata"].get("pushed"):
            logging.error("NOT PUSHED: %s", artifact["metadata"].get(REASON_PROPERTY, "the model is not blessed"))
            return _MODEL_REFUSED
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, force=True)  # TFX has set up another
    sys.exit(main(sys.argv[1:]))
