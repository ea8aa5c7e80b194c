"""Describes a compiled network as JSON: its layers, optimizer, loss and metrics. Runs in the Trainer's process."""

import json
import os
from typing import Any

import keras
import numpy as np
from tfx.dsl.io import fileio

from components.trainer import DESCRIPTION_FILE


def write_description(model: keras.Model, model_run_dir: str) -> None:
    """Writes `model.json`: what `model.compile` was given, as Keras has it, and what was trained with it."""
    fileio.makedirs(model_run_dir)
    with fileio.open(os.path.join(model_run_dir, DESCRIPTION_FILE), "w") as file:
        json.dump(_describe(model), file, indent=1)


def _describe(model: keras.Model) -> dict[str, Any]:
    compiled = model.get_compile_config() or {}
    optimizer, loss = compiled.get("optimizer") or {}, compiled.get("loss")
    metrics = [*(compiled.get("metrics") or []), *(compiled.get("weighted_metrics") or [])]
    return {
        "layers": [_layer(layer) for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)],
        "parameters": model.count_params(),
        "optimizer": optimizer.get("class_name", ""),
        "optimizer_settings": _optimizer_settings(optimizer.get("config", {})),
        "loss": _name(loss),
        "from_logits": _settings(loss).get("from_logits"),
        "metrics": [_settings(metric).get("name") or _name(metric) for metric in metrics],
        "steps": int(model.optimizer.iterations),
    }


def _optimizer_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that are in force, float32s as they were written: 0.01, not 0.009999999776."""
    used = {
        name: value for name, value in config.items() if name != "name" and value is not None and value is not False
    }
    if "use_ema" not in used:
        used = {name: value for name, value in used.items() if not name.startswith("ema_")}
    return {name: float(str(np.float32(value))) if isinstance(value, float) else value for name, value in used.items()}


def _layer(layer: keras.Layer) -> dict[str, Any]:
    activation = getattr(layer, "activation", None)
    return {
        "name": layer.name,
        "kind": type(layer).__name__,
        "shape": [*getattr(getattr(layer, "output", None), "shape", ())],
        "parameters": layer.count_params(),
        "activation": getattr(activation, "__name__", ""),
    }


def _name(serialized: Any) -> str:
    """Returns the name of a loss or metric as Keras serializes it: of a class, or of a function."""
    if not isinstance(serialized, dict):
        return str(serialized or "")
    return str(serialized["config"]) if serialized["class_name"] == "function" else serialized["class_name"]


def _settings(serialized: Any) -> dict[str, Any]:
    config = serialized.get("config") if isinstance(serialized, dict) else None
    return config if isinstance(config, dict) else {}
