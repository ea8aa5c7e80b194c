"""Makes a model appear in a local push destination, whole, by one rename. Runs in Pusher's process.

TF Serving tries a version the moment its folder appears, and a load that fails is tried again only after a minute
(tensorflow_serving/core/loader_harness.cc). So a version is staged under a name that is no number, checked, synced to
disk and renamed.
"""

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.model_manifest import (
    COMPANIONS,
    Manifest,
    ManifestError,
    check_companions,
    compare_files,
    describe_companion,
    list_files,
    make_manifest,
    read_manifest,
    write_manifest,
)
from components.pusher.versions import (
    STAGING_PREFIX,
    VersionError,
    list_versions,
    locked,
    next_version,
    read_policy,
    remove,
    remove_old_versions,
    write_first_policy,
)

_CHUNK_BYTES = 1 << 20
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


class PushError(RuntimeError):
    """A push that could not be made; the destination is as it was."""


@dataclass(frozen=True)
class Push:
    """What a push did.

    Attributes:
        version: The version that now holds the model.
        is_new: Whether this push made it; False if the newest version held the same model already.
        removed: Versions that were pruned.
    """

    version: int
    is_new: bool
    removed: tuple[int, ...] = ()


def push_model(
    model_dir: str,
    base_dir: str,
    *,
    facts: Mapping[str, Any],
    companions: Mapping[str, bytes] | None = None,
    keep_versions: int | None = None,
    expected_digest: str = "",
) -> Push:
    """Pushes a model as version max(existing, now) + 1.

    Args:
        model_dir: Local folder of the model, with its manifest.
        base_dir: Local folder of numbered versions.
        facts: What the pushed manifest tells beside the files, by name.
        companions: Small files by name that are pushed with the model and are no part of it.
        keep_versions: How many of the newest versions stay; None keeps all. Served and labelled ones always stay.
        expected_digest: Of the model, by the metadata of its artifact; empty where nothing recorded it.

    Raises:
        ManifestError: If the model is not what its manifest says.
        PushError: If the destination cannot be written.
    """
    base = Path(base_dir)
    try:
        base.mkdir(parents=True, exist_ok=True)
        with locked(base):
            read_policy(base)  # a damaged one is found before anything lands
            _sweep(base)
            manifest = _expected_manifest(model_dir, expected_digest)
            newest = _newest_version_of(base, manifest)
            version = _push(Path(model_dir), base, manifest, facts, companions or {}) if newest is None else newest
            write_first_policy(base)
            if newest is not None:
                return Push(newest, is_new=False)
            removed = remove_old_versions(base, keep_versions) if keep_versions else []
            return Push(version, is_new=True, removed=tuple(removed))
    except (OSError, VersionError) as err:
        reason = err.strerror or err if isinstance(err, OSError) else err
        raise PushError(f"cannot push to {base_dir}: {reason}") from err


def _expected_manifest(model_dir: str, expected_digest: str) -> Manifest:
    manifest = read_manifest(model_dir, expected_digest)
    names = dict.fromkeys(list_files(model_dir))
    compare_files(manifest, {name: manifest["files"].get(name) for name in names})
    return manifest


def _newest_version_of(base: Path, manifest: Manifest) -> int | None:
    """Returns the newest version if it holds this very model, undamaged."""
    versions = list_versions(base)
    if not versions:
        return None
    newest = str(base / str(versions[-1]))
    try:
        pushed = read_manifest(newest)
        same = pushed["digest"] == manifest["digest"]
        check_companions(newest, pushed)
        return versions[-1] if same and make_manifest(newest)["digest"] == manifest["digest"] else None
    except ManifestError:  # pushed by another tool
        return None


def _push(
    model_dir: Path, base: Path, manifest: Manifest, facts: Mapping[str, Any], companions: Mapping[str, bytes]
) -> int:
    staging = base / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
    try:
        staging.mkdir()
        found = {name: _copy(model_dir / name, staging / name) for name in manifest["files"]}
        compare_files(manifest, found)
        for name, content in companions.items():
            (staging / name).write_bytes(content)
        write_manifest(str(staging), pushed_manifest(manifest, facts, companions))
        for folder, _, files in os.walk(staging):
            for file in files:
                _sync(os.path.join(folder, file))
            _sync(folder)
        version = next_version(base, now=int(time.time()))
        while not _rename(staging, base / str(version)):
            version += 1
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _sync(base)
    return version


def pushed_manifest(manifest: Manifest, facts: Mapping[str, Any], companions: Mapping[str, bytes]) -> Manifest:
    """Returns the manifest of a pushed model: the Trainer's, the facts and what is said of the companions."""
    described = {name: describe_companion(content) for name, content in companions.items()}
    return {**facts, COMPANIONS: described, **manifest}


def _copy(source: Path, target: Path) -> dict[str, Any]:
    """Copies a file and returns what the manifest says of it, by the bytes that were copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, num_bytes = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            digest.update(chunk)
            num_bytes += len(chunk)
    return {"bytes": num_bytes, "sha256": digest.hexdigest()}


def _rename(staging: Path, target: Path) -> bool:
    """Renames a folder unless there is one of the new name; a push from another host may have just made it."""
    try:
        os.rename(staging, target)
    except OSError as err:
        if err.errno in _TAKEN:
            return False
        raise
    return True


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(base: Path) -> None:
    """Removes what crashed pushes left; under the lock, nobody else is at work."""
    for leftover in base.glob(f"{STAGING_PREFIX}*"):
        remove(leftover)
