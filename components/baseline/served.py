"""Finds the version that a candidate is compared with. Runs in the launcher and in Baseline's and Evaluator's process.

TFX's way, a resolver of the last blessed model, needs a metadata store that Kubeflow Pipelines does not let a pipeline
ask, and knows nothing of promotions and rollbacks. The push destination says what is served.
"""

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.baseline import BASELINE_FILE, Baseline
from components.model_manifest import (
    MANIFEST_FILE,
    Manifest,
    ManifestError,
    is_remote,
    is_there,
    open_file,
    read_manifest,
)
from components.pusher.versions import STABLE, read_policy, served_versions


def find_baseline(base_dir: str, candidate_digest: str) -> Baseline:
    """Returns the version of a push destination that is served.

    If that is the candidate itself, it is the version with which the candidate was compared before its push, so that
    a run in which nothing has changed decides as the one before did.

    Args:
        base_dir: The push destination, local or remote.
        candidate_digest: By the candidate's manifest.

    Raises:
        ManifestError: If the version's manifest is damaged.
        VersionError: If `models.config` cannot be read.
    """
    version = current_version(base_dir)
    if version is None:
        return Baseline(reason="nothing was served before")
    folder = version_dir(base_dir, version)
    if not is_there(posixpath.join(folder, MANIFEST_FILE)):
        return Baseline(reason=f"version {version} has no manifest; something else than Sluice pushed it")
    manifest = read_manifest(folder)
    if manifest["digest"] != candidate_digest:
        return Baseline(version, manifest["digest"])
    return Baseline(
        **(manifest.get("baseline") or {"reason": f"version {version}, the candidate itself, tells of none"})
    )


def current_version(base_dir: str) -> int | None:
    """Returns the version that requests are answered by: the one labelled `stable`, else the newest that is served.

    Args:
        base_dir: The push destination, local or remote.

    Raises:
        VersionError: If `models.config` cannot be read.
    """
    if is_remote(base_dir):
        from components.pusher.object_store import remote_state

        policy, served = remote_state(base_dir)
    else:
        policy, served = read_policy(Path(base_dir)), served_versions(Path(base_dir))
    return policy.labels.get(STABLE, max(served, default=None))


def still_holds(base_dir: str, baseline: Baseline) -> bool:
    """Whether the version still holds that model; old ones are pruned."""
    try:
        return read_manifest(version_dir(base_dir, baseline.version))["digest"] == baseline.digest
    except ManifestError:
        return False


def difference(manifest: Manifest, roles: Mapping[str, Any]) -> str:
    """Says why a version cannot be measured on rows with these roles, `FeatureRoles` as JSON; empty if it can."""
    theirs: Mapping[str, Any] = manifest.get("roles") or {}
    if not theirs:
        return "its manifest does not tell its features"
    if missing := sorted(_features(theirs) - _features(roles)):
        return f"it takes {', '.join(missing)}, which the rows no longer have"
    if theirs["label"] != roles["label"]:
        return f"its label is {theirs['label']}"
    if theirs["class_names"] != roles["class_names"]:
        return f"its classes are {', '.join(theirs['class_names'])}"
    return ""


def _features(roles: Mapping[str, Any]) -> set[str]:
    return {*roles["numeric"], *roles.get("categorical", ())}


def version_dir(base_dir: str, version: int | None) -> str:
    """Returns the folder of a version."""
    return posixpath.join(base_dir, str(version)) if is_remote(base_dir) else str(Path(base_dir, str(version)))


def load_baseline(baseline_dir: str) -> Baseline:
    """Reads what Baseline wrote beside its output `model`."""
    with open_file(posixpath.join(baseline_dir, BASELINE_FILE), "rb") as file:
        return Baseline(**json.loads(file.read()))
