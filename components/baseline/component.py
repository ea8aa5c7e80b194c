"""Baseline in the DAG. Runs at compile time."""

import dataclasses
import json

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts

from components.baseline import executor
from components.baseline.driver import ServedModelDriver
from components.source_digest import source_digest
from schema import FeatureRoles


class _BaselineSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "serving_model_dir": component_spec.ExecutionParameter(type=str),
        "custom_config": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {"baseline_model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class Baseline(base_component.BaseComponent):
    """The version that is served; locally it executes again only when that is another one."""

    SPEC_CLASS = _BaselineSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = ServedModelDriver


def create_baseline(
    model: types.BaseChannel, *, serving_model_dir: str | RuntimeParameter, roles: FeatureRoles, compare: bool
) -> Baseline:
    """Creates the node that hands the version that is served to the Evaluator.

    Args:
        model: The candidate Model, which is never its own baseline.
        serving_model_dir: The push destination.
        roles: Of the features; a version with others cannot be measured on these rows.
        compare: Whether there is to be a baseline at all.

    Returns:
        A node with the output `baseline_model` (Model), in whose folder there is no model if there is no baseline.
    """
    custom_config = {
        "compare": compare,
        "roles": dataclasses.asdict(roles),
        "source_digest": source_digest(executor.__file__),
    }
    return Baseline(
        _BaselineSpec(
            model=model,
            serving_model_dir=serving_model_dir,
            custom_config=json.dumps(custom_config),
            baseline_model=types.Channel(type=standard_artifacts.Model),
        )
    )
