"""WarmStart in the DAG. Runs at compile time."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts

from components.source_digest import source_digest
from components.warm_start import executor
from components.warm_start.driver import BaseModelDriver
from components.warm_start.served import RUN_PARAMETERS
from schema import FeatureRoles


class _WarmStartSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "serving_model_dir": component_spec.ExecutionParameter(type=str),
        "custom_config": component_spec.ExecutionParameter(type=str),
        "num_epochs": component_spec.ExecutionParameter(type=int),
        "learning_rate": component_spec.ExecutionParameter(type=float),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "hyperparameters": component_spec.ChannelParameter(type=standard_artifacts.HyperParameters, optional=True),
    }
    OUTPUTS = {"base_model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class WarmStart(base_component.BaseComponent):
    """What training starts from; locally it executes again only when that, or the training, is another."""

    SPEC_CLASS = _WarmStartSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = BaseModelDriver


def create_warm_start(
    examples: types.BaseChannel,
    schema: types.BaseChannel,
    *,
    tuned: types.BaseChannel | None,
    serving_model_dir: str | RuntimeParameter,
    roles: FeatureRoles,
    settings: Mapping[str, Any],
    module_files: Sequence[str],
) -> WarmStart:
    """Creates the node that hands the version that is served to the Trainer.

    It is another than Baseline, which comes after the Trainer: a candidate must not be its own baseline.

    Args:
        examples: Raw Examples.
        schema: The curated Schema.
        tuned: HyperParameters of the Tuner, if there is one.
        serving_model_dir: The push destination.
        roles: Of the features; the weights of a version with others mean nothing.
        settings: All that decides how a training ends and that no input tells, as JSON values; `num_epochs` and
            `learning_rate`, which must be there, may be RuntimeParameters.
        module_files: Of Transform and Trainer.

    Returns:
        A node with the output `base_model` (Model), in whose folder there is no model if there is none to start from.
    """
    custom_config = {
        "roles": dataclasses.asdict(roles),
        "settings": {name: value for name, value in settings.items() if name not in RUN_PARAMETERS},
        "source_digest": source_digest(executor.__file__, *module_files),
    }
    return WarmStart(
        _WarmStartSpec(
            examples=examples,
            schema=schema,
            hyperparameters=tuned,
            serving_model_dir=serving_model_dir,
            custom_config=json.dumps(custom_config, sort_keys=True),
            **{name: settings[name] for name in RUN_PARAMETERS},
            base_model=types.Channel(type=standard_artifacts.Model),
        )
    )
