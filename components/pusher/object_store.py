"""Pushes a model to an object store such as `gs://`, which has no rename. Runs in Pusher's process.

A server sees a version once its first object is there, but can load it only with `saved_model.pb`, which therefore
comes last, after every other object was read back and compared.
"""

import posixpath
import random
import time
import uuid
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.model_manifest import (
    Manifest,
    ManifestError,
    check_companions,
    check_model,
    compare_files,
    file_sha256,
    make_manifest,
    read_manifest,
    write_manifest,
)
from components.pusher.push import Push, PushError, pushed_manifest
from components.pusher.versions import MODELS_CONFIG_FILE, ServingPolicy, VersionError, parse_policy

_MODEL_FILE = "saved_model.pb"
_CLAIM_PREFIX = ".push-"
_STALE_CLAIM_SECS = 3600.0  # a push that is still at work after an hour is taken for dead
gfile = tf.io.gfile


def push_to_object_store(
    model_dir: str,
    base_uri: str,
    *,
    facts: Mapping[str, Any],
    companions: Mapping[str, bytes] | None = None,
    keep_versions: int | None = None,
    expected_digest: str = "",
) -> Push:
    """Pushes a model as version max(existing, now) + 1; arguments and errors as of `push_model`."""
    try:
        manifest = check_model(model_dir, expected_digest)
        gfile.makedirs(base_uri)
        _sweep(base_uri)
        versions = _complete_versions(base_uri)
        if versions and _digest(base_uri, versions[-1]) == manifest["digest"]:
            return Push(versions[-1], is_new=False)
        version, claim = _claim_version(base_uri)
        try:
            _upload(model_dir, posixpath.join(base_uri, str(version)), manifest, facts, companions or {})
        finally:
            gfile.remove(claim)
        removed = _old_versions(base_uri, keep_versions) if keep_versions else []
        for old in removed:
            _remove_version(base_uri, old)
        return Push(version, is_new=True, removed=tuple(removed))
    except tf.errors.OpError as err:
        raise PushError(f"cannot push to {base_uri}: {err.message}") from err
    except VersionError as err:
        raise PushError(f"cannot push to {base_uri}: {err}") from err


def _upload(
    model_dir: str, target: str, manifest: Manifest, facts: Mapping[str, Any], companions: Mapping[str, bytes]
) -> None:
    pushed = pushed_manifest(manifest, facts, companions)
    try:
        gfile.makedirs(target)
        for name, content in companions.items():
            with gfile.GFile(posixpath.join(target, name), "wb") as file:
                file.write(content)
        for name in sorted(manifest["files"], key=lambda name: name == _MODEL_FILE):
            if name == _MODEL_FILE:
                write_manifest(target, pushed)
            path = posixpath.join(target, name)
            gfile.makedirs(posixpath.dirname(path))
            gfile.copy(posixpath.join(model_dir, name), path, overwrite=True)
            if file_sha256(path) != manifest["files"][name]["sha256"]:
                raise ManifestError(f"{name} did not arrive as it was sent.")
        compare_files(manifest, make_manifest(target)["files"])
        check_companions(target, pushed)
    except BaseException:
        _remove_version(*posixpath.split(target))
        raise


def _claim_version(base_uri: str) -> tuple[int, str]:
    """Returns a version that no other push has, and the object that says so.

    Whoever finds another claim beside its own takes back its own and tries a later version, so that of two pushes at
    once at most one keeps a version.
    """
    version = max([*_numbers(base_uri), int(time.time())]) + 1
    while True:
        claim = posixpath.join(base_uri, f"{_CLAIM_PREFIX}{version}-{int(time.time())}-{uuid.uuid4().hex}")
        with gfile.GFile(claim, "w") as file:
            file.write("")
        rivals = [name for name in _names(base_uri) if name.startswith(f"{_CLAIM_PREFIX}{version}-")]
        if len(rivals) == 1 and version not in _numbers(base_uri):
            return version, claim
        gfile.remove(claim)
        version = max([version, *_numbers(base_uri)]) + random.randint(1, 10)


def _sweep(base_uri: str) -> None:
    """Removes what pushes that died left: their claims and versions without `saved_model.pb`."""
    for name in _names(base_uri):
        if not name.startswith(_CLAIM_PREFIX):
            continue
        version, claimed_at = map(int, name.removeprefix(_CLAIM_PREFIX).split("-")[:2])
        if time.time() - claimed_at > _STALE_CLAIM_SECS:
            if version not in _complete_versions(base_uri):
                _remove_version(base_uri, version)
            gfile.remove(posixpath.join(base_uri, name))


def remote_state(base_uri: str) -> tuple[ServingPolicy, list[int]]:
    """Returns what `models.config` says, and the versions that a server serves by it, ascending.

    Raises:
        VersionError: If there is one that cannot be read.
    """
    file = posixpath.join(base_uri, MODELS_CONFIG_FILE)
    policy = ServingPolicy()
    if gfile.exists(file):
        with gfile.GFile(file, "r") as stream:
            policy = parse_policy(stream.read(), file)
    versions = _complete_versions(base_uri) if gfile.isdir(base_uri) else []
    if policy.versions is None:
        return policy, versions[-policy.num_newest :]
    return policy, sorted(set(policy.versions) & set(versions))


def _old_versions(base_uri: str, keep: int) -> list[int]:
    """Returns all but the newest `keep` versions, without those that are served or labelled."""
    policy, served = remote_state(base_uri)
    versions = _complete_versions(base_uri)
    protected = {*served, *policy.labels.values(), *versions[-keep:]}
    return [version for version in versions if version not in protected]


def _remove_version(base_uri: str, version: int | str) -> None:
    """Removes a version, `saved_model.pb` first, so that nothing loads the rest."""
    target = posixpath.join(base_uri, str(version))
    if gfile.exists(posixpath.join(target, _MODEL_FILE)):
        gfile.remove(posixpath.join(target, _MODEL_FILE))
    if gfile.exists(target):
        gfile.rmtree(target)


def _digest(base_uri: str, version: int) -> str:
    try:
        return read_manifest(posixpath.join(base_uri, str(version)))["digest"]
    except ManifestError:  # pushed by another tool
        return ""


def _complete_versions(base_uri: str) -> list[int]:
    return [n for n in _numbers(base_uri) if gfile.exists(posixpath.join(base_uri, str(n), _MODEL_FILE))]


def _numbers(base_uri: str) -> list[int]:
    return sorted(int(name) for name in _names(base_uri) if name.isascii() and name.isdecimal())


def _names(base_uri: str) -> list[str]:
    return [name.rstrip("/") for name in gfile.listdir(base_uri)]
