"""The versions in a push destination, and which of them TF Serving serves. Runs in Pusher's process and in `versions`.

`models.config` in the destination is what TF Serving reads with `--model_config_file` (TF Serving, Configuration page).
Until a version is promoted, and without the file, a server serves the newest one.
"""

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

MODELS_CONFIG_FILE = "models.config"
_LARGEST_VERSION = 2**63 - 1  # TF Serving's versions are int64
SETTLE_SECS = 3.0  # our servers look at the config and at the folder once a second
_LOCK_TIMEOUT_SECS = 60.0
STAGING_PREFIX = ".push-"  # not a number: TF Serving looks at numbered folders alone
STABLE = "stable"
CANARY = "canary"


class VersionError(ValueError):
    """A version that cannot be promoted, or a `models.config` that cannot be read."""


@dataclass(frozen=True)
class ServingPolicy:
    """What `models.config` says.

    Attributes:
        versions: The versions to serve; None means the newest.
        num_newest: How many of the newest, if `versions` is None.
        labels: Version by label.
        base_path: Where the server finds the destination.
    """

    versions: tuple[int, ...] | None = None
    num_newest: int = 1
    labels: dict[str, int] = field(default_factory=dict)
    base_path: str = ""


def list_versions(base_dir: Path) -> list[int]:
    """Returns the numbered folders that hold a model, ascending."""
    if not base_dir.is_dir():
        return []
    numbers = dict.fromkeys(numbered_folders(base_dir))  # `7` and `007` are one number; only `7` is a version
    return [number for number in numbers if (base_dir / str(number) / "saved_model.pb").is_file()]


def numbered_folders(base_dir: Path) -> list[int]:
    """Returns the numbers that name something in the destination, a model or not, ascending."""
    names = (name for name in os.listdir(base_dir) if name.isascii() and name.isdecimal())
    return sorted(int(name) for name in names if int(name) <= _LARGEST_VERSION)


def served_versions(base_dir: Path) -> list[int]:
    """Returns the versions that a server of `base_dir` serves, ascending."""
    policy, versions = read_policy(base_dir), list_versions(base_dir)
    if policy.versions is None:
        return versions[-policy.num_newest :]
    return sorted(set(policy.versions) & set(versions))


def read_policy(base_dir: Path) -> ServingPolicy:
    """Reads `models.config`.

    Raises:
        VersionError: If there is one that is not of one model.
    """
    return _policy_of(_read_config(base_dir).model_config_list.config[0])


def parse_policy(text: str, file: str) -> ServingPolicy:
    """Parses a `models.config`; `file` is named in the error.

    Raises:
        VersionError: If it is not of one model.
    """
    return _policy_of(_parse_config(text, file).model_config_list.config[0])


def write_first_policy(base_dir: Path) -> None:
    """Writes a `models.config` that serves the newest version, if there is none.

    TF Serving looks at the file only if it was told of it when it started, so it must be there before any promotion.
    """
    if not (base_dir / MODELS_CONFIG_FILE).exists():
        _write_policy(base_dir, ServingPolicy(base_path=str(base_dir.resolve())))


def assign_label(
    base_dir: Path, version: int, label: str, *, base_path: str | None = None, settle_secs: float = SETTLE_SECS
) -> ServingPolicy:
    """Gives a version a label and serves it, by atomic changes of `models.config`.

    Args:
        base_dir: The push destination; its folder's name is the model's.
        version: An existing version.
        label: `stable` or `canary`.
        base_path: Where the server finds the destination; as before, or `base_dir`, unless given.
        settle_secs: Time for a server to load a version that it does not serve yet, before the label moves to it.

    Returns:
        What is served from now on: the labelled versions, and the one that a rollback would go to.

    Raises:
        VersionError: If there is no such version.
    """
    with locked(base_dir):
        versions = list_versions(base_dir)
        if version not in versions:
            have = ", ".join(map(str, versions)) or "none"
            raise VersionError(f"{base_dir} has no version {version}. Versions: {have}.")
        before = read_policy(base_dir)
        labels = {name: value for name, value in before.labels.items() if value in versions}
        labels.setdefault(STABLE, max(served_versions(base_dir), default=version))
        path = base_path or before.base_path or str(base_dir.resolve())
        return _move_labels(base_dir, labels | {label: version}, path, settle_secs)


def rollback(base_dir: Path, *, settle_secs: float = SETTLE_SECS) -> ServingPolicy:
    """Gives `stable` to the next older version than the one that has it, and takes away `canary`.

    Raises:
        VersionError: If there is no older version.
    """
    with locked(base_dir):
        before = read_policy(base_dir)
        stable = before.labels.get(STABLE, max(served_versions(base_dir), default=0))
        older = _older(base_dir, stable)
        if not older:
            raise VersionError(f"{base_dir} has no version older than {stable or 'none'} to roll back to.")
        return _move_labels(base_dir, {STABLE: older[-1]}, before.base_path or str(base_dir.resolve()), settle_secs)


