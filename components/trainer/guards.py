"""Stops a training that went wrong before anything is exported. Runs in the Trainer's process.

For module files: `check_labels` goes into a tf.data pipeline and `label_errors_in_words` around what reads it, such as
`model.fit`; `check_losses` after each epoch; `check_weights` and `check_logits` before an export, where `export_model`
calls them itself.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

_ADVICE = "Lower trainer.learning_rate, or look for extreme values in the data."
_LABEL_ERROR = re.compile(r"\[(the label .+? split; it must .+? between 0 and \d+\.)\]")
_MOST_EXAMPLES = 5


def check_labels(dataset: tf.data.Dataset, *, label: str, num_classes: int, split: str) -> tf.data.Dataset:
    """Returns the dataset with a check of each label in it, which is made as the rows are read.

    Without it a wrong label is a silent NaN where XLA compiles the loss.

    Args:
        dataset: Gives `(features, labels)` or `(features, labels, sample_weights)`; labels are numbers of any shape.
        label: Name of the label, for the message.
        num_classes: Labels are whole numbers from 0 to below it.
        split: Name of the split, for the message.

    Raises:
        tf.errors.InvalidArgumentError: When a label is read that is no class; see `label_errors_in_words`.
    """

    def check(features: tf.Tensor, labels: tf.Tensor, *sample_weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
        values = tf.reshape(labels, [-1])
        is_class = _is_class(values, num_classes)
        wrong = tf.strings.as_string(tf.boolean_mask(values, ~is_class)[:1], shortest=values.dtype.is_floating)
        bounds = f"{'be a whole number' if values.dtype.is_floating else 'lie'} between 0 and {num_classes - 1}."
        message = [
            f"the label '{label}' is ",
            tf.strings.reduce_join(wrong),
            f" in the {split} split; it must {bounds}",
        ]
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_class), [tf.strings.join(message)])]):
            return features, tf.identity(labels), *sample_weights

    return dataset.map(tf.autograph.experimental.do_not_convert(check))


def _is_class(values: tf.Tensor, num_classes: int) -> tf.Tensor:
    numbers = tf.cast(values, tf.float64 if values.dtype.is_floating else tf.int64)
    is_class = (numbers >= 0) & (numbers < num_classes)
    return is_class & (numbers == tf.floor(numbers)) if values.dtype.is_floating else is_class


@contextlib.contextmanager
def label_errors_in_words() -> Iterator[None]:
    """Makes of the error of `check_labels`, which TensorFlow wraps in its graph's, the sentence alone.

    Raises:
        ValueError: If a label is no class.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as err:
        if found := _LABEL_ERROR.search(err.message):
            raise ValueError(re.sub(r"\\(.)", r"\1", found[1])) from err  # Assert escapes quotes
        raise


def check_losses(logs: Mapping[str, float], epoch: int) -> None:
    """Checks the losses of an epoch.

    Args:
        logs: What Keras logs at its end; `loss` and `val_loss` are checked.
        epoch: Its number, from 1, for the message.

    Raises:
        ValueError: If a loss is not finite.
    """
    for name in ("loss", "val_loss"):
        if name in logs and not np.isfinite(logs[name]):
            raise ValueError(f"{name} is {logs[name]} in epoch {epoch}: training diverged. {_ADVICE}")


def check_weights(model: keras.Model) -> None:
    """Checks every weight of a trained model.

    Raises:
        ValueError: If one is not finite; the message names its variable.
    """
    broken = []
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if num_broken := np.count_nonzero(~np.isfinite(values)):
            broken.append(f"{weight.path} ({num_broken} of {values.size} values)")
    if broken:
        names = broken[:_MOST_EXAMPLES] + [f"{len(broken) - _MOST_EXAMPLES} more"] * (len(broken) > _MOST_EXAMPLES)
        raise ValueError(f"weights are not finite after training: {', '.join(names)}. {_ADVICE}")


def check_logits(logits: Sequence[Sequence[float]]) -> None:
    """Checks what a trained model says of real rows.

    Args:
        logits: `[num_rows, num_classes]`; may be empty.

    Raises:
        ValueError: If one is not finite; the message has the number of rows.
    """
    if num_broken := sum(not np.isfinite(row).all() for row in logits):
        raise ValueError(f"logits are not finite for {num_broken} of {len(logits)} eval rows. {_ADVICE}")
