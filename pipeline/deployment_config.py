"""The sections of the config that say where and how a compiled pipeline runs. Imports neither TensorFlow nor TFX."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config_file import Count, Number, Section, as_text
from pipeline.run_record import COMPONENTS, EXIT_HANDLER, OPTIONAL_COMPONENTS, VERTEX_PUSHER

DEFAULT_TASK = "default"
_TASKS = (DEFAULT_TASK, *COMPONENTS, *OPTIONAL_COMPONENTS, EXIT_HANDLER, VERTEX_PUSHER)

Cron = Annotated[str, Field(pattern=r"^(TZ=\S+ )?\S+( \S+){4}$")]
GcsUri = Annotated[str, Field(pattern=r"^gs://[a-z0-9][a-z0-9._-]+[a-z0-9](/.*)?$")]
Label = Annotated[str, Field(pattern=r"^[a-z0-9_-]{0,63}$")]
_NUMBER = r"^[0-9]+(\.[0-9]+)?"


def _known_task(name: str) -> str:
    if name not in _TASKS:
        raise ValueError(f"'{name}' is no task of the pipeline. Expected one of: {', '.join(_TASKS)}.")
    return name


def _known_component(name: str) -> str:
    if name not in (known := (*COMPONENTS, *OPTIONAL_COMPONENTS)):
        raise ValueError(f"'{name}' is no component of the pipeline. Expected one of: {', '.join(known)}.")
    return name


class AcceleratorConfig(Section):
    """Accelerators of one task."""

    type: str = Field(min_length=1, description="As the cluster names it: `NVIDIA_TESLA_T4`, or `nvidia.com/gpu`.")
    count: Count = Field(1, ge=1, le=1024, description="How many.")


class TaskConfig(Section):
    """What a task gets from the cluster; what is left out is as in the task `default`."""

    cpu: Annotated[str, BeforeValidator(as_text), Field(pattern=_NUMBER + "m?$")] | None = Field(
        None, description="Cores, such as 4 or 500m."
    )
    memory: Annotated[str, BeforeValidator(as_text), Field(pattern=_NUMBER + "([KMGTP]i?)?$")] | None = Field(
        None, description="Bytes, such as 16G."
    )
    accelerator: AcceleratorConfig | None = Field(None, description="Accelerators, none if null.")
    enable_cache: bool | None = Field(None, description="Reuse of outputs; null is as `enable_cache` of the pipeline.")
    max_retries: Count = Field(0, ge=0, le=10, description="How often a failed task is tried again.")
    backoff_secs: Count = Field(60, ge=0, le=3600, description="Wait before the first retry; it doubles with each.")


class RetryConfig(Section):
    """How often a local run tries a component again after a fault that can pass; one of data or code cannot."""

    max_retries: Count = Field(2, ge=0, le=10, description="Of each component.")
    backoff_secs: Number = Field(1.0, ge=0, le=3600, description="Wait before the first retry; it doubles with each.")
    components: dict[Annotated[str, AfterValidator(_known_component)], Annotated[Count, Field(ge=0, le=10)]] = Field(
        {}, description="Retries of single components, by id."
    )

    def of(self, component: str) -> int:
        """Returns how often a component is tried again."""
        return self.components.get(component, self.max_retries)


class ScheduleConfig(Section):
    """When runs start by themselves."""

    cron: Cron = Field(description='Five fields, such as "0 3 * * *", after `TZ=...` if not in UTC.')
    max_concurrent_runs: Count = Field(1, ge=1, description="Runs at a time.")


class VolumeConfig(Section):
    """A volume in every task's container."""

    claim_name: str = Field(min_length=1, description="Name of the PersistentVolumeClaim.")
    mount_path: str = Field(pattern="^/.+", description="Where the containers see it.")


class VertexTrainingConfig(Section):
    """The Vertex AI custom job that trains, in place of the pipeline's own container."""

    machine_type: str = Field("n1-standard-4", min_length=1, description="Of every replica.")
    accelerator: AcceleratorConfig | None = Field(None, description="Accelerators of every replica.")
    replica_count: Count = Field(1, ge=1, description="Machines.")


