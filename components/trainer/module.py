"""The Trainer component's module file: TFX calls `run_fn`. Runs in the Trainer's process."""

import json
import logging
import os
import time

import keras
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.io import fileio

from components.trainer import RAW_EVAL_FILES, START_FILE, TRAINING_TRACE_FILE
from components.trainer.export import export_model
from components.trainer.fitting import Fitting, create_early_stopping
from components.trainer.guards import check_losses
from components.trainer.samples import read_samples
from components.trainer.start import start_from

_NUM_SAMPLES = 256


def run_fn(fn_args: FnArgs) -> None:
    """Fits the model and writes what TFX expects.

    Args:
        fn_args: Of which are read `train_files` and `eval_files` (raw or transformed examples), `transform_graph_path`,
            `schema_path`, `base_model` (whose weights training starts from; None starts from new ones), and
            `custom_config` with `materialized` (whether they are transformed), `roles`, `hyperparameters`, `tuned`
            (those of them that tuning found, if any) and `raw_eval_files` (raw examples of the split `eval`). Writes
            the SavedModel to `serving_model_dir`, and the figures of each epoch, also for TensorBoard, where training
            started, the network's description and the recorded logits to `model_run_dir`.

    Raises:
        ValueError: If a split has no rows or a label that is no class, or if the loss, the weights or the logits of
            real rows are not finite. Nothing is exported then.
    """
    fitting = Fitting(fn_args)
    hyperparameters = fn_args.custom_config["hyperparameters"]
    model = fitting.build(hyperparameters)
    _start(model, fitting, fn_args)
    early_stopping = create_early_stopping(hyperparameters["early_stopping"])
    fitting.fit(model, hyperparameters, _callbacks(fn_args.model_run_dir, early_stopping))
    export_model(
        model,
        fitting.tft_output,
        fitting.roles,
        fn_args.serving_model_dir,
        model_run_dir=fn_args.model_run_dir,
        raw_examples=read_samples(fn_args.custom_config[RAW_EVAL_FILES], _NUM_SAMPLES),
    )


def _start(model: keras.Model, fitting: Fitting, fn_args: FnArgs) -> None:
    """Gives the model the weights that it starts from, and writes down which, and what was tuned."""
    said = {"tuned": fn_args.custom_config.get("tuned", {}), "start": ""}
    if fn_args.base_model:
        said["start"] = start_from(model, fn_args.base_model, fitting.tft_output, schema_file=fn_args.schema_path)
        logging.info("Training starts %s.", said["start"])
    if any(said.values()):
        fileio.makedirs(fn_args.model_run_dir)
        with fileio.open(os.path.join(fn_args.model_run_dir, START_FILE), "w") as file:
            json.dump(said, file)


def _callbacks(
    model_run_dir: str, early_stopping: keras.callbacks.EarlyStopping | None
) -> list[keras.callbacks.Callback]:
    trace = TrainingTrace(os.path.join(model_run_dir, TRAINING_TRACE_FILE), early_stopping)
    logs = keras.callbacks.TensorBoard(model_run_dir, write_graph=False)
    return [trace, logs, early_stopping] if early_stopping else [trace, logs]


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
