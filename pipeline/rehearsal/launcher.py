"""Runs one task in a process of its own, as a backend's launcher does in a container."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import (
    ComponentSpec,
    ExecutorInput,
    ExecutorOutput,
    ParameterType,
    PipelineDeploymentConfig,
)

from pipeline.rehearsal.paths import PathMap
from pipeline.rehearsal.placeholders import fill_in, fill_in_text
from pipeline.rehearsal.spec import defaults

_LONGEST_LINE = 300
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")


class TaskError(Exception):
    """A task that failed, as it would have in a backend."""


@dataclass
class Values:
    """Inputs or outputs of a task: parameters as JSON values, artifacts as RuntimeArtifacts, also as JSON values."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Launcher:
    """Runs tasks.

    Attributes:
        paths: Where remote folders lie on this machine.
        names: Values of the placeholders that the run has one of, such as `pipeline_job_name`.
    """

    paths: PathMap
    names: Mapping[str, str]

    def run(
        self,
        component: ComponentSpec,
        container: PipelineDeploymentConfig.PipelineContainerSpec,
        inputs: Values,
        *,
        task_dir: Path,
    ) -> Values:
        """Runs a task: the hook before its cache check, if it has one, then its command.

        Args:
            component: What the task takes and gives.
            container: What it executes.
            inputs: Its inputs.
            task_dir: Its folder, emptied first but for its log.

        Returns:
            Its outputs.

        Raises:
            TaskError: If a command fails, or does not write what the component declares.
        """
        _empty(task_dir, keep="log.txt")
        executor_input = _executor_input(component, inputs, task_dir)
        names = {**self.names, "pipeline_task_name": task_dir.name, "pipeline_task_uuid": task_dir.name}
        parameters = executor_input["inputs"]["parameterValues"]
        for name, value in parameters.items():  # f-strings of the spec's author
            if isinstance(value, str):
                parameters[name] = fill_in_text(value, executor_input, names)
        hook = container.lifecycle.pre_cache_check
        commands = [[*hook.command, *hook.args]] if hook.command else []
        output = ExecutorOutput()
        for command in [*commands, [*container.command, *container.args]]:
            _apply(output, executor_input)
            filled = fill_in([self.paths.local(argument) for argument in command], executor_input, names)
            variables = {each.name: fill_in_text(each.value, executor_input, names) for each in container.env}
            _execute(filled, task_dir, variables)
            output = _read_output(executor_input)
        _apply(output, executor_input)
        return Values(
            parameters=_output_parameters(component, output, executor_input),
            artifacts={name: each["artifacts"][0] for name, each in executor_input["outputs"]["artifacts"].items()},
        )


def _empty(task_dir: Path, *, keep: str) -> None:
    task_dir.mkdir(parents=True, exist_ok=True)
    for path in task_dir.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != keep:
            path.unlink()
    for name in ("work", "artifacts"):
        (task_dir / name).mkdir()


def _executor_input(component: ComponentSpec, inputs: Values, task_dir: Path) -> dict[str, Any]:
    declared = component.output_definitions
    executor_input = {
        "inputs": {
            "parameterValues": {**defaults(component), **inputs.parameters},
            "artifacts": {name: {"artifacts": [artifact]} for name, artifact in inputs.artifacts.items()},
        },
        "outputs": {
            "artifacts": {
                name: {"artifacts": [_new_artifact(spec, task_dir, name)]} for name, spec in declared.artifacts.items()
            },
            "parameters": {
                name: {"outputFile": str(task_dir / "output_parameters" / name)} for name in declared.parameters
            },
            "outputFile": str(task_dir / "executor_output.json"),
        },
    }
    if declared.parameters:
        (task_dir / "output_parameters").mkdir()
    json_format.ParseDict(executor_input, ExecutorInput())  # as strict as a backend about what it hands over
    return _whole(executor_input)


def _whole(value: Any) -> Any:
    """Copies a JSON value with 5 in place of 5.0, as Go writes protos as JSON and Python does not."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(_whole, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _new_artifact(spec: Any, task_dir: Path, name: str) -> dict[str, Any]:
    return {
        "name": f"artifacts/{task_dir.name}/{name}",
        "uri": str(task_dir / "artifacts" / name),
        "type": json_format.MessageToDict(spec.artifact_type),
        "metadata": json_format.MessageToDict(spec.metadata),
    }


def _execute(command: Sequence[str], task_dir: Path, variables: Mapping[str, str]) -> None:
    """Runs a command to its end in a session of its own, which an interruption ends as a whole."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environment |= variables
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    log_file = task_dir / "log.txt"
    with log_file.open("ab") as log:
        try:
            process = subprocess.Popen(
                command,
                cwd=task_dir / "work",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as err:
            reason = err.strerror if isinstance(err, OSError) else err
            raise TaskError(f"{command[0]} cannot be started: {reason}") from err
        try:
            code = process.wait()
        finally:
            _end_session(process)
    if code:
        end = f"exited with {code}" if code > 0 else f"was killed by signal {-code}"
        raise TaskError(f"{end}: {_last_line(log_file)}")


def _end_session(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").splitlines()
    return next((line.strip()[:_LONGEST_LINE] for line in reversed(lines) if line.strip()), "it printed nothing")


def _read_output(executor_input: Mapping[str, Any]) -> ExecutorOutput:
    file = Path(executor_input["outputs"]["outputFile"])
    if not file.exists():
        return ExecutorOutput()
    try:
        return json_format.Parse(file.read_bytes(), ExecutorOutput())
    except json_format.ParseError as err:
        raise TaskError(f"wrote an executor output that is none: {err}") from err


def _apply(output: ExecutorOutput, executor_input: Mapping[str, Any]) -> None:
    """Merges what a command wrote into the ExecutorInput (component/launcher_v2.go, mergeRuntimeArtifacts)."""
    executor_input["inputs"]["parameterValues"].update(
        (name, json_format.MessageToDict(value)) for name, value in output.parameter_values.items()
    )
    for name, artifact_list in output.artifacts.items():
        if artifact_list.artifacts and name in executor_input["outputs"]["artifacts"]:
            found = artifact_list.artifacts[0]
            artifact = executor_input["outputs"]["artifacts"][name]["artifacts"][0]
            artifact["uri"] = found.uri or artifact["uri"]
            artifact["metadata"] |= json_format.MessageToDict(found.metadata)


def _output_parameters(
    component: ComponentSpec, output: ExecutorOutput, executor_input: Mapping[str, Any]
) -> dict[str, Any]:
    values: dict[str, Any] = {name: json_format.MessageToDict(value) for name, value in output.parameter_values.items()}
    for name, definition in component.output_definitions.parameters.items():
        if name in values:
            continue
        file = Path(executor_input["outputs"]["parameters"][name]["outputFile"])
        try:
            text = file.read_text()
            values[name] = text if definition.parameter_type == ParameterType.STRING else json.loads(text)
        except (OSError, ValueError) as err:
            raise TaskError(f"wrote no output parameter {name}: {err}") from err
    return {name: values[name] for name in component.output_definitions.parameters}
