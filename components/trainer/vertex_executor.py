"""Trains in a custom job of Vertex AI, through TFX's own extension. Runs in the Trainer's process."""

from typing import Any

from tfx import types
from tfx.extensions.google_cloud_ai_platform.trainer import executor as vertex
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from components.model_manifest import DIGEST_PROPERTY, read_manifest
from components.trainer import executor


class Executor(vertex.GenericExecutor):
    """Starts the job, which runs the Trainer's own executor, and waits for it."""

    def _GetExecutorClass(self) -> type[executor.Executor]:
        return executor.Executor

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains; the output `model` gets the digest of the manifest, since metadata does not come back from a job.

        Raises:
            RuntimeError: If the job does not succeed.
        """
        super().Do(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(output_dict[standard_component_specs.MODEL_KEY])
        manifest = read_manifest(path_utils.serving_model_path(model.uri))
        model.set_string_custom_property(DIGEST_PROPERTY, manifest["digest"])
