"""The manifest of a model: SHA-256 of every file. Runs in the Trainer's, InfraValidator's and Pusher's process.

Imports TensorFlow only for remote folders, so that a local push needs none of it.
"""

import contextlib
import hashlib
import json
import os
import posixpath
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

MANIFEST_FILE = "sluice_manifest.json"
DIGEST_PROPERTY = "model_digest"  # of the artifacts Model and InfraBlessing
COMPANIONS = "companions"  # key of a pushed manifest: files beside the model that are not part of it, by name
_CHUNK_BYTES = 1 << 20
Manifest = dict[str, Any]


class ManifestError(RuntimeError):
    """A model that is not what its manifest says."""


def make_manifest(model_dir: str, **facts: Any) -> Manifest:
    """Returns the manifest of a model.

    Args:
        model_dir: Folder of `saved_model.pb`, local or remote.
        facts: What else the manifest tells, by name.

    Returns:
        `files`: size in bytes and SHA-256 of each by its relative name; `digest`: SHA-256 over those, which identifies
        the model; and the facts.
    """
    files = {}
    for name in list_files(model_dir):
        path = posixpath.join(model_dir, name)
        files[name] = {"bytes": _size(path), "sha256": file_sha256(path)}
    return {"digest": digest_of(files), **facts, "files": files}


def digest_of(files: dict[str, dict[str, Any]]) -> str:
    """Returns the SHA-256 of a manifest's `files`."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def write_manifest(model_dir: str, manifest: Manifest) -> None:
    """Writes a manifest beside the files that it describes."""
    with open_file(posixpath.join(model_dir, MANIFEST_FILE), "wb") as file:
        file.write((json.dumps(manifest, indent=1) + "\n").encode())


def read_manifest(model_dir: str, expected_digest: str = "") -> Manifest:
    """Returns the manifest of a model.

    Args:
        model_dir: Folder of the model, local or remote.
        expected_digest: The manifest's digest by the metadata of the artifact; empty where nothing recorded it.

    Raises:
        ManifestError: If there is none, it is damaged, or it is another model's.
    """
    try:
        with open_file(posixpath.join(model_dir, MANIFEST_FILE), "rb") as file:
            manifest = json.loads(file.read())
        if "saved_model.pb" not in {**manifest["files"]} or "saved_model.pb" in {**manifest.get(COMPANIONS, {})}:
            raise ManifestError(f"{MANIFEST_FILE} lists no saved_model.pb.")
        if manifest["digest"] != digest_of(manifest["files"]):
            raise ManifestError(f"{MANIFEST_FILE} is damaged: its digest is not that of its list of files.")
    except (OSError, _remote_error()) as err:
        raise ManifestError(f"the model has no readable {MANIFEST_FILE}; the Trainer writes it.") from err
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as err:
        raise ManifestError(f"{MANIFEST_FILE} is damaged: {err!r}.") from err
    if expected_digest and manifest["digest"] != expected_digest:
        raise ManifestError(
            f"{MANIFEST_FILE} is of another model: its digest is {manifest['digest'][:12]}, the Trainer recorded "
            f"{expected_digest[:12]}."
        )
    return manifest


def check_model(model_dir: str, expected_digest: str) -> Manifest:
    """Returns the manifest of a model whose every file is what the Trainer wrote; arguments as of `read_manifest`.

    Raises:
        ManifestError: If a file is missing, new or changed, or the manifest is another model's.
    """
    manifest = read_manifest(model_dir, expected_digest)
    compare_files(manifest, make_manifest(model_dir)["files"])
    check_companions(model_dir, manifest)
    return manifest


def check_companions(model_dir: str, manifest: Manifest) -> None:
    """Raises ManifestError unless every companion of a pushed model is what the Pusher wrote beside it."""
    for name in manifest.get(COMPANIONS, {}):
        read_companion(model_dir, manifest, name)


def describe_companion(content: bytes) -> dict[str, Any]:
    """Returns what a manifest says of a companion."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def read_companion(model_dir: str, manifest: Manifest, name: str) -> bytes | None:
    """Returns a small file that was pushed with a model and is not part of it; None if none of that name was.

    Args:
        model_dir: Folder of the pushed model, local or remote.
        manifest: Its manifest.
        name: Of the file.

    Raises:
        ManifestError: If it is missing, or not what the Pusher wrote.
    """
    if name not in manifest.get(COMPANIONS, {}):
        return None
    try:
        with open_file(posixpath.join(model_dir, name), "rb") as file:
            content = file.read()
    except (OSError, _remote_error()) as err:
        raise ManifestError(f"{name} is missing.") from err
    if describe_companion(content) != manifest[COMPANIONS][name]:
        raise ManifestError(f"{name} has changed since the push.")
    return content


