"""The Trainer's executor: TFX's own, around which the model is sealed. Runs in the Trainer's process."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.components.trainer.executor import GenericExecutor
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, path_utils

from components.model_manifest import DIGEST_PROPERTY, file_sha256, make_manifest, write_manifest
from components.trainer import RAW_EVAL_FILES
from components.tuner import best_values
from components.warm_start import WARM_START, load_base

RAW_EXAMPLES_KEY = "raw_examples"
RUN_PARAMETERS = ("num_epochs", "learning_rate")  # execution properties of their own: they may change from run to run


class Executor(GenericExecutor):
    """Gives `run_fn` the raw eval rows too, and writes the manifest of the model that it exported."""

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> FnArgs:
        fn_args = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        raw_dir = artifact_utils.get_split_uri(input_dict[RAW_EXAMPLES_KEY], "eval")
        fn_args.custom_config["hyperparameters"] |= run_parameters(exec_properties)
        if fn_args.hyperparameters:
            fn_args.custom_config["tuned"] = tuned = best_values(fn_args.hyperparameters)
            fn_args.custom_config["hyperparameters"] |= tuned
        fn_args.custom_config[RAW_EVAL_FILES] = [io_utils.all_files_pattern(raw_dir)]
        self._facts = {
            "roles": fn_args.custom_config["roles"],
            "code_digest": fn_args.custom_config["source_digest"],
            "schema_digest": file_sha256(fn_args.schema_path),
        }
        if base_models := input_dict.get(standard_component_specs.BASE_MODEL_KEY):
            base = load_base(artifact_utils.get_single_uri(base_models))
            self._facts[WARM_START] = {"training": base.training, "base": dataclasses.asdict(base.served)}
        return fn_args

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains, then seals: the manifest's digest goes into the metadata of the output `model`."""
        super().Do(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(output_dict[standard_component_specs.MODEL_KEY])
        model_dir = path_utils.serving_model_path(model.uri)
        manifest = make_manifest(model_dir, **self._facts)
        write_manifest(model_dir, manifest)
        model.set_string_custom_property(DIGEST_PROPERTY, manifest["digest"])


def run_parameters(exec_properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the hyperparameters that a run may be given, which no config has checked then.

    Raises:
        ValueError: If one is not above 0.
    """
    parameters = {name: exec_properties[name] for name in RUN_PARAMETERS}
    for name, value in parameters.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0. Received: {value}.")
    return parameters
