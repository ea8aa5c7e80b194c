"""The typed config of a pipeline. Runs at compile time; imports neither TensorFlow nor TFX."""

import filecmp
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from components.example_gen import NEWEST_SPAN
from components.example_gen.input_files import span_number
from components.example_gen.settings import Settings, make_settings
from pipeline.beam import BeamConfig
from pipeline.component_config import (
    BulkInferrerConfig,
    InfraValidatorConfig,
    PusherConfig,
    StatisticsGenConfig,
    TransformConfig,
)
from pipeline.config_file import (
    Executor,
    InputFile,
    Number,
    Section,
    read_config,
)
from pipeline.data_gate_config import DataGateConfig
from pipeline.deployment_config import KubeflowConfig, RetryConfig, Tasks, VertexConfig
from pipeline.evaluator_config import EvaluatorConfig, check_rules
from pipeline.example_gen_config import ExampleGenConfig
from pipeline.metadata_config import MetadataConfig
from pipeline.report_config import ModelCardConfig
from pipeline.trainer_config import TrainerConfig
from pipeline.tuner_config import TunerConfig
from schema import FeatureRoles, feature_roles, load_schema

REFERENCE_CONFIG = str(Path(__file__).parent / "configs" / "reference.yaml")

Event = Literal["pushed", "refused", "failed"]


def _readable_schema(schema_file: str) -> str:
    load_schema(schema_file)
    return schema_file


class SchemaGenConfig(Section):
    """The curated schema."""

    schema_file: Annotated[InputFile, AfterValidator(_readable_schema)] = Field(
        description="The curated `schema.pbtxt`."
    )


class LabelConfig(Section):
    """What is predicted."""

    key: str = Field(min_length=1, description="Name of the label in the schema.")
    class_names: tuple[Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")], ...] | None = Field(
        None,
        description='Names of the classes, by label value; without them "0", "1", ...',
    )