def compare_files(manifest: Manifest, found: dict[str, dict[str, Any]]) -> None:
    """Raises ManifestError, naming the first few files, unless `found` is the manifest's `files`."""
    expected = manifest["files"]
    problems = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    problems += [f"{name} is not in the manifest" for name in sorted(found.keys() - expected.keys())]
    problems += [
        f"{name} has changed since the Trainer wrote it"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ManifestError(f"{'; '.join(problems[:3])}{more}.")


def list_files(model_dir: str) -> list[str]:
    """Returns the relative name of every file of a model, sorted, without its manifest and the companions in it."""
    others = {MANIFEST_FILE, *_companions(model_dir)}
    return [name for name in _all_files(model_dir) if name not in others]


def _companions(model_dir: str) -> list[str]:
    """Returns what the manifest lists beside the model; nothing if that is no readable manifest."""
    try:
        with open_file(posixpath.join(model_dir, MANIFEST_FILE), "rb") as file:
            return list(json.loads(file.read()).get(COMPANIONS, {}))
    except (OSError, _remote_error(), ValueError, AttributeError, TypeError, RecursionError):
        return []


def file_sha256(path: str) -> str:
    """Returns the SHA-256 of a local or remote file."""
    digest = hashlib.sha256()
    with open_file(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def local_copy(model_dir: str) -> Iterator[str]:
    """Yields a local folder with a model: its own or, for a remote one, a copy that is removed afterwards."""
    if not is_remote(model_dir):
        yield model_dir
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in _all_files(model_dir):
            target = os.path.join(folder, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open_file(posixpath.join(model_dir, name), "rb") as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy)
        yield folder


def is_remote(path: str) -> bool:
    """Whether a path is a URI such as `gs://bucket/folder`."""
    return "://" in path


def is_there(path: str) -> bool:
    """Whether there is such a local or remote file."""
    if is_remote(path):
        import tensorflow as tf

        return tf.io.gfile.exists(path)
    return os.path.exists(path)


def open_file(path: str, mode: str) -> AbstractContextManager[Any]:
    """Opens a local or remote file."""
    if is_remote(path):
        import tensorflow as tf

        return tf.io.gfile.GFile(path, mode)
    return open(path, mode)


def _all_files(model_dir: str) -> list[str]:
    paths = (posixpath.join(folder, file) for folder, _, files in _walk(model_dir) for file in files)
    return sorted(posixpath.relpath(path, model_dir) for path in paths)


def _walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    if is_remote(folder):
        import tensorflow as tf

        yield from tf.io.gfile.walk(folder)
    else:
        yield from os.walk(folder)


def _size(path: str) -> int:
    if is_remote(path):
        import tensorflow as tf

        return tf.io.gfile.stat(path).length
    return os.path.getsize(path)


def _remote_error() -> type[Exception]:
    """The error of a remote file that cannot be read; only where TensorFlow is loaded can there be one."""
    tf = sys.modules.get("tensorflow")
    return tf.errors.OpError if tf else OSError
