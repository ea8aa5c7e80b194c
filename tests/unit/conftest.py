"""A model that is small enough for the tests of what serves models."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory):
    """Gives twice `x`, float32 `[None]`, as `y`."""
    module = tf.Module()
    module.factor = tf.Variable(2.0)
    signature = tf.function(
        lambda x: {"y": x * module.factor}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")]
    )
    folder = tmp_path_factory.mktemp("model") / "saved"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    return folder
