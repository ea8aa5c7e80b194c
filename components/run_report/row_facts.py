"""Follows one real row through the served graph, whose own tensors its numbers are.

Runs in RunReport's process and in `sluice run`.
"""

import base64
import hashlib
import json
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tfx.utils import path_utils

from components.model_manifest import open_file
from components.run_report.data_facts import read_rows
from components.run_report.facts_of_model import ModelFacts
from components.run_report.facts_of_rows import CellFacts, LayerOutputFacts, RowFacts
from components.trainer import RECORDED_LOGITS_FILE
from schema import FeatureRoles, transformed_name

_MOST_ROWS = 256  # of a model whose Trainer has recorded none


def collect_row(artifacts: Mapping[str, str], roles: FeatureRoles, model: ModelFacts | None) -> RowFacts | None:
    """Runs the model on one row; None if the eval split has none.

    The row is the one of the recorded eval rows whose content has the smallest SHA-256: the same in every run in which
    those rows are the same, in whatever order they come.

    Args:
        artifacts: Folders of `examples`, `model` and, if there is one, `model_run`.
        roles: Of the features.
        model: Names the layers in order, if the Trainer has described them.
    """
    rows = _recorded(artifacts)["examples"] or read_rows(artifacts["examples"], "eval", _MOST_ROWS)
    if not rows:
        return None
    row = min(rows, key=_content_digest)
    cells = _cells(row)
    outputs = _run(path_utils.serving_model_path(artifacts["model"]), row)
    inputs = roles.model_inputs(name for name in outputs if name.endswith(transformed_name("")))
    numbers = {name: float(outputs[name].ravel()[0]) for name in inputs}
    label = cells.get(roles.label, "")
    probabilities = outputs["probabilities"].ravel()
    return {
        "chosen": f"of {len(rows)} recorded rows of the eval split the one whose content has the smallest SHA-256",
        "raw": [{"name": name, "text": cells[name]} for name in sorted(cells, key=_order(roles))],
        "transformed": [_cell(name, number) for name, number in numbers.items()],
        "transformed_numbers": numbers,
        "layers": [_layer(each, outputs) for each in (model or {"layers": []})["layers"] if each["name"] in outputs],
        "logits": outputs["logits"].ravel().tolist(),
        "probabilities": probabilities.tolist(),
        "classes": list(roles.class_names),
        "predicted": roles.class_names[int(probabilities.argmax())],
        "label": label if roles.has_text_label or not label else roles.class_names[int(label)],
    }


def losses_by_reading(artifacts: Mapping[str, str], roles: FeatureRoles) -> tuple[float, float] | None:
    """Returns Keras' cross-entropy of the recorded rows: of their logits, and of the same read as probabilities.

    Args:
        artifacts: Folder of `model_run`.
        roles: Name the label and the classes.
    """
    recorded = _recorded(artifacts)
    cells = [_cells(row).get(roles.label, "") for row in recorded["examples"]]
    if not cells or not all(cells) or len(recorded["logits"]) != len(cells):
        return None
    labels = [roles.class_names.index(cell) if roles.has_text_label else int(cell) for cell in cells]
    logits = np.array(recorded["logits"], np.float32)
    as_logits, as_probabilities = (
        float(np.mean(keras.losses.sparse_categorical_crossentropy(np.array(labels), logits, from_logits=from_logits)))
        for from_logits in (True, False)
    )
    return as_logits, as_probabilities


def _recorded(artifacts: Mapping[str, str]) -> dict[str, Any]:
    """Returns the rows and logits that the Trainer recorded; none if its module file records none."""
    try:
        with open_file(posixpath.join(artifacts["model_run"], RECORDED_LOGITS_FILE), "rb") as file:
            recorded = json.loads(file.read())
    except (KeyError, OSError):
        return {"examples": [], "logits": []}
    return recorded | {"examples": [base64.b64decode(each) for each in recorded["examples"]]}


def _run(model_dir: str, row: bytes) -> dict[str, Any]:
    model = tf.saved_model.load(model_dir)
    # A module file of the user's own may export what answers alone.
    name = "layer_outputs" if "layer_outputs" in model.signatures else "serving_default"
    outputs = model.signatures[name](examples=tf.constant([row]))
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _cells(row: bytes) -> dict[str, str]:
    """Returns every column of a row as text, by its name; one that is missing is not there."""
    features = tf.train.Example.FromString(row).features.feature
    return {name: _text(_values(features[name])) for name in sorted(features) if _values(features[name])}


def _values(feature: tf.train.Feature) -> Sequence[Any]:
    return getattr(feature, feature.WhichOneof("kind") or "int64_list").value


def _text(values: Sequence[Any]) -> str:
    texts = (each.decode(errors="replace") if isinstance(each, bytes) else _shortest(each) for each in values)
    return ", ".join(texts)


def _shortest(number: float) -> str:
    return str(number) if isinstance(number, int) else str(np.float32(number))


def _order(roles: FeatureRoles) -> Callable[[str], tuple[int, str]]:
    """Returns a key that sorts columns: ids, what the model takes, the label and what else there is."""
    names = [*roles.ids, *roles.features, roles.label]
    return lambda name: (names.index(name) if name in names else len(names), name)


def _content_digest(row: bytes) -> str:
    """Returns a digest of what a row holds; the bytes of equal rows may differ."""
    return hashlib.sha256(json.dumps(_cells(row)).encode()).hexdigest()


def _cell(name: str, number: float) -> CellFacts:
    return {"name": name, "text": f"{number:.4f}".rstrip("0").rstrip(".")}


def _layer(layer: Mapping[str, Any], outputs: Mapping[str, Any]) -> LayerOutputFacts:
    activation = layer["activation"]
    kind = layer["kind"] + (f" + {activation}" if activation not in ("", "linear") else "")
    return {"name": layer["name"], "kind": kind, "numbers": outputs[layer["name"]].ravel().astype(float).tolist()}
