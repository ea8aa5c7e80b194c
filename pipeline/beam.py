"""The section of the config that says who runs Beam, and Beam's arguments for it.

Runs at compile time; imports neither Beam nor TensorFlow. The options are those of Beam 2.77
(apache_beam/options/pipeline_options.py), each passed on under its own name or its serialization alias.
"""

import os
import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config_file import Count, Section, absolute_path
from pipeline.run_record import BEAM_COMPONENTS, COMPONENTS

# FnApiRunner by name: Beam 2.77's default DirectRunner first tries to download a Prism binary. The container image is
# never used locally; without one TFX builds a source distribution of itself for each Beam component
# (tfx/utils/dependency_utils.py).
LOCAL_BEAM_ARGS = ("--runner=FnApiRunner", "--sdk_container_image=unused", "--no_pipeline_type_check")

_HOST_AND_PORT = r"[A-Za-z0-9._-]+:[0-9]{1,5}"
_ON_THIS_MACHINE = r"\[local\]|local(\[.+\])?|([a-z]+://)?(localhost|127\.0\.0\.1):\d+"


def _as_text(value: object) -> object:
    return str(value) if type(value) is float else value


def _existing_jar(place: str) -> str:
    if not re.match("https?://", place) and not os.path.isfile(place):
        raise ValueError(f"there is no file {place}. Give the path or the http(s):// URL of a job server's jar.")
    return place


def _is(expected: str, pattern: str) -> AfterValidator:
    """Returns the check that a text is what `expected` describes, and `pattern` matches."""

    def check(value: str) -> str:
        """Returns `value`; raises ValueError if it does not match."""
        if not re.fullmatch(pattern, value):
            raise ValueError(f"'{value}' is not {expected}.")
        return value

    return AfterValidator(check)


HostAndPort = Annotated[str, _is("HOST:PORT, such as flink-jobserver:8099", _HOST_AND_PORT)]
FlinkMaster = Annotated[
    str, _is('HOST:PORT of Flink\'s REST API, nor "[local]"', rf"\[local\]|(https?://)?{_HOST_AND_PORT}")
]
SparkMaster = Annotated[
    str, _is('spark://HOST:PORT, nor "local" or "local[2]"', rf"local(\[([0-9]+|\*)\])?|spark://{_HOST_AND_PORT}")
]
GcsFolder = Annotated[str, _is("gs://BUCKET/FOLDER", "gs://[a-z0-9][a-z0-9._-]+[a-z0-9]/.+")]
Region = Annotated[str, _is("a region, such as europe-west4", "[a-z]+-[a-z]+[0-9]+")]
Jar = Annotated[str, BeforeValidator(absolute_path), AfterValidator(_existing_jar)]


class _JobServerConfig(Section):
    """A cluster that is reached through Beam's job server."""

    master: str | None
    job_server_jar: Jar | None
    job_endpoint: HostAndPort | None = Field(None, description="HOST:PORT of a job server, in place of `master`.")
    environment_type: Literal["DOCKER", "EXTERNAL", "LOOPBACK"] = Field(
        "DOCKER", description="Where workers run: in containers of `image`, a worker pool, or this process."
    )
    environment_config: HostAndPort | None = Field(None, description="HOST:PORT of the worker pool, for EXTERNAL.")

    @property
    def needs_image(self) -> bool:
        """Whether the workers are containers."""
        return self.environment_type == "DOCKER"

    @property
    def sees_local_files(self) -> bool:
        """Whether the workers read and write the files of the machine that starts the job."""
        place = self.master or self.job_endpoint or ""
        return self.environment_type != "DOCKER" and re.fullmatch(_ON_THIS_MACHINE, place) is not None

    @model_validator(mode="after")
    def _options_fit_together(self) -> "_JobServerConfig":
        if (self.master is None) == (self.job_endpoint is None):
            raise ValueError("give either master, for which a job server is started, or the job_endpoint of one.")
        if self.job_endpoint and self.job_server_jar:
            raise ValueError("job_server_jar is started for a master; at job_endpoint a job server runs already.")
        if (self.environment_type == "EXTERNAL") != (self.environment_config is not None):
            raise ValueError(
                "environment_config is the HOST:PORT of a worker pool: environment_type EXTERNAL needs it, no other "
                f"takes it. Received: {self.environment_type}, {self.environment_config}."
            )
        if self.environment_type == "LOOPBACK" and not self.sees_local_files:
            raise ValueError(
                f"with environment_type LOOPBACK {self.master or self.job_endpoint} would look for the workers at its "
                "own localhost. Expected one of: DOCKER, EXTERNAL; or a master on this machine."
            )
        return self

    def beam_args(self, image: str | None) -> list[str]:
        """Returns Beam's arguments; workers in containers run `image`."""
        environment = {"environment_config": image} if self.needs_image else {}
        return _as_args(self.model_dump(by_alias=True, exclude_none=True) | environment)


class FlinkConfig(_JobServerConfig):
    """An Apache Flink cluster."""

    master: FlinkMaster | None = Field(
        None,
        serialization_alias="flink_master",
        description='HOST:PORT of Flink\'s REST API, or "[local]": a cluster inside the job server.',
    )
    version: Annotated[Literal["1.19", "1.20", "2.0", "2.1", "2.2"], BeforeValidator(_as_text)] = Field(
        "2.2", serialization_alias="flink_version", description="Flink's version, in quotes; picks the job server."
    )
    job_server_jar: Jar | None = Field(
        None,
        serialization_alias="flink_job_server_jar",
        description="Path or URL of the job server to start for `master`; from Maven Central by `version` if null.",
    )
    parallelism: Count | None = Field(None, ge=1, description="Slots at a time; Flink's own default if null.")


