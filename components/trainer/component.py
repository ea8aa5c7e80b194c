"""Trainer in the DAG. Runs at compile time."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.source_digest import source_digest
from components.trainer import executor
from components.trainer.executor import RUN_PARAMETERS
from schema import FeatureRoles


class _TrainerSpec(standard_component_specs.TrainerSpec):
    PARAMETERS = {
        **standard_component_specs.TrainerSpec.PARAMETERS,
        "num_epochs": component_spec.ExecutionParameter(type=int),
        "learning_rate": component_spec.ExecutionParameter(type=float),
    }
    INPUTS = {
        **standard_component_specs.TrainerSpec.INPUTS,
        executor.RAW_EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }


class Trainer(base_component.BaseComponent):
    """TFX's Trainer that is also given the raw examples and seals the model with a manifest."""

    SPEC_CLASS = _TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)


def create_trainer(
    examples: types.BaseChannel,
    transform_graph: types.BaseChannel,
    *,
    raw_examples: types.BaseChannel,
    schema: types.BaseChannel,
    module_file: str,
    roles: FeatureRoles,
    hyperparameters: Mapping[str, Any],
    custom: Mapping[str, Any],
    materialized: bool,
    tuned: types.BaseChannel | Mapping[str, Any] | None = None,
    base_model: types.BaseChannel | None = None,
) -> Trainer:
    """Creates the node that fits the model on the split `train` and validates it on the split `eval`.

    Args:
        examples: Examples, transformed or not.
        transform_graph: The TransformGraph that made them, or is to.
        raw_examples: The Examples before Transform; real requests are made of rows of their split `eval`.
        schema: The curated Schema.
        module_file: Python file with `run_fn(fn_args)`.
        roles: Reaches `run_fn` as `fn_args.custom_config["roles"]`.
        hyperparameters: Reaches `run_fn` as `fn_args.custom_config["hyperparameters"]`; JSON values only, but
            `num_epochs` and `learning_rate`, which must be there, may be RuntimeParameters.
        materialized: Whether `examples` are transformed; reaches `run_fn` as `fn_args.custom_config["materialized"]`.
        custom: Likewise, as `fn_args.custom_config["custom"]`; for module files of the user's own.
        tuned: The Tuner's HyperParameters, which take the place of those of the same names; or those of
            `hyperparameters` that an earlier tuning found. Reach `run_fn` as `fn_args.custom_config["tuned"]`.
        base_model: Model of WarmStart, for training to start from; reaches `run_fn` as `fn_args.base_model`.

    Returns:
        A node with the outputs `model` (Model) and `model_run` (ModelRun).
    """
    custom_config = {
        "roles": dataclasses.asdict(roles),
        "hyperparameters": {name: each for name, each in hyperparameters.items() if name not in RUN_PARAMETERS},
        "custom": dict(custom),
        "materialized": materialized,
        "source_digest": source_digest(executor.__file__, module_file),
    }
    if isinstance(tuned, Mapping):
        custom_config["tuned"] = dict(tuned)
    return Trainer(
        _TrainerSpec(
            module_file=module_file,
            examples=examples,
            raw_examples=raw_examples,
            transform_graph=transform_graph,
            schema=schema,
            train_args=trainer_pb2.TrainArgs(splits=["train"]),
            eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
            custom_config=json.dumps(custom_config),
            **{name: hyperparameters[name] for name in RUN_PARAMETERS},
            hyperparameters=tuned if isinstance(tuned, types.BaseChannel) else None,
            base_model=base_model,
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
        )
    )