class VertexServingConfig(Section):
    """Where a pushed model is served by Vertex AI too."""

    endpoint_name: str = Field(min_length=1, description="Display name of the endpoint; created if there is none.")
    image: str = Field(min_length=1, description="Prediction container, such as a `tf2-cpu` one of Vertex AI.")
    machine_type: str = Field("n1-standard-2", min_length=1, description="Of every replica.")
    min_replica_count: Count = Field(1, ge=1, description="Replicas at the least.")
    max_replica_count: Count = Field(1, ge=1, description="Replicas at the most.")

    @model_validator(mode="after")
    def _counts_are_in_order(self) -> "VertexServingConfig":
        if self.min_replica_count > self.max_replica_count:
            raise ValueError("min_replica_count is above max_replica_count.")
        return self


class _TargetConfig(Section):
    schedule: ScheduleConfig | None = Field(None, description="Submits a schedule in place of a run.")


class VertexConfig(_TargetConfig):
    """A project of Vertex AI Pipelines."""

    project: str | None = Field(None, description="Project id.")
    region: str | None = Field(None, description="Region, such as europe-west4.")
    pipeline_root: GcsUri | None = Field(None, description="Where the artifacts go.")
    input_dir: GcsUri | None = Field(None, description="Folder of the *.csv files.")
    unlabelled_input_dir: GcsUri | None = Field(None, description="Likewise for `bulk_inferrer.input_dir`.")
    serving_model_dir: GcsUri | None = Field(None, description="Where versions are pushed.")
    serving_requests: GcsUri | None = Field(None, description="File for `data_gate.skew`.")
    service_account: str | None = Field(
        None, pattern=r"^[^@\s]+@[^@\s]+$", description="E-mail of the account that the tasks run as."
    )
    network: str | None = Field(
        None,
        pattern=r"^projects/\d+/global/networks/\S+$",
        description="VPC network: projects/NUMBER/global/networks/NAME.",
    )
    kms_key: str | None = Field(
        None, pattern=r"^projects/.+/cryptoKeys/\S+$", description="Customer managed encryption key (CMEK)."
    )
    labels: dict[Label, Label] = Field({}, description="Labels of the runs.")
    api_endpoint: str | None = Field(None, description="HOST:PORT in place of REGION-aiplatform.googleapis.com.")
    training: VertexTrainingConfig | None = Field(None, description="Trains in a custom job of its own.")
    serving: VertexServingConfig | None = Field(None, description="Deploys a pushed model to an endpoint.")


class KubeflowConfig(_TargetConfig):
    """An installation of Kubeflow Pipelines 2."""

    host: str | None = Field(None, pattern="^https?://", description="URL of the API.")
    namespace: str = Field("kubeflow", min_length=1, description="Namespace of the runs.")
    experiment: str | None = Field(None, min_length=1, description="Experiment; the pipeline's name if null.")
    pipeline_root: str | None = Field(
        None, pattern="^(gs|s3|minio)://.", description="Where the artifacts go; the installation's default if null."
    )
    input_dir: str | None = Field(None, pattern="^(/|gs://).", description="Folder of the *.csv files.")
    unlabelled_input_dir: str | None = Field(
        None, pattern="^(/|gs://).", description="Likewise for `bulk_inferrer.input_dir`."
    )
    serving_model_dir: str | None = Field(None, pattern="^(/|gs://).", description="Where versions are pushed.")
    serving_requests: str | None = Field(None, pattern="^(/|gs://).", description="File for `data_gate.skew`.")
    service_account: str | None = Field(None, min_length=1, description="Kubernetes account that the tasks run as.")
    volumes: tuple[VolumeConfig, ...] = Field((), description="Volumes in every task's container.")

    @model_validator(mode="after")
    def _paths_lie_on_volumes(self) -> "KubeflowConfig":
        mounts = tuple(volume.mount_path.rstrip("/") + "/" for volume in self.volumes)
        for key in ("input_dir", "unlabelled_input_dir", "serving_model_dir", "serving_requests"):
            path = getattr(self, key)
            if path and path.startswith("/") and not f"{path}/".startswith(mounts):
                raise ValueError(f"{key} {path} lies on none of the volumes; containers see no other local folder.")
        return self


Tasks = dict[Annotated[str, AfterValidator(_known_task)], TaskConfig]
Target = Literal["vertex", "kubeflow"]


def task_config(tasks: Tasks, name: str) -> TaskConfig:
    """Returns what a task gets: its own keys, and the task `default`'s for those that it leaves out."""
    default, own = (tasks.get(key, TaskConfig()).model_dump(exclude_unset=True) for key in (DEFAULT_TASK, name))
    return TaskConfig.model_validate({**default, **own})
