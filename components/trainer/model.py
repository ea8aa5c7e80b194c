"""The Keras model, with nothing of TFX in it. Runs in the Trainer's process."""

from collections.abc import Sequence

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
    optimizer: str = "adam",
    learning_rate: float = 0.01,
    loss: str = "sparse_categorical_crossentropy",
    metrics: Sequence[str] = ("accuracy",),
) -> keras.Model:
    """Builds and compiles the classifier.

    Args:
        feature_names: Names of the transformed features.
        num_classes: Number of classes, at least 2.
        hidden_units: Width of each hidden ReLU layer, first to last; none gives a linear model.
        optimizer: Name of a Keras optimizer.
        learning_rate: The optimizer's step size.
        loss: A key of `LOSSES`.
        metrics: Keys of `METRICS`.

    Returns:
        A compiled model. Inputs: one float32 `[batch_size, 1]` tensor per feature. Output: logits, float32
        `[batch_size, num_classes]`. Labels: int64 `[batch_size, 1]`.

    Raises:
        ValueError: If Keras has no such optimizer.
        KeyError: If there is no such loss or metric.
    """
    inputs = {name: keras.Input((1,), name=name) for name in feature_names}
    hidden = keras.layers.Concatenate(name="features")(list(inputs.values()))
    for index, units in enumerate(hidden_units):
        hidden = keras.layers.Dense(units, activation="relu", name=f"hidden_{index}")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(hidden))

    compiled_optimizer = keras.optimizers.get(optimizer)
    compiled_optimizer.learning_rate = learning_rate
    model.compile(
        optimizer=compiled_optimizer,
        loss=LOSSES[loss](),
        metrics=[METRICS[metric]() for metric in metrics],
        # Plain CPU kernels start sooner than XLA's and, unlike XLA's, raise on a label that is no class.
        jit_compile=False,
    )
    return model


def sparse_categorical_focal_crossentropy(labels: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Focal loss of integer labels (Lin et al. 2017, Focal Loss for Dense Object Detection), float32 `[batch_size]`."""
    one_hot = keras.ops.one_hot(keras.ops.squeeze(labels, -1), logits.shape[-1])
    return keras.losses.categorical_focal_crossentropy(one_hot, logits, from_logits=True)
