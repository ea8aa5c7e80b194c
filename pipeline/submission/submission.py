"""What is submitted: a compiled spec and values for its parameters. Imports kfp and TFX only where they are needed."""

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.imports import quick_imports
from pipeline.config import PipelineConfig
from pipeline.deployment_config import Target
from pipeline.log_file import discarded_stderr

if TYPE_CHECKING:
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec


@dataclass(frozen=True)
class Submission:
    """A pipeline, ready to be sent.

    Attributes:
        job: PipelineJob of Vertex AI as JSON values; for Kubeflow nothing but the `pipelineSpec` in it.
        platform: What Kubernetes alone understands, the second document of a Kubeflow file; empty if nothing.
        run_name: Name of the run or the schedule.
        parameters: Values that take the place of the spec's defaults.
    """

    job: dict[str, Any]
    platform: dict[str, Any]
    run_name: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        """The pipeline spec."""
        return self.job["pipelineSpec"]

    @property
    def pipeline_name(self) -> str:
        """The name in the spec."""
        return self.spec["pipelineInfo"]["name"]

    def message(self) -> "PipelineSpec":
        """Returns the spec in the type of its format.

        Raises:
            google.protobuf.json_format.ParseError: If it is no pipeline spec.
        """
        from google.protobuf import json_format
        from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

        return json_format.ParseDict(self.spec, PipelineSpec())

    def task_names(self) -> frozenset[str]:
        """Returns the names of the tasks that are no DAGs."""
        from pipeline.rehearsal.spec import leaf_names

        return frozenset(name.rsplit("/", 1)[-1] for name in leaf_names(self.message()))


def compile_submission(config: PipelineConfig, target: Target, image: str | None) -> Submission:
    """Compiles a config.

    Raises:
        ConfigError: If the target cannot run what the config describes.
    """
    with discarded_stderr(), quick_imports():  # TensorFlow's remarks
        from pipeline.kubeflow_v2_runner import compile_pipeline

        compiled = compile_pipeline(config, target=target, image=image)
    return Submission(compiled.job or {"pipelineSpec": compiled.spec}, compiled.platform)


def read_submission(file: Path, target: Target) -> Submission:
    """Reads a YAML pipeline spec or a PipelineJob as JSON.

    Raises:
        SpecError: If it is neither or was compiled for the other target.
    """
    from google.protobuf.json_format import ParseError

    from pipeline.rehearsal.spec import SpecError, read_documents

    document, *others = read_documents(file)
    is_job = "pipelineSpec" in document
    submission = Submission(document if is_job else {"pipelineSpec": document}, others[0] if others else {})
    try:
        version = submission.message().schema_version
    except (ParseError, AttributeError, TypeError) as err:
        raise SpecError(f"{file}: is not a pipeline spec: {' '.join(str(err).split())}.") from err
    if version != "2.1.0":
        raise SpecError(f"{file}: schemaVersion is {version or 'missing'}; backends run 2.1.0.")
    if reason := _unfit(submission, target, is_job=is_job):
        raise SpecError(f"{file}: {reason} Compile it with --target {target}.")
    return submission


def _unfit(submission: Submission, target: Target, *, is_job: bool) -> str:
    if target == "vertex":
        found = "its second document says what Kubernetes does, which Vertex AI ignores" if submission.platform else ""
        return f"was compiled for Kubeflow: {found}." if found else ""
    executors = submission.spec.get("deploymentSpec", {}).get("executors", {})
    hooks = [label for label, executor in executors.items() if "lifecycle" in executor.get("container", {})]
    found = "it is a PipelineJob" if is_job else f"{hooks[0]} has a hook that Kubeflow ignores" if hooks else ""
    return f"was compiled for Vertex AI: {found}." if found else ""


def with_parameters(submission: Submission, given: Mapping[str, str]) -> Submission:
    """Returns the submission with the given texts as values of its parameters, each by its type.

    Raises:
        SpecError: If one is unknown, of another type or missing; the message lists them all.
    """
    from pipeline.rehearsal.spec import Specification, resolve_parameters

    of_job = submission.job.get("runtimeConfig", {}).get("parameterValues", {})
    specification = Specification(submission.message(), executors={}, parameter_values=of_job, fail_fast=False)
    values = resolve_parameters(specification, given)
    parameters = {name: value for name, value in values.items() if name in {*of_job, *given}}
    return dataclasses.replace(submission, parameters=parameters)


def without_cache(submission: Submission) -> Submission:
    """Returns the submission with every task, in nested DAGs too, told to execute."""
    job = copy.deepcopy(submission.job)
    spec = job["pipelineSpec"]
    for component in (spec["root"], *spec.get("components", {}).values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {"enableCache": False}
    return dataclasses.replace(submission, job=job)
