"""Pushes to TensorFlow's `ram://` file system, which like an object store is reached by URI through `tf.io.gfile`."""

import threading
import time

import pytest
import tensorflow as tf

from components.model_manifest import MANIFEST_FILE, ManifestError, check_model, read_manifest
from components.pusher import object_store
from components.pusher.push import PushError

gfile = tf.io.gfile


@pytest.fixture
def base(request):
    return f"ram://{request.node.name.replace('[', '-').replace(']', '')}/models"


def push(model, base, **arguments):
    return object_store.push_to_object_store(str(model), base, facts={"run_id": "r"}, **arguments)


def test_pushed_version_is_the_model_and_nothing_else_is_left(make_model, base):
    model = make_model()
    result = push(model, base)
    manifest = check_model(f"{base}/{result.version}", read_manifest(str(model))["digest"])
    assert manifest["run_id"] == "r"
    assert [name.rstrip("/") for name in gfile.listdir(base)] == [str(result.version)]


def test_saved_model_comes_last_when_all_else_is_there(make_model, base, monkeypatch):
    written = []
    copy = gfile.copy
    monkeypatch.setattr(object_store.gfile, "copy", lambda s, t, overwrite: (written.append(t), copy(s, t, overwrite)))
    write = object_store.write_manifest
    monkeypatch.setattr(
        object_store, "write_manifest", lambda t, m: (written.append(f"{t}/{MANIFEST_FILE}"), write(t, m))
    )
    push(make_model(files=("a", "z")), base)
    assert [path.split("/")[-1] for path in written][-2:] == [MANIFEST_FILE, "saved_model.pb"]


def test_same_model_is_not_pushed_twice(make_model, base):
    first = push(make_model(), base).version
    with gfile.GFile(f"{base}/notes.txt", "w") as file:
        file.write("the user's own")
    assert not (again := push(make_model("copy"), base)).is_new
    assert again.version == first


def test_old_versions_go(make_model, base):
    versions = [push(make_model(str(n), content=str(n)), base, keep_versions=2).version for n in range(4)]
    assert sorted(int(name.rstrip("/")) for name in gfile.listdir(base)) == versions[2:]


def test_labelled_version_stays(make_model, base):
    first = push(make_model("0", content="0"), base).version
    with gfile.GFile(f"{base}/models.config", "w") as file:
        file.write(f'model_config_list {{ config {{ version_labels {{ key: "stable" value: {first} }} }} }}')
    versions = [push(make_model(str(n), content=str(n)), base, keep_versions=1).version for n in (1, 2)]
    numbers = sorted(int(name.rstrip("/")) for name in gfile.listdir(base) if name[0].isdigit())
    assert numbers == [first, versions[1]]


def test_changed_model_is_refused_and_leaves_no_trace(make_model, base):
    model = make_model()
    (model / "saved_model.pb").write_text("other")
    with pytest.raises(ManifestError, match=r"saved_model\.pb has changed"):
        push(model, base)
    assert not gfile.exists(base) or gfile.listdir(base) == []


def test_upload_that_fails_leaves_no_version(make_model, base, monkeypatch):
    copy = gfile.copy

    def fail_at_the_end(source, target, overwrite):
        if target.endswith("saved_model.pb"):
            raise tf.errors.UnavailableError(None, None, "the store is away")
        copy(source, target, overwrite)

    monkeypatch.setattr(object_store.gfile, "copy", fail_at_the_end)
    with pytest.raises(PushError, match=r"cannot push to ram://.*: the store is away"):
        push(make_model(), base)
    assert gfile.listdir(base) == []


def test_pushes_at_once_all_land_under_versions_of_their_own(make_model, base):
    models = [make_model(str(n), content=str(n)) for n in range(6)]
    barrier = threading.Barrier(len(models))
    results = []

    def push_together(model):
        barrier.wait()
        results.append(push(model, base))

    threads = [threading.Thread(target=push_together, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    digests = {check_model(f"{base}/{result.version}", "")["digest"] for result in results}
    assert digests == {read_manifest(str(model))["digest"] for model in models}


@pytest.mark.parametrize(("age_secs", "is_swept"), [(60, False), (7200, True)])
def test_what_a_dead_push_left_goes_after_an_hour(age_secs, is_swept, make_model, base):
    gfile.makedirs(f"{base}/7")
    claim = f".push-7-{int(time.time()) - age_secs}-dead"
    for name in ("7/fingerprint.pb", claim):
        with gfile.GFile(f"{base}/{name}", "w") as file:
            file.write("x")
    version = push(make_model(), base).version
    assert [gfile.exists(f"{base}/{name}") for name in ("7/fingerprint.pb", claim)] == [not is_swept] * 2
    assert gfile.exists(f"{base}/{version}/saved_model.pb")
