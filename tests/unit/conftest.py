"""A model as small as one can be, sealed as the Trainer seals it. No TensorFlow is needed to push it."""

import pytest

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
