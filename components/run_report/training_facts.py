"""Facts of the network and of its training. Runs in RunReport's process and in `sluice run`."""

import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from tfx.utils import path_utils

from components.model_manifest import ManifestError, open_file, read_manifest
from components.run_report.facts_of_model import EpochFacts, LayerFacts, ModelFacts, TrainingFacts
from components.trainer import DESCRIPTION_FILE, START_FILE, TRAINING_TRACE_FILE
from components.tuner import RESULTS_FILE, best_values

_NO_FIGURES = ("epoch", "seconds", "best")


def collect_model(artifacts: Mapping[str, str]) -> ModelFacts | None:
    """Returns the facts of the network; None if the module file has not described it.

    Args:
        artifacts: Folders of `model_run` and `model`.
    """
    description = _read_json(artifacts["model_run"], DESCRIPTION_FILE)
    if description is None:
        return None
    manifest = _manifest(artifacts)
    return {
        "layers": [_layer(each) for each in description["layers"]],
        "parameters": description["parameters"],
        "optimizer": description["optimizer"],
        "optimizer_settings": description["optimizer_settings"],
        "loss": description["loss"],
        "from_logits": description["from_logits"],
        "metrics": description["metrics"],
        "bytes": sum(file["bytes"] for file in manifest["files"].values()) if manifest else None,
        "digest": manifest.get("digest", ""),
        "code_digest": manifest.get("code_digest", ""),
        "schema_digest": manifest.get("schema_digest", ""),
    }


def collect_training(
    artifacts: Mapping[str, str], published: Sequence[Mapping[str, float]], num_rows: int | None
) -> TrainingFacts | None:
    """Returns the facts of the epochs; None if the module file has not written its figures.

    Args:
        artifacts: Folders of `model_run` and, if hyperparameters were tuned, of `tuner_results`.
        published: Figures of an earlier trace.
        num_rows: Rows of the train split, if known.
    """
    epochs = _read_json(artifacts["model_run"], TRAINING_TRACE_FILE)
    if not epochs:
        return None
    start = _read_json(artifacts["model_run"], START_FILE) or {}
    steps = (_read_json(artifacts["model_run"], DESCRIPTION_FILE) or {}).get("steps")
    return {
        "epochs": [
            _epoch(each, published[index] if index < len(published) else {}) for index, each in enumerate(epochs)
        ],
        "summary": "",
        "rows": num_rows,
        "steps_per_epoch": steps // len(epochs) if steps else None,
        "tuned": _tuned(start.get("tuned", {}), artifacts),
        "start": start.get("start", ""),
    }


def _tuned(values: Mapping[str, Any], artifacts: Mapping[str, str]) -> str:
    """Returns hyperparameters that tuning found, and what it measured if that was in this run, in words."""
    if not values:
        return ""
    words = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
    if "tuner_results" not in artifacts:
        return f"{words}, as found by an earlier run"
    trials = _read_json(artifacts["tuner_results"], RESULTS_FILE)
    own = next((each["score"] for each in trials if not int(each["trial_id"])), None)
    best = [each for each in trials if best_values({"values": each}) == values]
    score = max(best, key=lambda each: each.get("tuner/epochs", math.inf))["score"]
    compared = "diverged" if own is None else f"{own:.4f}"
    return f"{words}; scored {score:.4f}, the config's own {compared}; best of {len(trials)} trials"


def _epoch(epoch: Mapping[str, Any], published: Mapping[str, float]) -> EpochFacts:
    return {
        "epoch": epoch["epoch"],
        "seconds": epoch["seconds"],
        "figures": {name: value for name, value in epoch.items() if name not in _NO_FIGURES},
        "kept": epoch.get("best"),
        "published": dict(published),
        "observation": "",
    }


def _layer(layer: Mapping[str, Any]) -> LayerFacts:
    shape = " x ".join("rows" if size is None else str(size) for size in layer["shape"])
    names = ("name", "kind", "parameters", "activation")
    return LayerFacts(shape=shape, **{name: layer[name] for name in names})  # type: ignore[typeddict-item]


def _manifest(artifacts: Mapping[str, str]) -> dict[str, Any]:
    try:
        return read_manifest(path_utils.serving_model_path(artifacts["model"]))
    except ManifestError:
        return {}


def _read_json(folder: str, name: str) -> Any:
    try:
        with open_file(posixpath.join(folder, name), "rb") as file:
            return json.loads(file.read())
    except OSError:
        return None
