"""The config of the Tuner. Runs at compile time; imports neither TensorFlow nor TFX."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from components.tuner import TUNED, best_values
from pipeline.config_file import Count, InputFile, Number, Section, defines
from pipeline.trainer_config import HiddenUnits, Monitor, Optimizer, TrainerConfig

_MODULE_FILE = Path(__file__).resolve().parents[1] / "components" / "tuner" / "module.py"
_MAX_TRIALS = 10


class LearningRateRange(Section):
    """Learning rates, drawn evenly by their logarithm."""

    min: Number = Field(gt=0, description="Smallest.")
    max: Number = Field(gt=0, description="Largest.")

    @model_validator(mode="after")
    def _is_a_range(self) -> "LearningRateRange":
        if self.min >= self.max:
            raise ValueError(f"min {self.min} must be below max {self.max}.")
        return self


class SearchSpaceConfig(Section):
    """What trials may take in place of the Trainer's own values."""

    learning_rate: LearningRateRange | None = Field(
        LearningRateRange(min=0.001, max=0.1), description="Range of `trainer.learning_rate`; null keeps that."
    )
    hidden_units: tuple[HiddenUnits, ...] = Field(
        ((32,), (64,), (128,), (64, 64)), description="Choices of `trainer.hidden_units`; [] keeps that."
    )
    optimizer: tuple[Optimizer, ...] = Field((), description="Choices of `trainer.optimizer`; [] keeps that.")
    batch_size: tuple[Annotated[Count, Field(ge=1, le=10**6)], ...] = Field(
        (), description="Choices of `trainer.batch_size`; [] keeps that."
    )

    @field_validator("hidden_units", "optimizer", "batch_size")
    @classmethod
    def _choices_are_distinct(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(choices)) < len(choices):
            raise ValueError("names a choice twice.")
        return choices

    @model_validator(mode="after")
    def _searches_for_something(self) -> "SearchSpaceConfig":
        if not any(getattr(self, name) for name in TUNED):
            raise ValueError(f"leaves nothing to search for. Give one of: {', '.join(TUNED)}.")
        return self


class TunerConfig(Section):
    """The search for better hyperparameters than the Trainer's own."""

    module_file: Annotated[InputFile, defines("tuner_fn")] = Field(
        str(_MODULE_FILE), description="Python file with `tuner_fn`."
    )
    algorithm: Literal["random_search", "hyperband"] | None = Field(
        None, description="KerasTuner's; null leaves the Tuner out."
    )
    hyperparameters: InputFile | None = Field(
        None, description="Best hyperparameters of an earlier Tuner, its `best_hyperparameters.txt`, to train with."
    )
    max_trials: Count | None = Field(
        None,
        ge=2,
        le=10**4,
        description="Trials of `random_search`, null for 10; the Trainer's own values are the first.",
    )
    num_epochs: Count | None = Field(
        None, ge=1, le=10**6, description="Epochs of a full trial; null for `trainer.num_epochs`."
    )
    objective: Monitor = Field("val_loss", description="Figure of the eval split by which trials are compared.")
    seed: Count = Field(0, ge=0, lt=2**31, description="Seed of what is tried; each trial trains with `trainer.seed`.")
    search_space: SearchSpaceConfig = Field(SearchSpaceConfig(), description="What is tried.")

    @field_validator("hyperparameters")
    @classmethod
    def _file_fits_the_trainer(cls, file: str | None, info: ValidationInfo) -> str | None:
        if file and info.data.get("algorithm"):
            raise ValueError("takes the place of tuning. Set either this or tuner.algorithm.")
        if file:
            _read(file)
        return file

    @field_validator("max_trials")
    @classmethod
    def _only_random_search_counts(cls, max_trials: int | None, info: ValidationInfo) -> int | None:
        if max_trials and info.data.get("algorithm") == "hyperband":
            raise ValueError("is of random_search; how many trials hyperband makes follows from tuner.num_epochs.")
        return max_trials

    def check(self, trainer: TrainerConfig) -> None:
        """Raises ValueError if what is tuned is not what is trained."""
        metric = self.objective.removeprefix("val_")
        if metric != "loss" and metric not in trainer.metrics:
            raise ValueError(f"objective is val_{metric}, but {metric} is not among trainer.metrics. Add it there.")
        own = {"trainer": TrainerConfig().module_file, "tuner": str(_MODULE_FILE)}
        if self.algorithm and trainer.module_file != own["trainer"] and self.module_file == own["tuner"]:
            raise ValueError(
                "module_file tunes Sluice's own network, but trainer.module_file is another. Set tuner.module_file too."
            )

    @property
    def reused(self) -> dict[str, Any]:
        """What `hyperparameters` holds, in place of the Trainer's own values; empty without it."""
        return _read(self.hyperparameters) if self.hyperparameters else {}

    def search(self, trainer: TrainerConfig) -> dict[str, Any]:
        """Returns what `components/tuner/module.py` reads, as JSON values."""
        return {
            **self.model_dump(mode="json", exclude={"module_file", "hyperparameters"}),
            "max_trials": self.max_trials or _MAX_TRIALS,
            "num_epochs": self.num_epochs or trainer.num_epochs,
        }


def _read(file: str) -> dict[str, Any]:
    """Returns the Trainer's hyperparameters in a file of KerasTuner's.

    Raises:
        ValueError: If it holds none, or values that the Trainer does not take.
    """
    try:
        values = best_values(json.loads(Path(file).read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as err:
        raise ValueError(f"{file} is no best_hyperparameters.txt of a Tuner.") from err
    if not values:
        raise ValueError(f"{file} holds none of {', '.join(TUNED)}.")
    try:
        TrainerConfig(**values)
    except ValidationError as err:
        name = err.errors()[0]["loc"][0]
        raise ValueError(f"{file} holds {name} {values[str(name)]!r}, which is no trainer.{name}.") from err
    return values
