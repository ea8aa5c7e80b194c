"""What training starts from: which version, with whose weights, and in what words it says that it starts cold."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow_transform as tft
from tfx.types import standard_artifacts

from components.baseline import Baseline
from components.model_manifest import file_sha256, make_manifest, write_manifest
from components.pusher.push import push_model
from components.pusher.versions import STABLE, assign_label
from components.trainer.model import build_model
from components.trainer.start import start_from
from components.warm_start import Base, load_base, write_base
from components.warm_start.executor import Executor
from components.warm_start.served import find_base, mismatch, training_digest
from schema import FeatureRoles

ROLES = dataclasses.asdict(FeatureRoles(numeric=["a", "b"], label="y", class_names=["no", "yes"]))
COLD = Baseline(reason="nothing was served before")


@pytest.fixture
def serving_dir(tmp_path):
    return tmp_path / "serving"


@pytest.fixture
def push(serving_dir, tmp_path):
    """Pushes a model of a training that started from something; returns it as a start."""

    def run(training, base, roles=ROLES):
        model_dir = tmp_path / f"model-{training}"
        model_dir.mkdir()
        (model_dir / "saved_model.pb").write_text(training)
        facts = {"roles": roles, "warm_start": {"training": training, "base": dataclasses.asdict(base)}}
        manifest = make_manifest(str(model_dir), **facts)
        write_manifest(str(model_dir), manifest)
        return Baseline(push_model(str(model_dir), str(serving_dir), facts={}).version, manifest["digest"])

    return run


def test_first_training_starts_cold(serving_dir):
    assert find_base(str(serving_dir), "monday") == COLD


def test_training_starts_from_what_is_served_and_comes_to_rest(serving_dir, push):
    monday = push("monday", COLD)
    assert find_base(str(serving_dir), "monday") == COLD  # nothing has changed: as before
    assert find_base(str(serving_dir), "tuesday") == monday
    tuesday = push("tuesday", monday)
    assert find_base(str(serving_dir), "tuesday") == monday
    assert find_base(str(serving_dir), "wednesday") == tuesday


def test_training_starts_from_the_version_that_was_rolled_back_to(serving_dir, push):
    monday = push("monday", COLD)
    push("tuesday", monday)
    assign_label(serving_dir, monday.version, STABLE, settle_secs=0)
    assert find_base(str(serving_dir), "wednesday") == monday


def test_version_that_was_not_trained_like_this_is_started_from(serving_dir, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("graph")
    manifest = make_manifest(str(tmp_path / "model"), roles=ROLES)
    write_manifest(str(tmp_path / "model"), manifest)
    pushed = push_model(str(tmp_path / "model"), str(serving_dir), facts={})
    assert find_base(str(serving_dir), "monday") == Baseline(pushed.version, manifest["digest"])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"numeric": ["a"]}, "it takes b, which the rows no longer have"),
        ({"numeric": ["a", "b", "c"]}, "it does not take c"),
        ({"numeric": ["b", "a"]}, "it takes the features in another order, or others of them as categories"),
        (
            {"numeric": ["a"], "categorical": ["b"]},
            "it takes the features in another order, or others of them as categories",
        ),
        ({"class_names": ["yes", "no"]}, "its classes are no, yes"),
        ({"label": "z"}, "its label is y"),
    ],
)
def test_version_of_other_features_or_classes_does_not_fit(changed, reason):
    assert mismatch({"roles": ROLES}, {**ROLES, **changed}) == reason


def artifact_of(artifact_type, folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    artifact = artifact_type()
    artifact.uri = str(folder)
    return artifact


@pytest.fixture
def inputs(tmp_path):
    """Inputs of WarmStart, with the text of the rows' digest, of the schema and of the best hyperparameters."""

    def make(name, rows="1", schema="s", tuned="{}"):
        report = {
            "num_files": 1, "rows": {"train": 1}, "num_quarantined": 0, "duplicate_rows": 0,
            "duplicate_row_examples": [], "ids": [], "duplicate_ids": 0, "duplicate_id_examples": [], "notes": [],
            "digest": rows,
        }  # fmt: skip
        folder = tmp_path / name
        examples = artifact_of(standard_artifacts.Examples, folder / "examples", **{"input.json": json.dumps(report)})
        schemas = artifact_of(standard_artifacts.Schema, folder / "schema", **{"schema.pbtxt": schema})
        best = artifact_of(standard_artifacts.HyperParameters, folder / "best", **{"best.txt": tuned})
        return {"examples": [examples], "schema": [schemas], "hyperparameters": [best]}

    return make


PROPERTIES = {"custom_config": json.dumps({"roles": ROLES}), "num_epochs": 5, "learning_rate": 0.01}


