"""The Keras model, with nothing of TFX in it. Runs in the Trainer's process."""

import math
from collections.abc import Mapping, Sequence

import keras

LOSSES = {
    "sparse_categorical_crossentropy": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "sparse_categorical_focal_crossentropy": lambda: sparse_categorical_focal_crossentropy,
}
METRICS = {
    "accuracy": lambda: keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
    "top_2_accuracy": lambda: keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top_2_accuracy"),
    "cross_entropy": lambda: keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy"),
}


def build_model(
    feature_names: Sequence[str],
    num_classes: int,
    *,
    hidden_units: Sequence[int],
    num_categories: Mapping[str, int] | None = None,
    one_hot_up_to: int = 16,
    is_weighted: bool = False,
    optimizer: str = "adam",
    learning_rate: float = 0.01,
    loss: str = "sparse_categorical_crossentropy",
    metrics: Sequence[str] = ("accuracy",),
    steps_per_execution: int = 1,
) -> keras.Model:
    """Builds and compiles the classifier.

    Args:
        feature_names: Names of the transformed features that are numbers.
        num_classes: Number of classes, at least 2.
        hidden_units: Width of each hidden ReLU layer, first to last; none gives a linear model.
        num_categories: How many values each transformed feature has that is a position in a vocabulary.
        one_hot_up_to: Features of at most that many values are one-hot encoded, others embedded.
        is_weighted: Whether rows come with a weight, by which metrics count them then.
        optimizer: Name of a Keras optimizer.
        learning_rate: The optimizer's step size.
        loss: A key of `LOSSES`.
        metrics: Keys of `METRICS`.
        steps_per_execution: Steps that TensorFlow takes at a time; with them changes how long it takes, and no result.

    Returns:
        A compiled model. Inputs: one `[batch_size, 1]` tensor per feature, float32, or int64 for a category. Output:
        logits, float32 `[batch_size, num_classes]`. Labels: int64 `[batch_size, 1]`.

    Raises:
        ValueError: If Keras has no such optimizer.
        KeyError: If there is no such loss or metric.
    """
    inputs = {name: _input(name, "float32") for name in feature_names}
    encoded = list(inputs.values())
    for name, size in (num_categories or {}).items():
        inputs[name] = _input(name, "int64")
        encoded.append(_encode(inputs[name], _layer_name(name), size, one_hot_up_to))
    hidden = keras.layers.Concatenate(name="features")(encoded) if len(encoded) > 1 else encoded[0]
    for index, units in enumerate(hidden_units):
        hidden = keras.layers.Dense(units, activation="relu", name=f"hidden_{index}")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(hidden))

    compiled_optimizer = keras.optimizers.get(optimizer)
    compiled_optimizer.learning_rate = learning_rate
    model.compile(
        optimizer=compiled_optimizer,
        loss=LOSSES[loss](),
        **{"weighted_metrics" if is_weighted else "metrics": [METRICS[metric]() for metric in metrics]},
        steps_per_execution=steps_per_execution,
        # Plain CPU kernels start sooner than XLA's and, unlike XLA's, raise on a label that is no class.
        jit_compile=False,
    )
    return model


def _input(name: str, dtype: str) -> keras.KerasTensor:
    return keras.Input((1,), dtype=dtype, name=_layer_name(name))


def _layer_name(name: str) -> str:
    return name.replace("/", "|")  # a slash is no part of a layer's name


def _encode(positions: keras.KerasTensor, name: str, size: int, one_hot_up_to: int) -> keras.KerasTensor:
    """Encodes positions in a vocabulary, int64 `[batch_size, 1]`, as float32 `[batch_size, width]`."""
    if size <= one_hot_up_to:
        return keras.layers.CategoryEncoding(size, output_mode="one_hot", name=f"{name}_one_hot")(positions)
    # The fourth root of the vocabulary's size: Google Developers Blog, Introducing TensorFlow Feature Columns (2017).
    width = math.ceil(size**0.25)
    vectors = keras.layers.Embedding(size, width, name=f"{name}_vectors")(positions)
    return keras.layers.Flatten(name=f"{name}_embedding")(vectors)


def sparse_categorical_focal_crossentropy(labels: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Focal loss of integer labels (Lin et al. 2017, Focal Loss for Dense Object Detection), float32 `[batch_size]`."""
    one_hot = keras.ops.one_hot(keras.ops.squeeze(labels, -1), logits.shape[-1])
    return keras.losses.categorical_focal_crossentropy(one_hot, logits, from_logits=True)
