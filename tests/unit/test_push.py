"""What a push leaves behind, whatever happens to it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf

from components.model_manifest import (
    MANIFEST_FILE,
    ManifestError,
    check_model,
    list_files,
    local_copy,
    make_manifest,
    read_manifest,
    write_manifest,
)
from components.pusher.push import PushError, push_model
from components.pusher.versions import assign_label, list_versions, locked, served_versions
from pipeline.versions_command import print_versions

CRASH_DRIVER = Path(__file__).parent / "crash_driver.py"


def push(model, base, **arguments):
    return push_model(str(model), str(base), facts={"run_id": "r"}, **arguments)


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_pushed_version_is_the_model_and_tells_the_facts(make_model, tmp_path):
    model = make_model()
    result = push(model, tmp_path / "base")
    pushed = tmp_path / "base" / str(result.version)
    expected, found = contents(model), contents(pushed)
    manifest = json.loads(found.pop(MANIFEST_FILE))
    assert manifest.items() >= (json.loads(expected.pop(MANIFEST_FILE)) | {"run_id": "r"}).items()
    assert found == expected
    assert result.is_new
    assert {path.name for path in (tmp_path / "base").iterdir()} == {str(result.version), "models.config"}
    assert served_versions(tmp_path / "base") == [result.version]


@pytest.mark.parametrize("existing", [None, "5", "99999999999"])
def test_version_is_larger_than_now_and_than_any_other(existing, make_model, tmp_path):
    base, now = tmp_path / "base", int(time.time())
    if existing:
        (base / existing).mkdir(parents=True)
    version = push(make_model(), base).version
    assert version == int(existing) + 1 if existing == "99999999999" else now < version <= int(time.time()) + 1


def test_same_model_is_not_pushed_twice(make_model, tmp_path):
    first = push(make_model(), tmp_path / "base")
    again = push(tmp_path / "model", tmp_path / "base")
    assert (again.version, again.is_new) == (first.version, False)
    assert list_versions(tmp_path / "base") == [first.version]


def test_same_model_is_pushed_again_once_its_version_is_damaged(make_model, tmp_path):
    first = push(make_model(), tmp_path / "base").version
    (tmp_path / "base" / str(first) / "saved_model.pb").write_text("damage")
    assert push(tmp_path / "model", tmp_path / "base").is_new


def test_companions_are_pushed_beside_the_model_and_are_no_part_of_it(make_model, tmp_path):
    model = make_model()
    version = push(model, tmp_path / "base", companions={"rows.pb": b"rows"}).version
    pushed = tmp_path / "base" / str(version)
    assert (pushed / "rows.pb").read_bytes() == b"rows"
    manifest = check_model(str(pushed), read_manifest(str(model))["digest"])
    assert manifest["companions"] == {"rows.pb": {"bytes": 4, "sha256": hashlib.sha256(b"rows").hexdigest()}}
    assert "rows.pb" not in list_files(str(pushed))
    assert not push(model, tmp_path / "base", companions={"rows.pb": b"other"}).is_new


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (lambda folder: (folder / "rows.pb").write_text("other"), "rows.pb has changed since the push."),
        (lambda folder: (folder / "rows.pb").unlink(), "rows.pb is missing."),
        (lambda folder: (folder / "more.pb").write_text("unlisted"), "changed since the push"),
    ],
)
def test_version_with_a_damaged_companion_is_damaged(damage, state, make_model, tmp_path, capsys):
    model = make_model()
    version = push(model, tmp_path / "base", companions={"rows.pb": b"rows"}).version
    assert print_versions(tmp_path / "base", verify=True)
    assert " ok " in capsys.readouterr().out
    damage(tmp_path / "base" / str(version))
    assert not print_versions(tmp_path / "base", verify=True)
    assert state in capsys.readouterr().out
    assert push(model, tmp_path / "base").is_new


def test_manifest_whose_companions_are_no_mapping_is_damaged(make_model, tmp_path):
    pushed = tmp_path / "base" / str(push(make_model(), tmp_path / "base").version)
    write_manifest(str(pushed), {**read_manifest(str(pushed)), "companions": ["rows.pb"]})
    with pytest.raises(ManifestError, match=rf"{MANIFEST_FILE} is damaged"):
        read_manifest(str(pushed))


def test_model_of_before_the_newest_is_pushed_again(make_model, tmp_path):
    versions = [push(make_model(name, content=name), tmp_path / "base").version for name in ("a", "b")]
    assert push(tmp_path / "a", tmp_path / "base").version > max(versions)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda m: (m / "variables" / "variables.data-00000-of-00001").write_text("weightz"),
            "data-00000.* has changed",
        ),
        (lambda m: (m / "saved_model.pb").unlink(), "saved_model.pb is missing"),
        (lambda m: (m / "added").write_text("x"), "added is not in the manifest"),
        (lambda m: (m / MANIFEST_FILE).unlink(), "no readable sluice_manifest.json; the Trainer writes it"),
        (lambda m: (m / MANIFEST_FILE).write_text("{"), "sluice_manifest.json is damaged"),
        (lambda m: (m / MANIFEST_FILE).write_text('{"digest": "x", "files": {}}'), "lists no saved_model.pb"),
        (lambda m: (m / MANIFEST_FILE).write_text('{"digest": "x", "files": ["saved_model.pb"]}'), "is damaged"),
        (lambda m: (m / MANIFEST_FILE).write_text("[" * 100_000), "is damaged"),
        (lambda m: write_manifest(str(m), make_manifest(str(m)) | {"digest": "x"}), "its digest is not that of"),
    ],
)
def test_model_that_is_not_what_was_trained_is_refused(damage, reason, make_model, tmp_path):
    served = push(make_model("served", content="old"), tmp_path / "base").version
    model = make_model()
    damage(model)
    with pytest.raises(ManifestError, match=reason):
        push(model, tmp_path / "base")
    assert {path.name for path in (tmp_path / "base").iterdir()} == {str(served), "models.config"}


def test_swapped_model_with_a_manifest_of_its_own_is_refused(make_model, tmp_path):
    trained = read_manifest(str(make_model()))["digest"]
    with pytest.raises(ManifestError, match=r"of another model: its digest is .*, the Trainer recorded"):
        push(make_model("other", content="other"), tmp_path / "base", expected_digest=trained)


def test_two_files_that_are_swapped_are_refused(make_model, tmp_path):
    model = make_model(files=("a", "b"))
    (model / "a").rename(model / "c")
    (model / "b").rename(model / "a")
    (model / "c").rename(model / "b")
    with pytest.raises(ManifestError, match=r"a has changed .*b has changed"):
        push(model, tmp_path / "base")


def test_only_the_newest_versions_stay_and_labelled_ones(make_model, tmp_path):
    base = tmp_path / "base"
    first = push(make_model("m0", content="0"), base).version
    assign_label(base, first, "stable", settle_secs=0)
    results = [push(make_model(f"m{n}", content=str(n)), base, keep_versions=2) for n in range(1, 5)]
    assert list_versions(base) == [first, results[2].version, results[3].version]
    assert results[3].removed == (results[1].version,)


def test_leftovers_of_a_crashed_push_are_swept(make_model, tmp_path):
    (tmp_path / "base" / ".push-dead" / "variables").mkdir(parents=True)
    (tmp_path / "base" / ".push-models.config-dead").write_text("x")
    (tmp_path / "base" / "notes.txt").write_text("the user's own")
    version = push(make_model(), tmp_path / "base").version
    assert {path.name for path in (tmp_path / "base").iterdir()} == {str(version), "models.config", "notes.txt"}


def test_kill_at_every_file_operation_leaves_the_old_or_the_new_state(make_model, tmp_path):
    """The driver kills a push before and after each of its calls into the operating system, one by one."""
    for name, content in (("old", "0"), ("new", "1"), ("next", "2")):
        make_model(name, content=content)
    command = [sys.executable, str(CRASH_DRIVER), str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr[-3000:]
    counts = json.loads(process.stdout)
    print(f"\nkilled at {counts['points']} points: old state {counts['old']}, new state {counts['new']}")
    assert counts["points"] > 200
    assert counts["old"] > 0
    assert counts["new"] > 0


def test_pushes_at_once_all_land_under_versions_of_their_own(make_model, tmp_path):
    script = "import sys; from components.pusher.push import push_model; push_model(*sys.argv[1:], facts={})"
    models = [make_model(f"m{n}", content=str(n)) for n in range(8)]
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(model), str(tmp_path / "base")]) for model in models
    ]
    assert [process.wait(60) for process in processes] == [0] * 8
    pushed = [read_manifest(str(tmp_path / "base" / str(v)))["digest"] for v in list_versions(tmp_path / "base")]
    assert sorted(pushed) == sorted(read_manifest(str(model))["digest"] for model in models)


def test_push_waits_for_another_s_lock(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr("components.pusher.versions._LOCK_TIMEOUT_SECS", 0.1)
    (tmp_path / "base").mkdir()
    with locked(tmp_path / "base"), pytest.raises(PushError, match="is locked by another push"):
        push(make_model(), tmp_path / "base")


def in_mounted(options, script, tmp_path):
    """Runs shell commands in a mount namespace of their own, where `base` is a small file system."""
    mount = f"mount -t tmpfs -o {options} none {tmp_path}/base"
    return subprocess.run(["unshare", "-rm", "sh", "-c", f"{mount} && {script}"], capture_output=True, text=True)


PUSH = (
    '{python} -c "import sys; from components.pusher.push import push_model; '
    "push_model('{model}', '{base}', facts={{}})\""
)


@pytest.mark.parametrize(
    ("options", "before", "reason"),
    [
        ("size=64k", "true", "No space left on device"),
        ("size=64k", "mount -o remount,ro {base}", "Read-only file system"),
    ],
)
def test_full_disk_and_read_only_destination_are_clear_errors_without_a_trace(
    options, before, reason, make_model, tmp_path
):
    (tmp_path / "base").mkdir()
    if in_mounted(options, "true", tmp_path).returncode:
        pytest.skip("this machine lets nobody mount a file system in a namespace")
    names = {"python": sys.executable, "model": make_model(content="w" * 200_000), "base": tmp_path / "base"}
    script = f"{before.format(**names)}; {PUSH.format(**names)}; ls -A {names['base']}"
    process = in_mounted(options, script, tmp_path)
    assert f"PushError: cannot push to {tmp_path}/base: {reason}" in process.stderr
    assert process.stdout == ""


def test_remote_model_is_copied_first(make_model, tmp_path):
    model, remote = make_model(), f"ram://{tmp_path.name}/model"
    for name, content in contents(model).items():
        tf.io.gfile.makedirs(os.path.dirname(f"{remote}/{name}"))
        with tf.io.gfile.GFile(f"{remote}/{name}", "wb") as file:
            file.write(content)
    with local_copy(remote) as folder:
        assert push(folder, tmp_path / "base", expected_digest=read_manifest(str(model))["digest"]).is_new
    assert not os.path.exists(folder)


@pytest.mark.parametrize("text", ["garbage", "model_config_list { config {} config {} }"])
def test_damaged_policy_is_found_before_anything_lands(text, make_model, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "models.config").write_text(text)
    with pytest.raises(PushError, match=r"models\.config"):
        push(make_model(), tmp_path / "base", keep_versions=1)
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["models.config"]


def test_links_and_odd_numbers_do_not_stop_a_push(make_model, tmp_path):
    base, elsewhere = tmp_path / "base", make_model("elsewhere")
    base.mkdir()
    (base / "6").symlink_to(elsewhere)
    shutil.copytree(elsewhere, base / "007")
    shutil.copytree(elsewhere, base / "7")
    (base / "8").write_text("no folder")
    result = push(make_model(content="new"), base, keep_versions=1)
    assert result.removed == (6, 7)
    assert {path.name for path in base.iterdir()} == {"007", "8", str(result.version), "models.config"}
    assert (elsewhere / "saved_model.pb").exists()


def test_largest_number_of_all_leaves_no_room_for_a_version(make_model, tmp_path):
    (tmp_path / "base" / str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(PushError, match="it holds version 9223372036854775807, after which TF Serving knows no other"):
        push(make_model(), tmp_path / "base")
