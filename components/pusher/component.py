"""Pusher in the DAG. Runs at compile time."""

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.components import Pusher as StockPusher
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import pusher_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.pusher import executor
from components.source_digest import source_digest


class _PusherSpec(standard_component_specs.PusherSpec):
    PARAMETERS = {
        **standard_component_specs.PusherSpec.PARAMETERS,
        executor.SERVING_MODEL_DIR: component_spec.ExecutionParameter(type=str),
        executor.RUN_ID: component_spec.ExecutionParameter(type=str, optional=True),
        executor.FORCE_PUSH: component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        **standard_component_specs.PusherSpec.INPUTS,
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.STATISTICS_KEY: component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }


class Pusher(base_component.BaseComponent):
    """TFX's Pusher with an atomic push; `examples` tell the manifest the data span."""

    SPEC_CLASS = _PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)


def create_pusher(
    model: types.BaseChannel,
    model_blessing: types.BaseChannel,
    *,
    infra_blessing: types.BaseChannel,
    examples: types.BaseChannel,
    statistics: types.BaseChannel,
    serving_model_dir: str | RuntimeParameter,
    keep_versions: int | None,
    report: Mapping[str, Any],
    force_push: str = "",
) -> base_component.BaseComponent:
    """Creates the node that makes a blessed model appear as `serving_model_dir/<version>`.

    Args:
        model: The Model.
        model_blessing: The ModelBlessing that guards it, with the Evaluator's `verdict.json`.
        infra_blessing: The InfraBlessing that guards it.
        examples: The Examples whose span the manifest tells.
        statistics: The ExampleStatistics whose train split is pushed too, for later runs to compare with.
        serving_model_dir: Folder of numbered versions, as TF Serving reads it; local or a URI such as `gs://`.
        keep_versions: How many of the newest versions stay; None keeps all.
        report: Settings of the model card (`components/run_report/card_facts.py`).
        force_push: Why a model is pushed that the Evaluator refuses; empty pushes none.

    Returns:
        A node with the output `pushed_model` (PushedModel).
    """
    custom_config = {
        "keep_versions": keep_versions,
        "report": dict(report),
        "source_digest": source_digest(executor.__file__),
    }
    return Pusher(
        _PusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            examples=examples,
            statistics=statistics,
            serving_model_dir=serving_model_dir,
            custom_config=json.dumps(custom_config),
            **({executor.FORCE_PUSH: force_push} if force_push else {}),
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
        )
    )


def create_stock_pusher(
    model: types.BaseChannel,
    model_blessing: types.BaseChannel,
    *,
    infra_blessing: types.BaseChannel,
    serving_model_dir: str,
) -> StockPusher:
    """Creates TFX's own Pusher; arguments and output as of `create_pusher`."""
    return StockPusher(
        model=model,
        model_blessing=model_blessing,
        infra_blessing=infra_blessing,
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving_model_dir)
        ),
    )
