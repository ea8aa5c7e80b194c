"""Tuner: TFX's own, with KerasTuner, over hyperparameters of the Trainer. Imports neither TensorFlow nor TFX."""

import json
from collections.abc import Mapping
from typing import Any

RESULTS_FILE = "tuner_results.json"  # in the output `tuner_results`; TFX writes it
PROGRESS_LOGGER = "sluice.tuner"  # told each trial as it begins, in a few words
TUNED = (
    "learning_rate",
    "hidden_units",
    "optimizer",
    "batch_size",
)  # hyperparameters of the Trainer that it may search


def best_values(tuned: Mapping[str, Any]) -> dict[str, Any]:
    """Returns hyperparameters of the Trainer, by name.

    Args:
        tuned: KerasTuner's HyperParameters as a config; values of other names, and those that are null, are left out.
    """
    values = {name: tuned["values"].get(name) for name in TUNED}
    return {name: unpacked(name, value) for name, value in values.items() if value is not None}


def packed(name: str, value: Any) -> Any:
    """Returns a hyperparameter as KerasTuner takes it: lists as JSON."""
    return json.dumps(list(value)) if name == "hidden_units" else value


def unpacked(name: str, value: Any) -> Any:
    """Returns what `packed` was given."""
    return json.loads(value) if name == "hidden_units" else value
