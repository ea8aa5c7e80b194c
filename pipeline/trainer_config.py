"""The config of the Trainer. Runs at compile time; imports neither TensorFlow nor TFX."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from pipeline.config_file import Count, InputFile, Number, Section, defines

_MODULE_FILE = Path(__file__).resolve().parents[1] / "components" / "trainer" / "module.py"

Optimizer = Literal[
    "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl", "lion", "nadam",
    "rmsprop", "sgd",
]  # fmt: skip
Loss = Literal["sparse_categorical_crossentropy", "sparse_categorical_focal_crossentropy"]
TrainingMetric = Literal["accuracy", "top_2_accuracy", "cross_entropy"]
Monitor = Literal["val_loss", "val_accuracy", "val_top_2_accuracy", "val_cross_entropy"]
HiddenUnits = tuple[Annotated[Count, Field(ge=1, le=2**16)], ...]


class EarlyStoppingConfig(Section):
    """When training ends before its last epoch."""

    monitor: Monitor = Field("val_loss", description="Figure of the eval split; a metric's must be in `metrics`.")
    patience: Count = Field(5, ge=1, le=10**6, description="Epochs without a better one after which training ends.")
    min_delta: Number = Field(0.0, ge=0, description="A change up to this much is no improvement.")


class TrainerConfig(Section):
    """The model and how it is fitted."""

    module_file: Annotated[InputFile, defines("run_fn")] = Field(
        str(_MODULE_FILE),
        description="Python file with `run_fn`.",
    )
    hidden_units: HiddenUnits = Field((64,), description="Width of each hidden ReLU layer; [] gives a linear model.")
    one_hot_up_to: Count = Field(
        16, ge=0, le=10**4, description="Values of a category up to which it is one-hot encoded; above, embedded."
    )
    class_weight: Literal["balanced"] | None = Field(
        None, description="`balanced` makes every class count alike in training; null makes every row."
    )
    optimizer: Optimizer = Field("adam", description="Keras optimizer.")
    learning_rate: Number = Field(0.01, gt=0, description="Step size of the optimizer.")
    loss: Loss = Field("sparse_categorical_crossentropy", description="Loss, from logits.")
    metrics: tuple[TrainingMetric, ...] = Field(("accuracy",), description="Metrics of each epoch, beside the loss.")
    early_stopping: EarlyStoppingConfig | None = Field(
        None, description="Ends training when it no longer helps and keeps the best epoch's weights; null does neither."
    )
    num_epochs: Count = Field(5, ge=1, le=10**6, description="Passes over the training split.")
    batch_size: Count | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Rows per step; null is the largest power of two that makes 40 steps of an epoch, from 16 to 1024.",
    )
    max_memory_mib: Count = Field(
        1024,
        ge=0,
        description="MiB of transformed rows of a split that are held in memory; of more, each epoch reads the files.",
    )
    seed: Count = Field(0, ge=0, lt=2**32, description="Seed of weights and shuffling.")
    warm_start: bool = Field(
        False, description="Start from the weights of the version that is served, if it is of the same network."
    )
    custom: dict[str, JsonValue] = Field({}, description="Values for a module file of your own.")

    @field_validator("early_stopping")
    @classmethod
    def _monitors_what_is_logged(
        cls, early_stopping: EarlyStoppingConfig | None, info: ValidationInfo
    ) -> EarlyStoppingConfig | None:
        metric = early_stopping.monitor.removeprefix("val_") if early_stopping else "loss"
        if metric != "loss" and metric not in info.data.get("metrics", [metric]):
            raise ValueError(f"monitors val_{metric}, but {metric} is not among trainer.metrics. Add it there.")
        return early_stopping

    def hyperparameters(self) -> dict[str, object]:
        """Returns what our own module file reads, as JSON values."""
        return self.model_dump(mode="json", exclude={"module_file", "custom", "warm_start"})
