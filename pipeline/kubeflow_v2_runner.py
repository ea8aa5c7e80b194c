"""Compiles the pipeline for Vertex AI and for Kubeflow Pipelines 2, to pipeline spec 2.1. Runs at compile time.

TFX's own runner does the translation. What it has no word for (defaults of parameters, resources of ExampleGen,
retries, labels), and what Kubeflow's backend would refuse, is set here, in the typed message that it gives.
"""

import importlib.metadata
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.compiler.pipeline_spec_builder import extract_comments_from_pipeline_spec
from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentSpec, ParameterType, PipelineDeploymentConfig, PipelineSpec
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.utils import TFX_DAG_NAME
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig

from components.exit_handler.component import create_exit_handler
from components.pusher.executor import RUN_ID, SERVING_MODEL_DIR
from components.source_digest import PROJECT_ROOT
from pipeline.config import PipelineConfig
from pipeline.config_errors import ConfigError
from pipeline.definition import create_components, create_pipeline
from pipeline.deployment_config import KubeflowConfig, Target, TaskConfig, VertexConfig, task_config
from pipeline.evaluator_config import ThresholdConfig
from pipeline.example_gen_config import ExampleGenConfig
from pipeline.run_record import EXIT_HANDLER, VERTEX_PUSHER
from pipeline.trainer_config import TrainerConfig
from pipeline.vertex import create_vertex_pusher, train_in_custom_job

_ENTRYPOINT = ("python", "-m", "components.kubeflow_entrypoint")
_SYSTEM_TYPES = {"tfx.Examples": "system.Dataset", "tfx.Model": "system.Model", "tfx.PushedModel": "system.Model"}
_NEVER_CACHED = (  # what is served is no input of a task
    "Baseline", "DataGate", "Pusher", "WarmStart", VERTEX_PUSHER, EXIT_HANDLER,
)  # fmt: skip
_LONGEST_INPUTS = 100_000
_LONGEST_BACKOFF_SECS = 3600
_USER_FUNCTIONS = {"Transform": "preprocessing_fn", "Trainer": "run_fn", "Tuner": "tuner_fn"}
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15} | {
    f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTP", start=1)
}


class CompileError(ConfigError):
    """A config that runs on this machine but not on the target."""


@dataclass(frozen=True)
class CompiledPipeline:
    """A compiled pipeline, as JSON values.

    Attributes:
        spec: The pipeline spec.
        platform: What Kubernetes alone understands, the second document of a Kubeflow file; empty if nothing.
        job: The PipelineJob of Vertex AI, with the spec in it; empty for Kubeflow.
    """

    spec: dict[str, Any]
    platform: dict[str, Any]
    job: dict[str, Any]

    @property
    def yaml_text(self) -> str:
        """The file that Kubeflow's and Vertex AI's clients and consoles take."""
        documents = [self.spec, self.platform] if self.platform else [self.spec]
        return extract_comments_from_pipeline_spec(self.spec, self.spec["pipelineInfo"]["description"]) + (
            yaml.safe_dump_all(documents, sort_keys=True, width=120)
        )

    @property
    def required_parameters(self) -> list[str]:
        """The parameters that have no default."""
        parameters = self.spec["root"]["inputDefinitions"]["parameters"]
        return sorted(name for name, definition in parameters.items() if "defaultValue" not in definition)

    @property
    def summary(self) -> str:
        """Says in a line what was compiled."""
        executors = self.spec["deploymentSpec"]["executors"].values()
        images = sorted({executor["container"]["image"] for executor in executors})
        return f"{self.spec['pipelineInfo']['name']}: {len(executors)} tasks in {', '.join(images)}"

    @property
    def job_text(self) -> str:
        """The PipelineJob as JSON."""
        return json.dumps(self.job, indent=1, sort_keys=True) + "\n"


