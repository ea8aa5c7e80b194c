"""Training and serving by Vertex AI itself, through TFX's own extensions. Runs at compile time."""

import json
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.extensions.google_cloud_ai_platform import constants
from tfx.extensions.google_cloud_ai_platform.pusher.component import Pusher
from tfx.extensions.google_cloud_ai_platform.trainer.executor import TRAINING_ARGS_KEY

from components.trainer import vertex_executor
from pipeline.config_errors import ConfigError
from pipeline.deployment_config import AcceleratorConfig, VertexConfig
from pipeline.run_record import VERTEX_PUSHER


def train_in_custom_job(trainer: BaseComponent, vertex: VertexConfig, *, image: str) -> None:
    """Makes the Trainer's task start the custom job of `vertex.training`, which trains, and wait for it.

    Args:
        trainer: The node, changed in place.
        vertex: The config.
        image: Container image of the job.

    Raises:
        ConfigError: If the project or the region is missing.
    """
    if not vertex.training:
        return
    machine = {"machine_type": vertex.training.machine_type, **_accelerator_spec(vertex.training.accelerator)}
    worker_pool = {"machine_spec": machine, "replica_count": 1, "container_spec": {"image_uri": image}}
    job_spec: dict[str, Any] = {"worker_pool_specs": [worker_pool]}
    if vertex.training.replica_count > 1:  # the first pool is the one chief (CustomJobSpec.worker_pool_specs)
        job_spec["worker_pool_specs"].append(worker_pool | {"replica_count": vertex.training.replica_count - 1})
    job_spec |= {key: value for key in ("service_account", "network") if (value := getattr(vertex, key))}
    job = {"project": vertex.project, "job_spec": job_spec, "labels": dict(vertex.labels)}
    if vertex.kms_key:
        job["encryption_spec"] = {"kms_key_name": vertex.kms_key}
    properties = trainer.spec.exec_properties
    custom_config = json.loads(properties["custom_config"]) | {
        TRAINING_ARGS_KEY: job,
        **_vertex_keys(vertex, "training"),
    }
    properties["custom_config"] = json.dumps(custom_config)
    trainer.executor_spec = ExecutorClassSpec(vertex_executor.Executor)


def create_vertex_pusher(nodes: Mapping[str, BaseComponent], vertex: VertexConfig) -> list[BaseComponent]:
    """Creates the node that deploys the model to the endpoint of `vertex.serving` once Pusher has pushed it, if any.

    Args:
        nodes: The nodes of the pipeline by id.
        vertex: The config.

    Raises:
        ConfigError: If the project or the region is missing.
    """
    if not vertex.serving:
        return []
    arguments = vertex.serving.model_dump(exclude={"image"}) | {"project": vertex.project}
    if vertex.service_account:
        arguments["service_account"] = vertex.service_account
    pusher = Pusher(
        model=nodes["Trainer"].outputs["model"],
        model_blessing=nodes["Evaluator"].outputs["blessing"],
        infra_blessing=nodes["InfraValidator"].outputs["blessing"],
        custom_config={
            constants.SERVING_ARGS_KEY: arguments,
            constants.VERTEX_CONTAINER_IMAGE_URI_KEY: vertex.serving.image,
            **_vertex_keys(vertex, "serving"),
        },
    )
    pusher.with_id(VERTEX_PUSHER).add_upstream_node(nodes["Pusher"])
    return [pusher]


def _vertex_keys(vertex: VertexConfig, section: str) -> dict[str, Any]:
    if missing := [f"vertex.{key}" for key in ("project", "region") if not getattr(vertex, key)]:
        raise ConfigError(f"vertex.{section} needs {' and '.join(missing)}, which the task hands to Vertex AI.")
    return {constants.ENABLE_VERTEX_KEY: True, constants.VERTEX_REGION_KEY: vertex.region}


def _accelerator_spec(accelerator: AcceleratorConfig | None) -> dict[str, Any]:
    return {"accelerator_type": accelerator.type, "accelerator_count": accelerator.count} if accelerator else {}