class SparkConfig(_JobServerConfig):
    """An Apache Spark 3 cluster."""

    master: SparkMaster | None = Field(
        None,
        serialization_alias="spark_master_url",
        description='spark://HOST:PORT, or "local[2]": a cluster inside the job server.',
    )
    job_server_jar: Jar | None = Field(
        None,
        serialization_alias="spark_job_server_jar",
        description="Path or URL of the job server to start for `master`; from Maven Central if null.",
    )


class DataflowConfig(Section):
    """Google Cloud Dataflow."""

    project: str | None = Field(None, pattern="^[a-z][-a-z0-9:.]+[a-z0-9]$", description="Project id.")
    region: Region | None = Field(None, description="Region, such as europe-west4.")
    temp_location: GcsFolder | None = Field(None, description="Folder of temporary files.")
    staging_location: GcsFolder | None = Field(None, description="Folder of staged files; `temp_location` if null.")
    service_account_email: str | None = Field(
        None, pattern=r"^[^@\s]+@[^@\s]+$", description="Account that the workers run as."
    )
    network: str | None = Field(None, min_length=1, description="Name of the VPC network.")
    subnetwork: str | None = Field(
        None,
        pattern=r"^(https://\S+/)?regions/[^/\s]+/subnetworks/[^/\s]+$",
        description="regions/REGION/subnetworks/NAME, or its URL.",
    )
    use_public_ips: bool = Field(True, description="Whether workers have public addresses.")
    max_num_workers: Count | None = Field(None, ge=1, description="Workers at the most.")
    machine_type: str | None = Field(None, min_length=1, description="Of every worker, such as n1-standard-4.")

    needs_image: ClassVar[bool] = True
    sees_local_files: ClassVar[bool] = False

    @model_validator(mode="after")
    def _nothing_is_missing(self) -> "DataflowConfig":
        if missing := [key for key in ("project", "region", "temp_location") if not getattr(self, key)]:
            raise ValueError(
                f"{', '.join(missing)}: no value. Dataflow needs a project, a region such as europe-west4, and a "
                "temp_location gs://BUCKET/FOLDER."
            )
        return self

    def beam_args(self, image: str | None) -> list[str]:
        """Returns Beam's arguments; the workers run `image`."""
        return _as_args(self.model_dump(exclude_none=True))


class RunnerConfig(Section):
    """A runner of Beam and its options."""

    runner: Literal["local", "flink", "spark", "dataflow"] = Field(
        "local", description="Who runs Beam: `local`, `flink`, `spark` or `dataflow`."
    )
    flink: FlinkConfig | None = Field(None, description="Options of `flink`.")
    spark: SparkConfig | None = Field(None, description="Options of `spark`.")
    dataflow: DataflowConfig | None = Field(None, description="Options of `dataflow`.")

    @property
    def options(self) -> FlinkConfig | SparkConfig | DataflowConfig | None:
        """The options of the runner; None for `local`."""
        return getattr(self, self.runner, None)


def _beam_component(name: str) -> str:
    if name not in BEAM_COMPONENTS:
        reason = "runs no Beam" if name in COMPONENTS else "is no component of the pipeline"
        raise ValueError(f"'{name}' {reason}. Expected one of: {', '.join(BEAM_COMPONENTS)}.")
    return name


class BeamConfig(RunnerConfig):
    """The runner of every Beam component."""

    components: dict[Annotated[str, AfterValidator(_beam_component)], RunnerConfig] = Field(
        {}, description="By component id, what differs from the pipeline's runner and its options."
    )

    @property
    def container_components(self) -> list[str]:
        """The components whose workers are containers of `image`."""
        return [name for name in BEAM_COMPONENTS if (options := self.of(name).options) and options.needs_image]

    @property
    def distributed_components(self) -> list[str]:
        """The components whose workers see no local files."""
        return [name for name in BEAM_COMPONENTS if (options := self.of(name).options) and not options.sees_local_files]

    def of(self, component: str) -> RunnerConfig:
        """Returns the runner of a component and its options, for what it leaves out those of the pipeline."""
        own = self.components.get(component, RunnerConfig())
        return self.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})

    @model_validator(mode="after")
    def _every_runner_has_options_and_no_other(self) -> "BeamConfig":
        places = {"beam": self, **{f"beam.components.{name}": self.of(name) for name in self.components}}
        problems = [
            f"{place}.runner is {config.runner}, without options. Give the section beam.{config.runner}."
            for place, config in places.items()
            if config.runner != "local" and config.options is None
        ]
        runners = {config.runner for config in places.values()}
        problems += [
            f"beam.{key}: no component runs on {key}. Set a runner to {key}, or {key} to null."
            for key in ("flink", "spark", "dataflow")
            if any(getattr(config, key) for config in places.values()) and key not in runners
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def beam_args(beam: BeamConfig, component: str, *, image: str | None = None) -> list[str]:
    """Returns Beam's arguments for a component.

    Args:
        beam: The section of the config.
        component: Id of the component.
        image: Of workers that are containers.
    """
    settings = beam.of(component)
    if settings.options is None:
        return list(LOCAL_BEAM_ARGS)
    runner = f"--runner={settings.runner.capitalize()}Runner"
    worker = ["--sdk_location=container", f"--sdk_container_image={image or 'unused'}"]  # the image has Beam already
    return [runner, *settings.options.beam_args(image), *worker]


def _as_args(options: dict[str, object]) -> list[str]:
    flags = {True: [], False: ["--no_use_public_ips"]}[bool(options.pop("use_public_ips", True))]
    return [f"--{name}={value}" for name, value in options.items()] + flags
