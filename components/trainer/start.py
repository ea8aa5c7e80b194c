"""Starts training from the weights of an exported model. Runs in the Trainer's process."""

import os
import posixpath
from collections.abc import Sequence

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.model_manifest import MANIFEST_FILE, Manifest, file_sha256, is_there, read_manifest
from components.warm_start import load_base

_KEY = "variables/{}/.ATTRIBUTES/VARIABLE_VALUE"  # where keras.export.ExportArchive keeps model.variables, in order


def start_from(model: keras.Model, base_model: str, tft_output: tft.TFTransformOutput, *, schema_file: str) -> str:
    """Gives a model the weights of another that `export_model` wrote, if every weight means the same in both.

    They are the weights of scaled inputs: where the range of a feature has moved, the same weight meets values that
    are scaled by the new one.

    Args:
        model: Built, not yet fitted.
        base_model: Folder of the SavedModel that WarmStart gave; empty if there is none to start from.
        tft_output: Output of Transform, of which the model takes the features.
        schema_file: The curated schema.

    Returns:
        Where training starts, in words.
    """
    base = load_base(posixpath.dirname(base_model))
    if not is_there(posixpath.join(base_model, MANIFEST_FILE)):
        return f"cold: {base.reason}"
    reason = _other_categories(read_manifest(base_model), tft_output, schema_file)
    reader = tf.train.load_checkpoint(os.path.join(base_model, tf.saved_model.VARIABLES_DIRECTORY, "variables"))
    shapes = reader.get_variable_to_shape_map()
    theirs = [shapes[key] for key in map(_KEY.format, range(len(shapes))) if key in shapes]
    ours = [list(variable.shape) for variable in model.variables]
    if not reason and theirs != ours:
        reason = f"its weights are {_words(theirs)}, the new network's {_words(ours)}"
    if reason:
        return f"cold: version {base.version} does not fit: {reason}"
    for index, variable in enumerate(model.variables):
        variable.assign(reader.get_tensor(_KEY.format(index)))
    return f"from the weights of version {base.version}"


def _other_categories(manifest: Manifest, tft_output: tft.TFTransformOutput, schema_file: str) -> str:
    """Says why a category's position may stand for another category in the other model; empty if it cannot."""
    if not manifest["roles"].get("categorical"):
        return ""
    if manifest["schema_digest"] != file_sha256(schema_file):
        return "the schema, which may list categories, has changed"
    assets = tf.io.gfile.glob(os.path.join(tft_output.transform_savedmodel_dir, tf.saved_model.ASSETS_DIRECTORY, "*"))
    ours = {posixpath.basename(file): file_sha256(file) for file in assets}
    theirs = {
        posixpath.basename(name): each["sha256"]
        for name, each in manifest["files"].items()
        if posixpath.dirname(name) == tf.saved_model.ASSETS_DIRECTORY
    }
    return "" if ours == theirs else "the rows have given another vocabulary"


def _words(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes)
