"""Reads a compiled spec and says what cannot be rehearsed before anything runs."""

import graphlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import (
    ComponentSpec,
    DagSpec,
    ParameterType,
    PipelineDeploymentConfig,
    PipelineSpec,
    PipelineTaskSpec,
)

from pipeline.yaml_file import LARGEST_SPEC, parse_documents, read_text

_FAIL_FAST = "PIPELINE_FAILURE_POLICY_FAIL_FAST"
_FOLDER_NAME = re.compile(r"(?!\.)[^/\0]{1,200}")
_LARGEST_INTEGER = 2**53  # beyond which JSON's numbers are not exact


def _integer(text: str) -> int:
    number = int(text) if text.lstrip("+-").isdecimal() else _LARGEST_INTEGER + 1
    if abs(number) > _LARGEST_INTEGER:
        raise ValueError(text)
    return number


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_PARSERS: Mapping[Any, Callable[[str], Any]] = {
    ParameterType.NUMBER_INTEGER: _integer,
    ParameterType.NUMBER_DOUBLE: _number,
    ParameterType.BOOLEAN: {"true": True, "false": False}.__getitem__,
    ParameterType.STRING: str,
}
_KINDS = {ParameterType.LIST: list, ParameterType.STRUCT: dict, ParameterType.TASK_FINAL_STATUS: dict}


class SpecError(ValueError):
    """A file that is no spec, a spec that no backend runs or that is not rehearsed, or values that do not fit it."""


@dataclass(frozen=True)
class Specification:
    """A pipeline spec, checked.

    Attributes:
        pipeline: The spec.
        executors: What tasks execute, by label.
        parameter_values: Of the PipelineJob that holds the spec, if any.
        fail_fast: Whether no task starts any more once one has failed: so in Kubeflow, and in Vertex AI only if the
            PipelineJob says so.
        mount_paths: Where the containers of a cluster see volumes.
    """

    pipeline: PipelineSpec
    executors: Mapping[str, PipelineDeploymentConfig.ExecutorSpec]
    parameter_values: Mapping[str, Any]
    fail_fast: bool
    mount_paths: frozenset[str] = frozenset()


def read_documents(file: Path) -> list[dict[str, Any]]:
    """Returns the documents of a YAML file, or the one of a JSON file; there is at least one.

    Raises:
        SpecError: If it cannot be read or is neither.
    """
    try:
        text = read_text(file, LARGEST_SPEC)
        # JSON is almost YAML: 1e-05 is a number in the one and a text in the other.
        documents = [json.loads(text)] if text.startswith("{") else parse_documents(text)
    except OSError as err:
        raise SpecError(f"{file}: cannot be read: {err.strerror}.") from err
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise SpecError(f"{file}: is not YAML or JSON: {' '.join(str(err).split())}.") from err
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise SpecError(f"{file}: is not a pipeline spec: it holds no 'key: value' lines.")
    return documents


def load_spec(file: Path) -> Specification:
    """Reads a YAML pipeline spec or a PipelineJob as JSON.

    Raises:
        SpecError: If it is neither, or holds what cannot be rehearsed.
    """
    document, *platforms = read_documents(file)
    job = document if "pipelineSpec" in document else {"pipelineSpec": document}
    try:
        pipeline = json_format.ParseDict(job["pipelineSpec"], PipelineSpec())
        executors = json_format.ParseDict(
            json_format.MessageToDict(pipeline.deployment_spec), PipelineDeploymentConfig()
        ).executors
    except (json_format.ParseError, AttributeError, TypeError) as err:
        raise SpecError(f"{file}: is not a pipeline spec: {' '.join(str(err).split())}.") from err
    if problems := list(_problems(pipeline, executors)):
        raise SpecError("\n".join(f"{file}: {problem}" for problem in problems))
    runtime = job.get("runtimeConfig", {"failurePolicy": _FAIL_FAST})
    runtime = {} if runtime is None else runtime
    values = (runtime.get("parameterValues") or {}) if isinstance(runtime, dict) else None
    if not isinstance(values, dict):
        raise SpecError(f"{file}: runtimeConfig and its parameterValues must hold 'key: value' lines.")
    if unknown := sorted(values.keys() - pipeline.root.input_definitions.parameters.keys()):
        raise SpecError(
            f"{file}: runtimeConfig.parameterValues: {', '.join(unknown)}: not among the spec's parameters."
        )
    return Specification(
        pipeline=pipeline,
        executors=executors,
        parameter_values=values,
        fail_fast=runtime.get("failurePolicy") == _FAIL_FAST,
        mount_paths=frozenset(re.findall(r'"mountPath": "(/[^"]+)"', json.dumps(platforms))),
    )


def _problems(pipeline: PipelineSpec, executors: Mapping[str, Any]) -> Iterator[str]:
    if pipeline.schema_version != "2.1.0":
        yield f"schemaVersion is {pipeline.schema_version or 'missing'}; backends run 2.1.0."
    if not pipeline.root.dag.tasks:
        yield "has no tasks."
    for name in _folder_names(pipeline):
        if not _FOLDER_NAME.fullmatch(name):
            yield f"the name {name[:100]!r} cannot be that of a folder."
    nested = {
        name: {task.component_ref.name for task in component.dag.tasks.values()}
        for name, component in pipeline.components.items()
    }
    try:
        graphlib.TopologicalSorter(nested).prepare()
    except graphlib.CycleError as err:
        yield f"components hold each other: {' -> '.join(err.args[1])}."
    for dag_name, component in (("root", pipeline.root), *pipeline.components.items()):
        for name, task in component.dag.tasks.items():
            yield from (
                f"task {name}: {problem}" for problem in _task_problems(task, component.dag, pipeline, executors)
            )
        try:
            task_order(component.dag)
        except graphlib.CycleError as err:
            yield f"{dag_name}: tasks wait for each other: {' -> '.join(err.args[1])}."