def compile_pipeline(config: PipelineConfig, *, target: Target, image: str | None = None) -> CompiledPipeline:
    """Compiles the pipeline of a config; needs no cloud, no bucket and no credentials.

    Args:
        config: The config.
        target: `vertex` or `kubeflow`.
        image: Container image of every task, in place of the config's.

    Raises:
        CompileError: If the target cannot run what the config describes.
    """
    # User code comes by its dotted name from the image.
    os.environ["UNSUPPORTED_DO_NOT_PACKAGE_USER_MODULES"] = "1"
    image = image or config.image or f"sluice:{importlib.metadata.version('sluice')}"
    deployment = config.vertex if target == "vertex" else config.kubeflow
    values = config.run_parameters(deployment)
    components = _create_components(config, deployment, values)
    if target == "vertex":
        nodes = {node.id: node for node in components}
        train_in_custom_job(nodes["Trainer"], config.vertex, image=image)
        components += create_vertex_pusher(nodes, config.vertex)
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(default_image=image, default_commands=list(_ENTRYPOINT), use_pipeline_spec_2_1=True)
    )
    runner.set_exit_handler(create_exit_handler(config.pipeline_name, **config.notification.model_dump()))
    pipeline_root = deployment.pipeline_root or ""
    pipeline = create_pipeline(config, components, pipeline_root=pipeline_root, image=image)
    job = runner.run(pipeline, write_out=False)

    spec = json_format.ParseDict(job["pipelineSpec"], PipelineSpec())
    spec.pipeline_info.description = f"Sluice for {target}: only a model that has earned it is pushed."
    spec.default_pipeline_root = pipeline_root
    _define_parameters(spec, values)
    _configure_tasks(spec, config, target)
    job["pipelineSpec"] = json_format.MessageToDict(spec)
    job["labels"] |= config.vertex.labels
    job = json.loads(json.dumps(job, sort_keys=True))  # the order of a message's maps is another in each process
    return CompiledPipeline(
        spec=job["pipelineSpec"],
        platform=_platform(spec, config.kubeflow) if target == "kubeflow" else {},
        job=job if target == "vertex" else {},
    )


def _create_components(
    config: PipelineConfig, deployment: VertexConfig | KubeflowConfig, values: dict[str, Any]
) -> list[BaseComponent]:
    if config.infra_validator.executor == "docker":
        raise CompileError("infra_validator.executor: docker starts containers, which a task cannot. Use loader.")
    if (names := config.beam.distributed_components) and not (deployment.pipeline_root or "").startswith("gs://"):
        raise CompileError(
            f"pipeline_root of the target: Beam workers ({', '.join(names)}) read no folder but gs://BUCKET/FOLDER. "
            f"Received: {deployment.pipeline_root}."
        )
    parameters: dict[str, Any] = {
        name: RuntimeParameter(name, ptype=str if value is None else type(value)) for name, value in values.items()
    }
    if config.pusher.executor == "stock":  # whose destination is no parameter
        if not deployment.serving_model_dir:
            raise CompileError("pusher.executor: stock needs serving_model_dir in the config's section of the target.")
        parameters["serving_model_dir"] = deployment.serving_model_dir
    components = create_components(config, parameters)
    for node in components:
        if function := _USER_FUNCTIONS.get(node.id):
            properties = node.spec.exec_properties
            properties[function] = f"{_module_name(properties.pop('module_file'), node.id)}.{function}"
        if node.id == "Pusher" and SERVING_MODEL_DIR in node.spec.exec_properties:  # ours, whose manifests tell the run
            node.spec.exec_properties[RUN_ID] = "{{$.pipeline_job_resource_name}}"
    return components


def _module_name(module_file: str, component: str) -> str:
    file = Path(module_file).resolve()
    package = PROJECT_ROOT / "components"
    if not file.is_relative_to(package):
        raise CompileError(
            f"{component}'s module_file {module_file} lies outside the package `components`, and so in no image. "
            f"Move it to {package / component.lower()}."
        )
    return ".".join(file.relative_to(PROJECT_ROOT).with_suffix("").parts)


def _define_parameters(spec: PipelineSpec, values: dict[str, Any]) -> None:
    """Gives the parameters their defaults, and hands them on to the DAG that the exit handler waits for."""
    for name, definition in spec.root.input_definitions.parameters.items():
        definition.description = _description(name)
        if values[name] is not None:
            json_format.ParseDict(values[name], definition.default_value)
            definition.is_optional = True
        inner = spec.components[TFX_DAG_NAME].input_definitions.parameters[name]
        inner.parameter_type = definition.parameter_type
        spec.root.dag.tasks[TFX_DAG_NAME].inputs.parameters[name].component_input_parameter = name


def _description(name: str) -> str:
    sections = (ExampleGenConfig, TrainerConfig, ThresholdConfig, VertexConfig)
    fields = ((key, field) for section in sections for key, field in section.model_fields.items())
    return next(field.description or "" for key, field in fields if name.endswith(key))


