"""Finds what a training starts from. Runs in the launcher and in WarmStart's process."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.baseline import Baseline
from components.baseline.served import difference, find_baseline, version_dir
from components.example_gen.input_report import load_report
from components.model_manifest import Manifest, file_sha256, read_manifest
from components.warm_start import WARM_START

RUN_PARAMETERS = ("num_epochs", "learning_rate")


def training_digest(input_dict: Mapping[str, list[types.Artifact]], exec_properties: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of what decides how a training ends, but what it starts from: content, and no place or id.

    Args:
        input_dict: WarmStart's inputs.
        exec_properties: WarmStart's.
    """
    hyperparameters = input_dict.get("hyperparameters")
    parts = [
        _rows(artifact_utils.get_single_uri(input_dict["examples"])),
        _only_file(input_dict["schema"]),
        _only_file(hyperparameters) if hyperparameters else "",
        exec_properties["custom_config"],
        *(exec_properties[name] for name in RUN_PARAMETERS),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_base(base_dir: str, training: str) -> Baseline:
    """Returns the version that a training starts from: the one that is served.

    If that came of the same training, it is what that one started from.

    Args:
        base_dir: The push destination, local or remote.
        training: Of `training_digest`.

    Raises:
        ManifestError: If the version's manifest is damaged.
        VersionError: If `models.config` cannot be read.
    """
    served = find_baseline(base_dir, "")
    if served.version is None:
        return served
    before = read_manifest(version_dir(base_dir, served.version)).get(WARM_START) or {}
    return Baseline(**before["base"]) if before.get("training") == training else served


def mismatch(manifest: Manifest, roles: Mapping[str, Any]) -> str:
    """Says why the weights of a version mean nothing for rows with these roles, `FeatureRoles` as JSON; or nothing."""
    if reason := difference(manifest, roles):
        return reason
    theirs: Mapping[str, Any] = manifest["roles"]
    kinds = ("numeric", "categorical")
    known = {name for kind in kinds for name in theirs.get(kind, ())}
    if added := sorted({name for kind in kinds for name in roles[kind]} - known):
        return f"it does not take {', '.join(added)}"
    if any(list(theirs.get(kind, ())) != list(roles[kind]) for kind in kinds):
        return "it takes the features in another order, or others of them as categories"
    return ""


def _rows(examples_dir: str) -> str:
    try:
        digest = load_report(examples_dir).digest
    except OSError:
        digest = ""
    return digest or examples_dir  # the stock ExampleGen writes no digest


def _only_file(artifacts: list[types.Artifact]) -> str:
    return file_sha256(io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(artifacts)))