class NotificationConfig(Section):
    """Who is told how a run ended. A run in which nothing was to do tells nobody."""

    webhook_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+\S*$",
        description="Gets the outcome as JSON by POST; plain text in a compiled spec.",
    )
    command: tuple[str, ...] = Field((), description="Words of a command that gets the same JSON on standard input.")
    events: tuple[Event, ...] = Field(
        ("pushed", "refused", "failed"),
        min_length=1,
        description="Of what they are told; an interrupted run has failed.",
    )

    @field_validator("command")
    @classmethod
    def _names_a_program(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command and not command[0].strip():
            raise ValueError("its first word must name a program.")
        return command

    @field_validator("events")
    @classmethod
    def _events_are_distinct(cls, events: tuple[Event, ...]) -> tuple[Event, ...]:
        if len(set(events)) < len(events):
            raise ValueError(f"names an event twice: {', '.join(events)}.")
        return events


class EpochFigures(Section):
    """Figures of one epoch of an earlier trace."""

    loss: Number = Field(description="Training loss.")
    accuracy: Number = Field(description="Training accuracy.")


class PipelineConfig(Section):
    """A whole pipeline."""

    pipeline_name: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,62}$",
        description="Lower case letters, digits and hyphens; names the folders of its output.",
    )
    enable_cache: bool = Field(True, description="Reuse the outputs of unchanged components.")
    example_gen: ExampleGenConfig
    schema_gen: SchemaGenConfig
    statistics_gen: StatisticsGenConfig = StatisticsGenConfig()
    label: LabelConfig
    data_gate: DataGateConfig = Field(DataGateConfig(), validate_default=True)
    transform: TransformConfig = TransformConfig()
    trainer: TrainerConfig = TrainerConfig()
    tuner: TunerConfig = TunerConfig()
    evaluator: EvaluatorConfig
    infra_validator: InfraValidatorConfig = InfraValidatorConfig()
    pusher: PusherConfig = PusherConfig()
    bulk_inferrer: BulkInferrerConfig = BulkInferrerConfig()
    notification: NotificationConfig = NotificationConfig()
    model_card: ModelCardConfig = ModelCardConfig()
    retry: RetryConfig = RetryConfig()
    metadata: MetadataConfig = MetadataConfig()
    published_trace: tuple[EpochFigures, ...] = Field(
        (),
        description="A trace of the same problem, epoch by epoch, printed beside this run's.",
    )
    image: str | None = Field(None, pattern=r"^\S+$", description="Container image of compiled tasks and Beam workers.")
    tasks: Tasks = Field({}, description="What each task gets from the cluster, by component id.")
    vertex: VertexConfig = VertexConfig()
    kubeflow: KubeflowConfig = KubeflowConfig()
    beam: BeamConfig = BeamConfig()

    @field_validator("label")
    @classmethod
    def _label_fits_the_schema(cls, label: LabelConfig, info: ValidationInfo) -> LabelConfig:
        if schema_gen := info.data.get("schema_gen"):
            _feature_roles(schema_gen, label)
        return label

    @field_validator("tuner")
    @classmethod
    def _tuner_fits_the_trainer(cls, tuner: TunerConfig, info: ValidationInfo) -> TunerConfig:
        if trainer := info.data.get("trainer"):
            tuner.check(trainer)
        return tuner

    @field_validator("evaluator")
    @classmethod
    def _rules_fit_the_schema(cls, evaluator: EvaluatorConfig, info: ValidationInfo) -> EvaluatorConfig:
        schema_gen, label = info.data.get("schema_gen"), info.data.get("label")
        if schema_gen and label:
            roles = _feature_roles(schema_gen, label)
            check_rules(evaluator.rules(), load_schema(schema_gen.schema_file), roles.class_names)
        return evaluator

    @field_validator("schema_gen")
    @classmethod
    def _rows_fit_the_schema(cls, schema_gen: SchemaGenConfig, info: ValidationInfo) -> SchemaGenConfig:
        if example_gen := info.data.get("example_gen"):
            example_gen.check(load_schema(schema_gen.schema_file))
        return schema_gen

    @field_validator("data_gate")
    @classmethod
    def _data_gate_fits_the_schema(cls, data_gate: DataGateConfig, info: ValidationInfo) -> DataGateConfig:
        if info.data.keys() >= {"schema_gen", "label"}:
            data_gate.check(load_schema(info.data["schema_gen"].schema_file), info.data["label"].key)
        return data_gate

    @field_validator("beam")
    @classmethod
    def _workers_get_what_they_need(cls, beam: BeamConfig, info: ValidationInfo) -> BeamConfig:
        problems = []
        if (names := beam.container_components) and not info.data.get("image", "invalid"):
            problems.append(
                f"the workers of {', '.join(names)} are containers, of which image says nothing. Set image."
            )
        folders = [info.data[key].pipeline_root or "" for key in ("vertex", "kubeflow") if key in info.data]
        if (names := beam.distributed_components) and not any(folder.startswith("gs://") for folder in folders):
            problems.append(
                f"the workers of {', '.join(names)} cannot read local folders. Set vertex.pipeline_root or "
                "kubeflow.pipeline_root to gs://BUCKET/FOLDER, or use flink or spark on this machine with "
                "environment_type LOOPBACK."
            )
        if problems:
            raise ValueError("\n".join(problems))
        return beam

    @property
    def materialize(self) -> bool:
        """Whether Transform writes the transformed rows."""
        setting = self.transform.materialize
        if setting != "auto":
            return setting
        return not filecmp.cmp(self.trainer.module_file, TrainerConfig().module_file, shallow=False)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What the Trainer is given: the config's own values, and those that an earlier tuning found."""
        return self.trainer.hyperparameters() | self.tuner.reused

    def executor_of(self, component: str, wanted: Executor) -> Executor:
        """Returns the executor of a Beam component: TFX's own wherever its work is spread over machines."""
        return wanted if self.beam.of(component).runner == "local" else "stock"

    def run_parameters(self, deployment: VertexConfig | KubeflowConfig | None = None) -> dict[str, Any]:
        """Returns what may change from run to run: the values of this config, by name; None has no value yet.

        Args:
            deployment: Whose folders take the place of this machine's, with `serving_model_dir` among them.
        """
        folders = deployment or self.example_gen
        span = {"span": NEWEST_SPAN if self.example_gen.span is None else span_number(self.example_gen.span)}
        unlabelled_input_dir = deployment.unlabelled_input_dir if deployment else self.bulk_inferrer.input_dir
        return {
            "input_dir": folders.input_dir,
            **(span if "{" in self.example_gen.pattern else {}),
            **{name: self.hyperparameters[name] for name in ("num_epochs", "learning_rate")},
            **self.evaluator.bounds(),
            "serving_model_dir": deployment.serving_model_dir if deployment else None,
            **({"unlabelled_input_dir": unlabelled_input_dir} if self.bulk_inferrer.input_dir else {}),
            **(
                {"serving_requests": deployment.serving_requests if deployment else skew.requests}
                if (skew := self.data_gate.skew)
                else {}
            ),
        }

    def example_gen_settings(self) -> Settings | None:
        """Returns how ExampleGen reads and splits the rows; None if TFX's own does."""
        section = self.example_gen
        if section.executor == "csv":
            return None
        return make_settings(
            Path(self.schema_gen.schema_file).read_text(encoding="utf-8"),
            label=self.label.key,
            splits=section.splits,
            buckets=tuple(section.buckets.values()),
            split=section.split_settings(),
            csv_options=section.csv_options,
            ignore_columns=section.ignore_columns,
            bad_rows=section.bad_rows,
            max_bad_rows=section.max_bad_rows,
            **({} if section.num_spans == 1 else {"pattern": section.pattern, "num_spans": section.span_count}),
        )

    def feature_roles(self) -> FeatureRoles:
        """Reads the schema file and returns the role of each feature."""
        return _feature_roles(self.schema_gen, self.label)


def load_config(config_file: str, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Reads a config.

    Args:
        config_file: YAML file; relative paths in it are relative to its folder.
        overrides: `dotted.key=value`, each in place of what the file says; paths relative to the working directory.

    Raises:
        ConfigError: If anything is wrong with it; the message lists every mistake.
    """
    return read_config(PipelineConfig, config_file, overrides)


def _feature_roles(schema_gen: SchemaGenConfig, label: LabelConfig) -> FeatureRoles:
    return feature_roles(load_schema(schema_gen.schema_file), label.key, label.class_names)
