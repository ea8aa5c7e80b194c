import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.guards import (
    check_labels,
    check_logits,
    check_losses,
    check_weights,
    label_errors_in_words,
)
from components.trainer.model import build_model

CLASSES = 3


def make_batches(labels, split="train", label="gate_action"):
    labels = np.asarray(labels).reshape(-1, 1)
    features = {"a_xf": np.linspace(0, 1, len(labels), dtype=np.float32).reshape(-1, 1)}
    dataset = tf.data.Dataset.from_tensor_slices((features, labels)).batch(4)
    return check_labels(dataset, label=label, num_classes=CLASSES, split=split)


def make_model(*, jit_compile=False, **arguments):
    model = build_model(["a_xf"], CLASSES, hidden_units=[4], **arguments)
    model.compile(optimizer=model.optimizer, loss=model.loss, jit_compile=jit_compile)
    return model


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("wrong", [7, CLASSES, -1])
def test_label_that_is_no_class_stops_training_with_a_sentence(wrong, jit_compile):
    labels = [0, 1, 2, 0, 1, 2, wrong, 0]
    message = rf"^the label 'gate_action' is {wrong} in the train split; it must lie between 0 and 2\.$"
    with pytest.raises(ValueError, match=message), label_errors_in_words():
        make_model(jit_compile=jit_compile).fit(make_batches(labels), verbose=0)


def test_wrong_label_of_the_eval_split_names_that_split():
    validation = make_batches([0, 9], "eval")
    with pytest.raises(ValueError, match="is 9 in the eval split; it must lie"), label_errors_in_words():
        make_model().fit(make_batches([0, 1, 2]), validation_data=validation, verbose=0)


@pytest.mark.parametrize(("wrong", "text"), [(1.5, "1.5"), (3.0, "3"), (-1.0, "-1"), (np.nan, "nan"), (np.inf, "inf")])
def test_float_label_must_be_a_whole_number(wrong, text):
    labels = np.array([0, 2, wrong], np.float32)
    message = f"the label 'gate_action' is {text} in the train split; it must be a whole number between 0 and 2."
    with pytest.raises(ValueError, match=message), label_errors_in_words():
        make_model().fit(make_batches(labels), verbose=0)


@pytest.mark.parametrize("label", ["it's", 'a "b"', "[x]", "größe", "back\\slash"])
def test_name_of_a_label_is_shown_as_it_is(label):
    with pytest.raises(ValueError, match=f"^the label '{re.escape(label)}' is 5 in"), label_errors_in_words():
        list(make_batches([5], label=label))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.float32])
def test_right_labels_and_sample_weights_pass_unchanged(dtype):
    rows = (np.arange(5), np.array([0, 1, 2, 1, 0], dtype), np.ones(5))
    dataset = tf.data.Dataset.from_tensor_slices(rows).batch(2)
    checked = check_labels(dataset, label="y", num_classes=CLASSES, split="train")
    assert checked.element_spec == dataset.element_spec
    for column, parts in zip(rows, zip(*checked.as_numpy_iterator(), strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), column)


def test_other_errors_of_tensorflow_pass_unchanged():
    with pytest.raises(tf.errors.InvalidArgumentError, match="not ours"), label_errors_in_words():
        tf.debugging.Assert(False, ["not ours"])


def test_loss_that_is_not_finite_is_named_with_its_epoch():
    check_losses({"loss": 0.1, "val_loss": 3.0}, 1)
    check_losses({"loss": 0.1}, 1)
    with pytest.raises(
        ValueError, match=r"^val_loss is inf in epoch 4: training diverged\. Lower trainer\.learning_rate"
    ):
        check_losses({"loss": 0.1, "val_loss": np.inf}, 4)


class Poison(keras.callbacks.Callback):
    """Puts one NaN into the last layer when training is over, where no loss shows it."""

    def on_train_end(self, logs=None):
        kernel, bias = self.model.layers[-1].get_weights()
        bias[1] = np.nan
        self.model.layers[-1].set_weights([kernel, bias])


def test_weight_that_is_no_number_is_named():
    model = make_model()
    history = model.fit(make_batches([0, 1, 2]), verbose=0, callbacks=[Poison()]).history
    assert np.isfinite(history["loss"]).all()
    with pytest.raises(
        ValueError, match=r"^weights are not finite after training: logits/bias \(1 of 3 values\)\. Lower"
    ):
        check_weights(model)


def test_many_broken_weights_are_named_in_short():
    model = build_model(["a_xf"], CLASSES, hidden_units=[2, 2, 2])
    check_weights(model)
    model.set_weights([np.full_like(weight, np.inf) for weight in model.get_weights()])
    with pytest.raises(ValueError, match=r"hidden_0/kernel \(2 of 2 values\), .*hidden_2/kernel .*, 3 more\. Lower"):
        check_weights(model)


def test_logits_of_finite_weights_may_overflow():
    model = make_model()
    rows = {"a_xf": np.array([[0.0], [1.0], [0.0], [2.0]], np.float32)}
    model.set_weights([np.full(weight.shape, 3e38 if weight.ndim == 2 else 0, np.float32) for weight in model.weights])
    check_weights(model)
    with pytest.raises(ValueError, match=r"^logits are not finite for 2 of 4 eval rows\. Lower trainer\.learning_rate"):
        check_logits(model.predict(rows, verbose=0).tolist())


def test_finite_logits_and_none_at_all_pass():
    check_logits([[0.0, -1e30]])
    check_logits([])
