"""Models as small as one can be: one to push, which needs no TensorFlow, and one to serve."""

import pytest
import tensorflow as tf

from components.model_manifest import make_manifest, write_manifest


@pytest.fixture
def make_model(tmp_path):
    """Writes files that look like a model into a folder, with their manifest."""

    def write(name="model", content="weights", files=()):
        folder = tmp_path / name
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text("graph")
        (folder / "variables" / "variables.data-00000-of-00001").write_text(content)
        for file in files:
            (folder / file).write_text(file)
        write_manifest(str(folder), make_manifest(str(folder), code_digest="c0de"))
        return folder

    return write


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