def _folder_names(pipeline: PipelineSpec) -> Iterator[str]:
    """Yields the names that rehearsals give to folders."""
    yield pipeline.pipeline_info.name
    for component in (pipeline.root, *pipeline.components.values()):
        yield from (*component.dag.tasks, *component.output_definitions.artifacts)
        yield from component.output_definitions.parameters


def _task_problems(
    task: PipelineTaskSpec, dag: DagSpec, pipeline: PipelineSpec, executors: Mapping[str, Any]
) -> Iterator[str]:
    if task.WhichOneof("iterator"):
        yield "is a loop, which is not rehearsed."
    for dependency in sorted(dependencies(task) - set(dag.tasks)):
        yield f"needs the task {dependency}, which its DAG does not have."
    component = pipeline.components.get(task.component_ref.name)
    if component is None:
        yield f"has the component {task.component_ref.name or '(none)'}, which the spec does not have."
    elif component.WhichOneof("implementation") == "executor_label":
        executor = executors.get(component.executor_label, PipelineDeploymentConfig.ExecutorSpec())
        kind = executor.WhichOneof("spec")
        if kind not in ("container", "importer"):
            yield f"has an executor of kind {kind or '(none)'}; Kubeflow's backend runs containers and importers."
        elif kind == "container" and not (executor.container.command or executor.container.args):
            yield "has no command; what its image would start is not known here."


def dependencies(task: PipelineTaskSpec) -> set[str]:
    """Returns the tasks of the same DAG that a task waits for, named or by its inputs."""
    inputs = [*task.inputs.parameters.values(), *task.inputs.artifacts.values()]
    kinds = ("task_output_parameter", "task_final_status", "task_output_artifact")
    found = [getattr(each, kind).producer_task for each in inputs for kind in kinds if _has(each, kind)]
    return {*found, *task.dependent_tasks}


def _has(message: Any, field: str) -> bool:
    return field in message.DESCRIPTOR.fields_by_name and message.HasField(field)


def task_order(dag: DagSpec) -> list[str]:
    """Returns the tasks of a DAG, each after those that it waits for, else by name.

    Raises:
        graphlib.CycleError: If tasks wait for each other.
    """
    sorter = graphlib.TopologicalSorter({name: dependencies(task) for name, task in dag.tasks.items()})
    sorter.prepare()
    order: list[str] = []
    while ready := sorted(sorter.get_ready()):
        order += ready
        sorter.done(*ready)
    return order


def leaf_names(pipeline: PipelineSpec) -> Iterator[str]:
    """Yields the name of every task that is no DAG, after those of the DAGs that it is in: `tfx-dag/Trainer`."""

    def names(dag: DagSpec, prefix: str) -> Iterator[str]:
        for name, task in dag.tasks.items():
            component = pipeline.components[task.component_ref.name]
            if component.WhichOneof("implementation") == "dag":
                yield from names(component.dag, f"{prefix}{name}/")
            else:
                yield prefix + name

    yield from names(pipeline.root.dag, "")


def resolve_parameters(specification: Specification, given: Mapping[str, str]) -> dict[str, Any]:
    """Returns the value of every runtime parameter: the given text by its type, the PipelineJob's, or the default.

    Raises:
        SpecError: If one is unknown, of another type or missing; the message lists them all.
    """
    definitions = specification.pipeline.root.input_definitions.parameters
    problems, values = [], dict(specification.parameter_values)
    for name, text in given.items():
        if name not in definitions:
            problems.append(f"{name} is no parameter of this spec. It has: {', '.join(sorted(definitions)) or 'none'}.")
            continue
        try:
            values[name] = _parse(text, definitions[name].parameter_type)
        except (ValueError, KeyError):
            kind = ParameterType.ParameterTypeEnum.Name(definitions[name].parameter_type)
            problems.append(f"{name} is a {kind}. Received: {text!r}.")
    values = defaults(specification.pipeline.root) | values
    missing = sorted(
        name
        for name, definition in definitions.items()
        if name not in {**values, **given} and not definition.is_optional
    )
    if missing:
        problems.append(f"{', '.join(missing)}: no default, and no value. Give --parameter NAME=VALUE.")
    if problems:
        raise SpecError("\n".join(f"--parameter: {problem}" for problem in problems))
    return values


def defaults(component: ComponentSpec) -> dict[str, Any]:
    """Returns the default of every parameter of a component that has one."""
    return {
        name: json_format.MessageToDict(definition.default_value)
        for name, definition in component.input_definitions.parameters.items()
        if definition.HasField("default_value")
    }


def _parse(text: str, parameter_type: int) -> Any:
    if parser := _PARSERS.get(parameter_type):
        return parser(text)
    value = json.loads(text)
    if not isinstance(value, _KINDS[parameter_type]):
        raise ValueError(text)
    return value
