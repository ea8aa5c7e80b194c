"""Facts of the network and of its training. Runs in RunReport's process and in `sluice run`."""

import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from tfx.utils import path_utils

from components.model_manifest import ManifestError, open_file, read_manifest
from components.run_report.facts_of_model import EpochFacts, LayerFacts, ModelFacts, TrainingFacts
from components.trainer import DESCRIPTION_FILE, TRAINING_TRACE_FILE

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
        artifacts: Folder of `model_run`.
        published: Figures of an earlier trace.
        num_rows: Rows of the train split, if known.
    """
    epochs = _read_json(artifacts["model_run"], TRAINING_TRACE_FILE)
    if not epochs:
        return None
    steps = (_read_json(artifacts["model_run"], DESCRIPTION_FILE) or {}).get("steps")
    return {
        "epochs": [
            _epoch(each, published[index] if index < len(published) else {}) for index, each in enumerate(epochs)
        ],
        "summary": "",
        "rows": num_rows,
        "steps_per_epoch": steps // len(epochs) if steps else None,
    }


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
