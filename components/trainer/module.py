"""The Trainer component's module file: TFX calls `run_fn`. Runs in the Trainer's process."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.trainer import RAW_EVAL_FILES, TRAINING_TRACE_FILE
from components.trainer.export import export_model
from components.trainer.guards import check_labels, check_losses, label_errors_in_words
from components.trainer.model import build_model
from components.trainer.samples import read_samples
from components.transform.vocabularies import num_categories
from schema import FeatureRoles, transformed_name

_PARSE_BATCH_SIZE = 4096
_NUM_SAMPLES = 256
Rows = tuple[Any, ...]  # features by name, labels, and weights if there are any


def run_fn(fn_args: FnArgs) -> None:
    """Fits the model and writes what TFX expects.

    Args:
        fn_args: Of which are read `train_files` and `eval_files` (transformed examples), `transform_output`,
            `schema_path`, and `custom_config` with `roles`, `hyperparameters` and `raw_eval_files` (raw examples of
            the split `eval`). Writes the SavedModel to `serving_model_dir`, and the figures of each epoch, also for
            TensorBoard, the network's description and the recorded logits to `model_run_dir`.

    Raises:
        ValueError: If a split has no rows or a label that is no class, or if the loss, the weights or the logits of
            real rows are not finite. Nothing is exported then.
    """
    roles = FeatureRoles.from_json(fn_args.custom_config["roles"])
    hyperparameters = dict(fn_args.custom_config["hyperparameters"])
    seed, num_epochs = hyperparameters.pop("seed"), hyperparameters.pop("num_epochs")
    batch_size, class_weight = hyperparameters.pop("batch_size"), hyperparameters.pop("class_weight")
    early_stopping = create_early_stopping(hyperparameters.pop("early_stopping"))
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()

    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    feature_spec = tft_output.transformed_feature_spec()
    train = load_rows(fn_args.train_files, feature_spec, roles, split="train")
    validation = load_rows(fn_args.eval_files, feature_spec, roles, split="eval")
    if class_weight == "balanced":
        train = balance_classes(train, len(roles.class_names))

    schema = io_utils.SchemaReader().read(fn_args.schema_path)
    model = create_model(tft_output, schema, roles, hyperparameters)
    model.fit(
        tf.data.Dataset.from_tensor_slices(train)
        .shuffle(len(train[1]), seed=seed)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE),
        validation_data=tf.data.Dataset.from_tensor_slices(validation).batch(_PARSE_BATCH_SIZE),
        epochs=num_epochs,
        verbose=0,
        callbacks=_callbacks(fn_args.model_run_dir, early_stopping),
    )
    export_model(
        model,
        tft_output,
        roles,
        fn_args.serving_model_dir,
        model_run_dir=fn_args.model_run_dir,
        raw_examples=read_samples(fn_args.custom_config[RAW_EVAL_FILES], _NUM_SAMPLES),
    )


def _callbacks(
    model_run_dir: str, early_stopping: keras.callbacks.EarlyStopping | None
) -> list[keras.callbacks.Callback]:
    trace = TrainingTrace(os.path.join(model_run_dir, TRAINING_TRACE_FILE), early_stopping)
    logs = keras.callbacks.TensorBoard(model_run_dir, write_graph=False)
    return [trace, logs, early_stopping] if early_stopping else [trace, logs]


def create_model(
    tft_output: tft.TFTransformOutput,
    schema: schema_pb2.Schema,
    roles: FeatureRoles,
    hyperparameters: Mapping[str, Any],
) -> keras.Model:
    """Builds and compiles the model of what Transform gives.

    Args:
        tft_output: Output of Transform.
        schema: The curated schema.
        roles: Name the features and the classes.
        hyperparameters: Arguments of `build_model`.
    """
    sizes = num_categories(schema, roles, tft_output.vocabulary_size_by_name)
    categorical = {transformed_name(name): size for name, size in sizes.items()}
    inputs = roles.model_inputs(tft_output.transformed_feature_spec())
    return build_model(
        [name for name in inputs if name not in categorical],
        len(roles.class_names),
        num_categories=categorical,
        is_weighted=roles.weight is not None,
        **hyperparameters,
    )


def load_rows(
    file_patterns: Sequence[str], feature_spec: Mapping[str, Any], roles: FeatureRoles, *, split: str
) -> Rows:
    """Reads a split of transformed examples into memory, in an order that depends on the rows alone.

    Beam does not promise an order of rows or shards, and training must not depend on it.

    Args:
        file_patterns: Patterns of gzipped TFRecord files.
        feature_spec: Spec of every transformed feature, label and weight included.
        roles: Name the label, its classes and the weight.
        split: Name of the split, for messages.

    Returns:
        One `[num_rows, 1]` array per feature; the label, int64 `[num_rows, 1]`; and, if there is a weight, that,
        float32 `[num_rows]`, with mean 1.

    Raises:
        ValueError: If the files hold no row, a label that is no class, or only weights that are 0.
    """
    label_key = transformed_name(roles.label)

    def parse(examples: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        features = tf.io.parse_example(examples, feature_spec)
        return features, features[label_key]

    files = sorted(file for pattern in file_patterns for file in fileio.glob(pattern))
    batches = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_PARSE_BATCH_SIZE).map(parse)
    checked = check_labels(batches, label=roles.label, num_classes=len(roles.class_names), split=split)
    with label_errors_in_words():
        parts = [features for features, _ in checked.as_numpy_iterator()]
    if not parts:
        raise ValueError(f"No rows in {', '.join(file_patterns)}; a split is empty.")
    rows = {name: np.concatenate([part[name] for part in parts]) for name in sorted(feature_spec)}
    order = np.lexsort([column[:, 0] for column in rows.values()])
    rows = {name: column[order] for name, column in rows.items()}
    labels = rows.pop(label_key)
    if not roles.weight:
        return rows, labels
    weights = rows.pop(transformed_name(roles.weight))[:, 0]
    if not weights.any():
        raise ValueError(f"the weight '{roles.weight}' is 0 in every row of the {split} split; no row would count.")
    return rows, labels, weights / weights.mean()


def balance_classes(rows: Rows, num_classes: int) -> Rows:
    """Returns rows of which every class counts alike, as much as if each had its share of them.

    Args:
        rows: Of `load_rows`.
        num_classes: Number of classes.
    """
    labels, weights = rows[1][:, 0], rows[2] if len(rows) > 2 else np.ones(len(rows[1]), np.float32)
    totals = np.bincount(labels, weights, minlength=num_classes)
    of_class = np.divide(weights.sum() / num_classes, totals, out=np.zeros_like(totals), where=totals > 0)
    return rows[0], rows[1], (weights * of_class[labels]).astype(np.float32)


def create_early_stopping(settings: Mapping[str, Any] | None) -> keras.callbacks.EarlyStopping | None:
    """Creates the callback that ends training when it no longer helps, and restores the weights of the best epoch.

    Keras restores them also where training runs to its last epoch.

    Args:
        settings: `monitor`, a figure that Keras logs, `patience` in epochs, and `min_delta`; None for no such callback.
    """
    if settings is None:
        return None
    mode = "max" if settings["monitor"].endswith("accuracy") else "min"
    return keras.callbacks.EarlyStopping(**settings, mode=mode, restore_best_weights=True)


class TrainingTrace(keras.callbacks.Callback):
    """Writes the figures of each epoch to a JSON file and stops training when the loss is not finite.

    The file holds one object per epoch: `epoch` (from 1), `seconds`, and each figure that Keras logs. Where training
    may stop early, `best` too, which is true for the one epoch whose weights are kept.

    Args:
        trace_file: Where to write it.
        early_stopping: The callback that decides which weights are kept; None if those of the last epoch are.
    """

    def __init__(self, trace_file: str, early_stopping: keras.callbacks.EarlyStopping | None = None) -> None:
        super().__init__()
        self._trace_file = trace_file
        self._early_stopping = early_stopping
        self._epochs: list[dict[str, float]] = []
        self._epoch_start = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Notes when the epoch began."""
        self._epoch_start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes all epochs so far.

        Raises:
            ValueError: If a loss is not finite.
        """
        logs = logs or {}
        check_losses(logs, epoch + 1)
        seconds = time.perf_counter() - self._epoch_start
        self._epochs.append({"epoch": epoch + 1, "seconds": seconds, **logs})
        self._write()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Writes which epoch's weights are kept."""
        if self._early_stopping:
            for index, epoch in enumerate(self._epochs):
                epoch["best"] = index == self._early_stopping.best_epoch
            self._write()

    def _write(self) -> None:
        fileio.makedirs(os.path.dirname(self._trace_file))
        with fileio.open(self._trace_file, "w") as file:
            json.dump(self._epochs, file, indent=1)
