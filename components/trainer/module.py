"""The Trainer component's module file: TFX calls `run_fn`. Runs in the Trainer's process."""

import json
import os
import time
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.trainer import RAW_EVAL_FILES, TRAINING_TRACE_FILE
from components.trainer.export import export_model
from components.trainer.guards import check_losses, label_errors_in_words
from components.trainer.model import build_model
from components.trainer.rows import Data, Split, default_batch_size
from components.trainer.samples import read_samples
from components.transform.vocabularies import num_categories
from schema import FeatureRoles, transformed_name

_NUM_SAMPLES = 256
_STEPS_PER_EXECUTION = 64  # between which Python has no word; a loop for fewer takes longer to build than it saves


def run_fn(fn_args: FnArgs) -> None:
    """Fits the model and writes what TFX expects.

    Args:
        fn_args: Of which are read `train_files` and `eval_files` (raw or transformed examples), `transform_output`,
            `schema_path`, and `custom_config` with `materialized` (whether they are transformed), `roles`,
            `hyperparameters` and `raw_eval_files` (raw examples of the split `eval`). Writes the SavedModel to
            `serving_model_dir`, and the figures of each epoch, also for TensorBoard, the network's description and the
            recorded logits to `model_run_dir`.

    Raises:
        ValueError: If a split has no rows or a label that is no class, or if the loss, the weights or the logits of
            real rows are not finite. Nothing is exported then.
    """
    roles = FeatureRoles.from_json(fn_args.custom_config["roles"])
    hyperparameters = dict(fn_args.custom_config["hyperparameters"])
    seed, num_epochs = hyperparameters.pop("seed"), hyperparameters.pop("num_epochs")
    balanced = hyperparameters.pop("class_weight") == "balanced"
    max_bytes = hyperparameters.pop("max_memory_mib") * 2**20
    early_stopping = create_early_stopping(hyperparameters.pop("early_stopping"))
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()

    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    train_split, eval_split = _splits(fn_args, tft_output, roles)
    train = Data(train_split, balanced=balanced, max_bytes=max_bytes)
    validation = Data(eval_split, max_bytes=max_bytes)
    batch_size = hyperparameters.pop("batch_size") or default_batch_size(train.num_rows)

    schema = io_utils.SchemaReader().read(fn_args.schema_path)
    model = create_model(tft_output, schema, roles, hyperparameters, num_steps=-(-train.num_rows // batch_size))
    with label_errors_in_words():
        model.fit(
            train.train_batches(batch_size, seed),
            validation_data=validation.eval_batches(),
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


def _splits(fn_args: FnArgs, tft_output: tft.TFTransformOutput, roles: FeatureRoles) -> tuple[Split, Split]:
    files = {"train": fn_args.train_files, "eval": fn_args.eval_files}
    if fn_args.custom_config["materialized"]:
        spec = tft_output.transformed_feature_spec()
        train, validation = (Split(name, patterns, spec, roles) for name, patterns in files.items())
    else:
        raw_spec, transform = tft_output.raw_feature_spec(), tft_output.transform_features_layer()
        spec = {name: raw_spec[name] for name in (*roles.features, roles.label, roles.weight) if name}
        train, validation = (Split(name, patterns, spec, roles, transform) for name, patterns in files.items())
    return train, validation


def create_model(
    tft_output: tft.TFTransformOutput,
    schema: schema_pb2.Schema,
    roles: FeatureRoles,
    hyperparameters: Mapping[str, Any],
    *,
    num_steps: int = 1,
) -> keras.Model:
    """Builds and compiles the model of what Transform gives.

    Args:
        tft_output: Output of Transform.
        schema: The curated schema.
        roles: Name the features and the classes.
        hyperparameters: Arguments of `build_model`.
        num_steps: Steps of an epoch.
    """
    sizes = num_categories(schema, roles, tft_output.vocabulary_size_by_name)
    categorical = {transformed_name(name): size for name, size in sizes.items()}
    inputs = roles.model_inputs(tft_output.transformed_feature_spec())
    return build_model(
        [name for name in inputs if name not in categorical],
        len(roles.class_names),
        num_categories=categorical,
        is_weighted=roles.weight is not None,
        steps_per_execution=_STEPS_PER_EXECUTION if num_steps >= 2 * _STEPS_PER_EXECUTION else 1,
        **hyperparameters,
    )


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
