"""Copies the version that training starts from into a Model artifact. Runs in WarmStart's process."""

import dataclasses
import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils, standard_component_specs

from components.baseline.executor import copy_version
from components.baseline.served import still_holds
from components.warm_start import Base, write_base
from components.warm_start.served import find_base, mismatch, training_digest


class Executor(base_executor.BaseExecutor):
    """Finds and copies; a version that is not what its manifest says stops the run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the output `base_model`: a Model, or a folder without one and the reason why.

        Raises:
            ManifestError: If the version that is served is damaged.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        target_dir = artifact_utils.get_single_uri(output_dict[standard_component_specs.BASE_MODEL_KEY])
        base_dir = exec_properties["serving_model_dir"]
        training = training_digest(input_dict, exec_properties)
        served = find_base(base_dir, training)
        base = Base(training, **dataclasses.asdict(served))
        if served.version is not None:
            roles = json.loads(exec_properties["custom_config"])["roles"]
            reason = "it is gone"
            if still_holds(base_dir, served):
                reason = copy_version(base_dir, served, target_dir, lambda manifest: mismatch(manifest, roles))
            if reason:
                base = dataclasses.replace(base, reason=f"version {served.version} does not fit: {reason}")
        write_base(base, target_dir)
