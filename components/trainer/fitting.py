"""Builds and fits the network, once for the Trainer and once for each trial of the Tuner.

Runs in the Trainer's and in the Tuner's process.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.utils import io_utils

from components.trainer.guards import label_errors_in_words
from components.trainer.model import build_model
from components.trainer.rows import Data, Split, default_batch_size
from components.transform.vocabularies import num_categories
from schema import FeatureRoles, transformed_name

_STEPS_PER_EXECUTION = 64  # between which Python has no word; a loop for fewer takes longer to build than it saves
_NOT_OF_THE_MODEL = ("seed", "num_epochs", "class_weight", "max_memory_mib", "early_stopping", "batch_size")


class Fitting:
    """The rows that a network is fitted to, read once, and how it is: equal hyperparameters give equal weights.

    Args:
        fn_args: As of `run_fn` in `components/trainer/module.py`.

    Attributes:
        roles: Of the features.
        tft_output: Output of Transform.

    Raises:
        ValueError: If a split has no rows or a label that is no class.
    """

    def __init__(self, fn_args: FnArgs) -> None:
        tf.config.experimental.enable_op_determinism()
        self.roles = FeatureRoles.from_json(fn_args.custom_config["roles"])
        self.tft_output = tft.TFTransformOutput(fn_args.transform_graph_path)
        self._schema = io_utils.SchemaReader().read(fn_args.schema_path)
        hyperparameters = fn_args.custom_config["hyperparameters"]
        max_bytes = hyperparameters["max_memory_mib"] * 2**20
        train, validation = _splits(fn_args, self.tft_output, self.roles)
        self._train = Data(train, balanced=hyperparameters["class_weight"] == "balanced", max_bytes=max_bytes)
        self._validation = Data(validation, max_bytes=max_bytes)

    def build(self, hyperparameters: Mapping[str, Any]) -> keras.Model:
        """Builds and compiles the model, with weights that depend on the seed alone."""
        keras.utils.set_random_seed(hyperparameters["seed"])
        num_steps = -(-self._train.num_rows // self._batch_size(hyperparameters))
        settings = {name: value for name, value in hyperparameters.items() if name not in _NOT_OF_THE_MODEL}
        return create_model(self.tft_output, self._schema, self.roles, settings, num_steps=num_steps)

    def fit(
        self,
        model: keras.Model,
        hyperparameters: Mapping[str, Any],
        callbacks: Sequence[keras.callbacks.Callback],
        num_epochs: int | None = None,
    ) -> dict[str, list[float]]:
        """Fits the model.

        Args:
            model: Of `build`.
            hyperparameters: With which it was built.
            callbacks: Of Keras.
            num_epochs: In place of that in the hyperparameters.

        Returns:
            What Keras logged, by name, an item for each epoch.
        """
        with label_errors_in_words():
            history = model.fit(
                self._train.train_batches(self._batch_size(hyperparameters), hyperparameters["seed"]),
                validation_data=self._validation.eval_batches(),
                epochs=num_epochs or hyperparameters["num_epochs"],
                verbose=0,
                callbacks=list(callbacks),
            )
        return history.history

    def _batch_size(self, hyperparameters: Mapping[str, Any]) -> int:
        return hyperparameters["batch_size"] or default_batch_size(self._train.num_rows)


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