def _move_labels(base_dir: Path, labels: dict[str, int], base_path: str, settle_secs: float) -> ServingPolicy:
    # TF Serving refuses a config that moves a label to a version that it has not loaded yet
    # (ServerCore::UpdateModelVersionLabelMap), so that such a version is first served, then labelled. The version that
    # a rollback would go to stays loaded, so that a rollback needs no such wait.
    before = read_policy(base_dir)
    served = {*labels.values(), *_older(base_dir, labels[STABLE])[-1:]}
    if before.versions is not None and not set(labels.values()) <= set(before.versions):
        _write_policy(
            base_dir,
            ServingPolicy(tuple(sorted(served | {*before.versions})), labels=before.labels, base_path=base_path),
        )
        time.sleep(settle_secs)
    policy = ServingPolicy(tuple(sorted(served)), labels=labels, base_path=base_path)
    _write_policy(base_dir, policy)
    return policy


def _older(base_dir: Path, version: int) -> list[int]:
    return [older for older in list_versions(base_dir) if older < version]


def prune(base_dir: Path, keep: int) -> list[int]:
    """Removes all but the newest `keep` versions, and never one that is served or labelled.

    Returns:
        The versions that were removed.
    """
    with locked(base_dir):
        return remove_old_versions(base_dir, keep)


def remove_old_versions(base_dir: Path, keep: int) -> list[int]:
    """Does what `prune` does; the caller holds the lock."""
    versions = list_versions(base_dir)
    protected = {*served_versions(base_dir), *read_policy(base_dir).labels.values(), *versions[-keep:]}
    removed = [version for version in versions if version not in protected]
    for version in removed:
        # A server must never list half a version, so that it is renamed away before it is emptied.
        doomed = base_dir / f"{STAGING_PREFIX}pruned-{version}-{uuid.uuid4().hex[:8]}"
        os.rename(base_dir / str(version), doomed)
        remove(doomed)
    return removed


def next_version(base_dir: Path, *, now: int) -> int:
    """Returns max(existing, now) + 1.

    Raises:
        VersionError: If a server would not know so large a number.
    """
    version = max([*numbered_folders(base_dir), now]) + 1
    if version > _LARGEST_VERSION:
        raise VersionError(f"it holds version {_LARGEST_VERSION}, after which TF Serving knows no other. Remove it.")
    return version


def remove(path: Path) -> None:
    """Removes a folder, a file or a link, but nothing that a link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextlib.contextmanager
def locked(base_dir: Path) -> Iterator[None]:
    """Keeps every other push, promotion and pruning of this destination out; a killed process lets go of it.

    Raises:
        VersionError: If another process holds it for a minute, or the destination is not there.
    """
    try:
        descriptor = os.open(base_dir, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as err:
        raise VersionError(f"{base_dir} is not there; nothing was pushed yet.") from err
    deadline = time.monotonic() + _LOCK_TIMEOUT_SECS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as err:
                if time.monotonic() > deadline:
                    message = f"{base_dir} is locked by another push for over {_LOCK_TIMEOUT_SECS:g} s."
                    raise VersionError(message) from err
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _write_policy(base_dir: Path, policy: ServingPolicy) -> None:
    config = _read_config(base_dir)  # what else a user wrote into it stays
    model = config.model_config_list.config[0]
    model.base_path = policy.base_path
    if policy.versions is not None:
        model.model_version_policy.specific.versions[:] = policy.versions
    model.version_labels.clear()
    for label, version in sorted(policy.labels.items()):
        model.version_labels[label] = version
    with replaced_file(base_dir / MODELS_CONFIG_FILE) as staged:
        staged.write_text(text_format.MessageToString(config), encoding="utf-8")


def _read_config(base_dir: Path) -> model_server_config_pb2.ModelServerConfig:
    """Returns `models.config`, or what it would be without a word about versions."""
    file = base_dir / MODELS_CONFIG_FILE
    try:
        return _parse_config(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        config = model_server_config_pb2.ModelServerConfig()
        config.model_config_list.config.add(name=base_dir.resolve().name, model_platform="tensorflow")
        return config
    except (OSError, UnicodeDecodeError) as err:
        raise VersionError(f"{file} cannot be read: {err}") from err


def _parse_config(text: str, file: str) -> model_server_config_pb2.ModelServerConfig:
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as err:
        raise VersionError(f"{file} cannot be read: {err}") from err
    if len(config.model_config_list.config) != 1:
        raise VersionError(f"{file} is not the config of one model.")
    return config


def _policy_of(model: model_server_config_pb2.ModelConfig) -> ServingPolicy:
    policy = model.model_version_policy
    versions = tuple(policy.specific.versions) if policy.HasField("specific") else None
    num_newest = _LARGEST_VERSION if policy.HasField("all") else policy.latest.num_versions or 1
    return ServingPolicy(versions, num_newest, dict(model.version_labels), model.base_path)


@contextlib.contextmanager
def replaced_file(file: Path) -> Iterator[Path]:
    """Yields a file to write; then that takes the place of `file` at once, and survives a power cut."""
    staged = file.with_name(f"{STAGING_PREFIX}{file.name}-{uuid.uuid4().hex[:8]}")
    try:
        yield staged
        with staged.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(staged, file)
    finally:
        staged.unlink(missing_ok=True)
