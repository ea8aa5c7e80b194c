"""The versions in a push destination, and which of them TF Serving serves. Runs in Pusher's process and in `versions`.

`models.config` in the destination is what TF Serving reads with `--model_config_file` (TF Serving, Configuration page).
Without it a server serves the newest version.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

MODELS_CONFIG_FILE = "models.config"
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
        labels: Version by label.
        base_path: Where the server finds the destination.
    """

    versions: tuple[int, ...] | None = None
    labels: dict[str, int] = field(default_factory=dict)
    base_path: str = ""


def list_versions(base_dir: Path) -> list[int]:
    """Returns the numbered folders that hold a model, ascending."""
    if not base_dir.is_dir():
        return []
    return sorted(
        int(path.name) for path in base_dir.iterdir() if path.name.isdecimal() and (path / "saved_model.pb").is_file()
    )


def served_versions(base_dir: Path) -> list[int]:
    """Returns the versions that a server of `base_dir` serves, ascending."""
    policy, versions = read_policy(base_dir), list_versions(base_dir)
    if policy.versions is None:
        return versions[-1:]
    return sorted(set(policy.versions) & set(versions))


def read_policy(base_dir: Path) -> ServingPolicy:
    """Reads `models.config`.

    Raises:
        VersionError: If there is one that is not of one model.
    """
    file = base_dir / MODELS_CONFIG_FILE
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(file.read_text(encoding="utf-8"), config)
        (model,) = config.model_config_list.config
    except FileNotFoundError:
        return ServingPolicy()
    except (OSError, UnicodeDecodeError, text_format.ParseError) as err:
        raise VersionError(f"{file} cannot be read: {err}") from err
    except ValueError as err:
        raise VersionError(f"{file} is not the config of one model.") from err
    policy = model.model_version_policy
    versions = tuple(policy.specific.versions) if policy.HasField("specific") else None
    return ServingPolicy(versions, dict(model.version_labels), model.base_path)


def assign_label(base_dir: Path, version: int, label: str, *, base_path: str | None = None) -> ServingPolicy:
    """Gives a version a label and serves it, by one atomic change of `models.config`.

    Args:
        base_dir: The push destination; its folder's name is the model's.
        version: An existing version.
        label: `stable` or `canary`.
        base_path: Where the server finds the destination; as before, or `base_dir`, unless given.

    Returns:
        What is served from now on: the labelled versions.

    Raises:
        VersionError: If there is no such version.
    """
    versions = list_versions(base_dir)
    if version not in versions:
        have = ", ".join(map(str, versions)) or "none"
        raise VersionError(f"{base_dir} has no version {version}. Versions: {have}.")
    before = read_policy(base_dir)
    labels = {name: value for name, value in before.labels.items() if value in versions}
    labels.setdefault(STABLE, max(served_versions(base_dir), default=version))
    labels[label] = version
    path = base_path or before.base_path or str(base_dir.resolve())
    policy = ServingPolicy(tuple(sorted(set(labels.values()))), labels, path)
    _write_policy(base_dir, policy)
    return policy


def rollback(base_dir: Path) -> ServingPolicy:
    """Gives `stable` to the next older version than the one that has it, and takes `canary` from newer ones.

    Raises:
        VersionError: If there is no older version.
    """
    before = read_policy(base_dir)
    stable = before.labels.get(STABLE, max(served_versions(base_dir), default=0))
    older = [version for version in list_versions(base_dir) if version < stable]
    if not older:
        raise VersionError(
            f"{base_dir} has no version older than {stable or 'none'}; there is nothing to roll back to."
        )
    labels = {STABLE: older[-1]}
    policy = ServingPolicy((older[-1],), labels, before.base_path or str(base_dir.resolve()))
    _write_policy(base_dir, policy)
    return policy


def prune(base_dir: Path, keep: int) -> list[int]:
    """Removes all but the newest `keep` versions, and never one that is served or labelled.

    Returns:
        The versions that were removed.
    """
    versions = list_versions(base_dir)
    protected = {*served_versions(base_dir), *read_policy(base_dir).labels.values(), *versions[-keep:]}
    removed = [version for version in versions if version not in protected]
    for version in removed:
        # A server must never list half a version, so that it is renamed away before it is emptied.
        doomed = base_dir / f"{STAGING_PREFIX}pruned-{version}-{uuid.uuid4().hex[:8]}"
        os.rename(base_dir / str(version), doomed)
        shutil.rmtree(doomed)
    return removed


def _write_policy(base_dir: Path, policy: ServingPolicy) -> None:
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(
        name=base_dir.resolve().name, base_path=policy.base_path, model_platform="tensorflow"
    )
    model.model_version_policy.specific.versions.extend(policy.versions or ())
    for label, version in sorted(policy.labels.items()):
        model.version_labels[label] = version
    with replaced_file(base_dir / MODELS_CONFIG_FILE) as staged:
        staged.write_text(text_format.MessageToString(config), encoding="utf-8")


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