def test_training_is_the_same_by_content_and_not_by_place(inputs):
    same, elsewhere = inputs("same"), inputs("elsewhere")
    assert training_digest(same, PROPERTIES) == training_digest(elsewhere, PROPERTIES)
    others = [inputs("rows", rows="2"), inputs("schema", schema="t"), inputs("tuned", tuned="{1}")]
    digests = {training_digest(each, PROPERTIES) for each in (same, *others)}
    digests |= {
        training_digest(same, PROPERTIES | {"num_epochs": 6}),
        training_digest(same, PROPERTIES | {"custom_config": "{}"}),
    }
    assert len(digests) == 6


def run_warm_start(inputs, serving_dir, folder, roles=ROLES):
    output = artifact_of(standard_artifacts.Model, folder)
    properties = PROPERTIES | {"serving_model_dir": str(serving_dir), "custom_config": json.dumps({"roles": roles})}
    Executor().Do(inputs, {"base_model": [output]}, properties)
    return load_base(str(folder))


def test_version_is_copied_and_named(inputs, serving_dir, push, tmp_path):
    monday = push("monday", COLD)
    base = run_warm_start(inputs("in"), serving_dir, tmp_path / "out")
    assert (base.served, base.reason) == (monday, "")
    assert (tmp_path / "out" / "Format-Serving" / "saved_model.pb").read_text() == "monday"


def test_version_that_does_not_fit_is_named_and_not_copied(inputs, serving_dir, push, tmp_path):
    monday = push("monday", COLD)
    roles = {**ROLES, "numeric": ["a"]}
    base = run_warm_start(inputs("in"), serving_dir, tmp_path / "out", roles)
    sentence = f"version {monday.version} does not fit: it takes b, which the rows no longer have"
    assert (base.served, base.reason) == (monday, sentence)
    assert not (tmp_path / "out" / "Format-Serving").exists()


def network(hidden_units=(2,), seed=0):  # of weights whose shapes tell nothing of their order
    keras.utils.set_random_seed(seed)
    return build_model(["a_xf", "b_xf"], 2, hidden_units=hidden_units)


@pytest.fixture
def base_model(tmp_path):
    """A network as it is exported and handed on by WarmStart; gives its folder and its weights."""
    model, folder = network(seed=1), tmp_path / "base" / "Format-Serving"
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.call, [{name: keras.InputSpec("float32", (None, 1)) for name in model.input}])
    archive.write_out(str(folder), verbose=False)
    write_manifest(str(folder), make_manifest(str(folder), roles=ROLES))
    write_base(Base("monday", 7, "digest"), str(folder.parent))
    return str(folder), model.get_weights()


def test_network_starts_from_the_exported_weights(base_model):
    folder, weights = base_model
    model = network()
    assert start_from(model, folder, None, schema_file="") == "from the weights of version 7"
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_other_network_starts_cold_with_its_own_weights(base_model):
    folder, _ = base_model
    model = network((3,))
    before = model.get_weights()
    assert start_from(model, folder, None, schema_file="") == (
        "cold: version 7 does not fit: its weights are 2 x 2, 2, 2 x 2, 2, the new network's 2 x 3, 3, 3 x 2, 2"
    )
    for ours, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, same)


def test_without_a_base_it_says_why(tmp_path):
    write_base(Base("monday", reason="nothing was served before"), str(tmp_path))
    said = start_from(network(), str(tmp_path / "Format-Serving"), None, schema_file="")
    assert said == "cold: nothing was served before"


@pytest.mark.parametrize(
    ("vocabulary", "schema", "said"),
    [
        ("x\ny\n", "schema", "from the weights of version 7"),
        ("y\nx\n", "schema", "cold: version 7 does not fit: the rows have given another vocabulary"),
        ("x\ny\n", "edited", "cold: version 7 does not fit: the schema, which may list categories, has changed"),
    ],
)
def test_categories_must_stand_where_they_stood(base_model, tmp_path, vocabulary, schema, said):
    folder, _ = base_model
    schema_file, assets = tmp_path / "schema.pbtxt", tmp_path / "transform" / "transform_fn" / "assets"
    schema_file.write_text("schema")
    assets.mkdir(parents=True)
    (assets / "vocabulary_c").write_text("x\ny\n")
    (Path(folder) / "assets").mkdir(exist_ok=True)
    shutil.copy(assets / "vocabulary_c", Path(folder) / "assets")
    roles = {**ROLES, "categorical": ["c"]}
    write_manifest(folder, make_manifest(folder, roles=roles, schema_digest=file_sha256(str(schema_file))))
    (assets / "vocabulary_c").write_text(vocabulary)
    schema_file.write_text(schema)
    tft_output = tft.TFTransformOutput(str(tmp_path / "transform"))
    assert start_from(network(), folder, tft_output, schema_file=str(schema_file)) == said
