"""What TFMA measured, as plain numbers. Runs in the Evaluator's, Pusher's and RunReport's process."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_AVERAGE = "average: true\n_"  # ends what TFMA puts before the name of an averaged metric
Metrics = dict[str, float]


@dataclass(frozen=True)
class Measurement:
    """What TFMA measured of one model.

    Attributes:
        whole: Every metric over the whole split, by name.
        slices: The same for each slice, by TFMA's key of the slice and its value as text.
        arrays: The metrics over the whole split that are arrays.
    """

    whole: Metrics
    slices: dict[tuple[str, str], Metrics]
    arrays: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)


def load_measurement(evaluation_dir: str, model_name: str = "") -> Measurement:
    """Reads the artifact `evaluation`; `model_name` is TFMA's, where two models were evaluated."""
    import tensorflow_model_analysis as tfma  # which takes seconds

    result = tfma.load_eval_result(evaluation_dir, model_name=model_name)
    outputs = {slice_key: of_outputs[""] for slice_key, of_outputs in result.slicing_metrics}
    slices = {(key[0][0], _text(key[0][1])): _values(found) for key, found in outputs.items() if key}
    return Measurement(_values(outputs.get((), {})), slices, _arrays(outputs.get((), {})))


def _arrays(by_sub_key: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, npt.NDArray[np.float64]]:
    found = {name: value["arrayValue"] for metrics in by_sub_key.values() for name, value in metrics.items()
             if "arrayValue" in value}  # fmt: skip
    return {name: np.reshape(array["float64Values"], array["shape"]) for name, array in found.items()}


def _values(by_sub_key: Mapping[str, Mapping[str, Mapping[str, str | float]]]) -> Metrics:
    """Returns each metric's value; of one that is averaged over the classes, the average, and not a class's."""
    found = {
        name: float(value.get("doubleValue", math.nan))
        for metrics in by_sub_key.values()
        for name, value in metrics.items()
        if "arrayValue" not in value
    }
    averages = {name: value for name, value in found.items() if _AVERAGE in name}
    named = {name.rpartition(_AVERAGE)[2]: value for name, value in averages.items()}
    changes = {f"{name}_diff" for name in found}
    return {name: value for name, value in found.items() if name not in averages and name not in changes} | named


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
