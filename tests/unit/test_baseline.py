"""Which version a candidate is compared with, as the push destination tells it, local or remote."""

import json
import uuid

import pytest
import tensorflow as tf
from tfx.orchestration.portable import data_types
from tfx.types import standard_artifacts

from components.baseline import Baseline
from components.baseline.driver import ServedModelDriver
from components.baseline.served import difference, find_baseline, still_holds
from components.model_manifest import DIGEST_PROPERTY, ManifestError
from components.pusher.object_store import push_to_object_store
from components.pusher.push import push_model
from components.pusher.versions import STABLE, assign_label

ROLES = {"numeric": ["age", "income"], "label": "bought", "class_names": ["no", "yes"]}


@pytest.fixture(params=["local", "remote"])
def destination(request, tmp_path):
    """A push destination, and the function that pushes to it."""
    if request.param == "local":
        return str(tmp_path / "serving"), push_model
    return f"ram://{uuid.uuid4().hex}/serving", push_to_object_store


@pytest.fixture
def push(destination, tmp_path, make_model):
    """Pushes a model whose bytes are its name; returns its version and digest."""
    base_dir, push_to = destination

    def run(name, **facts):
        model_dir, digest = make_model(name, roles=ROLES)
        pushed = push_to(str(model_dir), base_dir, facts=facts)
        return pushed.version, digest

    return run


@pytest.fixture
def make_model(tmp_path):
    from components.model_manifest import make_manifest, write_manifest

    def run(name, **facts):
        folder = tmp_path / f"model-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "saved_model.pb").write_text(name)
        manifest = make_manifest(str(folder), **facts)
        write_manifest(str(folder), manifest)
        return folder, manifest["digest"]

    return run


def test_nothing_is_served_before_the_first_push(destination):
    assert find_baseline(destination[0], "abc") == Baseline(reason="nothing was served before")


def test_newest_version_is_the_baseline(destination, push):
    push("a")
    version, digest = push("b")
    assert find_baseline(destination[0], "abc") == Baseline(version, digest)
    assert still_holds(destination[0], Baseline(version, digest))
    assert not still_holds(destination[0], Baseline(version, "another"))
    assert not still_holds(destination[0], Baseline(version + 7, digest))


def test_candidate_that_is_served_keeps_the_baseline_that_it_had(destination, push):
    version, digest = push("a", baseline={"version": None, "digest": "", "reason": "nothing was served before"})
    assert find_baseline(destination[0], digest) == Baseline(reason="nothing was served before")
    _, newer = push("b", baseline={"version": version, "digest": digest, "reason": ""})
    assert find_baseline(destination[0], newer) == Baseline(version, digest)


def test_candidate_whose_manifest_tells_no_baseline_has_none(destination, push):
    version, digest = push("a")
    assert find_baseline(destination[0], digest).reason == f"version {version}, the candidate itself, tells of none"


def test_stable_version_is_the_baseline(tmp_path, make_model):
    base_dir = tmp_path / "serving"
    first = push_model(str(make_model("a")[0]), str(base_dir), facts={}).version
    push_model(str(make_model("b")[0]), str(base_dir), facts={})
    assign_label(base_dir, first, STABLE, settle_secs=0)
    assert find_baseline(str(base_dir), "abc").version == first


def test_version_without_a_manifest_is_none(destination, push):
    version, _ = push("a")
    tf.io.gfile.remove(f"{destination[0]}/{version}/sluice_manifest.json")
    reason = f"version {version} has no manifest; something else than Sluice pushed it"
    assert find_baseline(destination[0], "abc") == Baseline(reason=reason)


def test_damaged_manifest_is_an_error(destination, push):
    version, _ = push("a")
    with tf.io.gfile.GFile(f"{destination[0]}/{version}/sluice_manifest.json", "w") as file:
        file.write('{"files": ')
    with pytest.raises(ManifestError, match="is damaged"):
        find_baseline(destination[0], "abc")


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        (ROLES, ""),
        ({**ROLES, "numeric": ["age", "height", "income"]}, ""),  # which the served model leaves aside
        ({**ROLES, "numeric": ["height"]}, "it takes age, income, which the rows no longer have"),
        ({**ROLES, "label": "sold"}, "its label is bought"),
        ({**ROLES, "class_names": ["yes", "no"]}, "its classes are no, yes"),
    ],
)
def test_version_can_be_measured_on_rows_that_have_what_it_takes(roles, reason):
    assert difference({"roles": ROLES}, roles) == reason


def test_version_that_does_not_tell_its_features_cannot_be_measured():
    assert difference({}, ROLES) == "its manifest does not tell its features"


def cache_key(base_dir, digest, roles=ROLES, *, compare=True):
    model = standard_artifacts.Model()
    model.set_string_custom_property(DIGEST_PROPERTY, digest)
    properties = {
        "serving_model_dir": base_dir,
        "custom_config": json.dumps({"compare": compare, "roles": roles}),
    }
    info = data_types.ExecutionInfo(input_dict={"model": [model]}, exec_properties=properties)
    return ServedModelDriver(None).run(info).exec_properties["served_digest"].string_value


def test_cache_key_is_that_of_what_a_candidate_is_compared_with(destination, push):
    base_dir, _ = destination
    before = cache_key(base_dir, "a candidate")
    _, digest = push("a", baseline={"version": None, "digest": "", "reason": "nothing was served before"})
    assert cache_key(base_dir, digest) == before  # of the run that pushed it
    assert cache_key(base_dir, "another candidate") == digest
    assert cache_key(base_dir, "another candidate", {**ROLES, "label": "sold"}) == f"{digest}its label is bought"
    assert cache_key(base_dir, "another candidate", compare=False) == ""
