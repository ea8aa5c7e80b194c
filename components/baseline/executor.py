"""Copies the version that is served into a Model artifact, for the Evaluator. Runs in Baseline's process."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from components.baseline import BASELINE_FILE, Baseline
from components.baseline.served import difference, find_baseline, still_holds, version_dir
from components.model_manifest import (
    COMPANIONS,
    DIGEST_PROPERTY,
    Manifest,
    check_model,
    list_files,
    local_copy,
    write_manifest,
)


class Executor(base_executor.BaseExecutor):
    """Finds and copies; a version that is not what its manifest says is no baseline and stops the run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the output `model`: a Model, or a folder without one and the reason why.

        Raises:
            ManifestError: If the version that is served is damaged, or says nothing of itself.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        candidate = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        model = artifact_utils.get_single_instance(output_dict[standard_component_specs.BASELINE_MODEL_KEY])
        base_dir = exec_properties["serving_model_dir"]
        settings = json.loads(exec_properties["custom_config"])
        if settings["compare"]:
            baseline = find_baseline(base_dir, candidate.get_string_custom_property(DIGEST_PROPERTY))
            if baseline.version is not None:
                baseline = _copy(base_dir, baseline, model.uri, settings["roles"])
        else:
            baseline = Baseline(reason="evaluator.baseline is none")
        with fileio.open(os.path.join(model.uri, BASELINE_FILE), "w") as file:
            json.dump(dataclasses.asdict(baseline), file, indent=1)
        model.set_string_custom_property(DIGEST_PROPERTY, baseline.digest)


def _copy(base_dir: str, baseline: Baseline, target_dir: str, roles: dict[str, Any]) -> Baseline:
    """Copies a version into a Model's folder and returns it, or why it cannot be a baseline."""
    if not still_holds(base_dir, baseline):
        return Baseline(reason=f"version {baseline.version}, which the candidate replaced, is gone")
    if reason := copy_version(base_dir, baseline, target_dir, lambda manifest: difference(manifest, roles)):
        return Baseline(reason=f"version {baseline.version} cannot be compared: {reason}")
    return baseline


def copy_version(base_dir: str, baseline: Baseline, target_dir: str, find_reason: Callable[[Manifest], str]) -> str:
    """Copies a version into a Model's folder, unless there is a reason not to.

    Args:
        base_dir: The push destination, local or remote.
        baseline: The version, which is there.
        target_dir: Folder of the Model.
        find_reason: Says of a manifest why its model is not to be copied; empty if it is.

    Returns:
        The reason.

    Raises:
        ManifestError: If the version is not what its manifest says.
    """
    with local_copy(version_dir(base_dir, baseline.version)) as source:
        manifest = check_model(source, baseline.digest)
        if reason := find_reason(manifest):
            return reason
        model_dir = path_utils.serving_model_dir(target_dir)
        for name in list_files(source):
            target = os.path.join(model_dir, name)
            fileio.makedirs(os.path.dirname(target))
            with open(os.path.join(source, name), "rb") as reader, fileio.open(target, "wb") as writer:
                shutil.copyfileobj(reader, writer)
        write_manifest(model_dir, {key: value for key, value in manifest.items() if key != COMPANIONS})
    return ""