def _configure_tasks(spec: PipelineSpec, config: PipelineConfig, target: Target) -> None:
    deployment = json_format.ParseDict(json_format.MessageToDict(spec.deployment_spec), PipelineDeploymentConfig())
    tasks = {**spec.components[TFX_DAG_NAME].dag.tasks, EXIT_HANDLER: spec.root.dag.tasks[EXIT_HANDLER]}
    for name, task in tasks.items():
        settings = task_config(config.tasks, name)
        container = deployment.executors[spec.components[name].executor_label].container
        enable_cache = config.enable_cache if settings.enable_cache is None else settings.enable_cache
        if target == "vertex":
            _configure_driver(container)
        else:
            # Without its driver, ExampleGen's cache key knows where the rows lie but not what they are.
            enable_cache = enable_cache and not container.HasField("lifecycle")
            _fit_to_launcher(container, spec.components[name], local=name not in config.beam.distributed_components)
        _check_size(name, task)
        task.caching_options.enable_cache = enable_cache and name not in _NEVER_CACHED
        _set_retries(task, settings)
        _set_resources(container.resources, settings)
    if target == "kubeflow":
        final_status = spec.components[EXIT_HANDLER].input_definitions.parameters["final_status"]
        final_status.parameter_type = ParameterType.TASK_FINAL_STATUS
        final_status.is_optional = True
    spec.deployment_spec.Clear()
    spec.deployment_spec.update(json_format.MessageToDict(deployment))


def _check_size(name: str, task: Any) -> None:
    size = len(_json_text(task.inputs))
    if size > _LONGEST_INPUTS:
        raise CompileError(
            f"{name}: its parameters take {size} characters, and a task gets them in one argument of a command, which "
            f"holds 131072. At most {_LONGEST_INPUTS} leave room for its artifacts."
        )


def _configure_driver(container: PipelineDeploymentConfig.PipelineContainerSpec) -> None:
    if container.HasField("lifecycle"):
        container.lifecycle.pre_cache_check.command[:] = [*_ENTRYPOINT, "--driver_only"]


def _fit_to_launcher(
    container: PipelineDeploymentConfig.PipelineContainerSpec, component: ComponentSpec, *, local: bool
) -> None:
    """Declares artifacts as what every version of Kubeflow's backend accepts; the container is told TFX's own types.

    Beam workers elsewhere see nothing of the launcher's `local` copies: their component takes the URIs as they are.
    """
    container.args.insert(0, f"--outputs_spec={_json_text(component.output_definitions)}")
    if local:
        container.args.insert(0, "--local_artifacts")
    for definitions in (component.input_definitions, component.output_definitions):
        for artifact in definitions.artifacts.values():
            tfx_type = yaml.safe_load(artifact.artifact_type.instance_schema)["title"]
            artifact.artifact_type.schema_title = _SYSTEM_TYPES.get(tfx_type, "system.Artifact")
            artifact.artifact_type.schema_version = "0.0.1"
    if container.HasField("lifecycle"):  # a hook that Kubeflow's backend does not know
        container.args.insert(0, "--run_driver")
        container.ClearField("lifecycle")


def _json_text(message: Any) -> str:
    return json.dumps(json_format.MessageToDict(message), sort_keys=True)


def _set_retries(task: Any, settings: TaskConfig) -> None:
    if settings.max_retries:
        task.retry_policy.max_retry_count = settings.max_retries
        task.retry_policy.backoff_duration.FromSeconds(settings.backoff_secs)
        task.retry_policy.backoff_factor = 2.0
        task.retry_policy.backoff_max_duration.FromSeconds(_LONGEST_BACKOFF_SECS)


def _set_resources(resources: Any, settings: TaskConfig) -> None:
    """Sets every resource twice: as text, and as the number that Vertex AI and older backends read."""
    if settings.cpu:
        resources.resource_cpu_limit = settings.cpu
        resources.cpu_limit = float(settings.cpu.removesuffix("m")) / (1000 if settings.cpu.endswith("m") else 1)
    if settings.memory:
        number = settings.memory.rstrip("KMGTPi")
        resources.resource_memory_limit = settings.memory
        resources.memory_limit = float(number) * _UNITS[settings.memory.removeprefix(number)] / 1e9
    if settings.accelerator:
        resources.accelerator.type = resources.accelerator.resource_type = settings.accelerator.type
        resources.accelerator.count = settings.accelerator.count
        resources.accelerator.resource_count = str(settings.accelerator.count)


def _platform(spec: PipelineSpec, kubeflow: KubeflowConfig) -> dict[str, Any]:
    if not kubeflow.volumes:
        return {}
    mounts = [
        {
            "mountPath": volume.mount_path,
            "pvcNameParameter": {"runtimeValue": {"constant": volume.claim_name}},
            "constant": volume.claim_name,  # where older backends look for it
        }
        for volume in kubeflow.volumes
    ]
    labels = sorted(component.executor_label for component in spec.components.values() if component.executor_label)
    return {
        "platforms": {
            "kubernetes": {"deploymentSpec": {"executors": {label: {"pvcMount": mounts} for label in labels}}}
        }
    }
