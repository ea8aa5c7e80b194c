"""Tuner in the DAG. Runs at compile time."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.components import Tuner
from tfx.proto import trainer_pb2

from components.source_digest import source_digest
from schema import FeatureRoles


def create_tuner(
    examples: types.BaseChannel,
    transform_graph: types.BaseChannel,
    schema: types.BaseChannel,
    *,
    module_file: str,
    roles: FeatureRoles,
    hyperparameters: Mapping[str, Any],
    search: Mapping[str, Any],
    materialized: bool,
) -> Tuner:
    """Creates TFX's Tuner, which tries hyperparameters on the splits `train` and `eval`.

    Args:
        examples: Examples, transformed or not.
        transform_graph: The TransformGraph that made them, or is to.
        schema: The curated Schema.
        module_file: Python file with `tuner_fn(fn_args)`.
        roles: Reaches `tuner_fn` as `fn_args.custom_config["roles"]`.
        hyperparameters: Likewise; the Trainer's own, JSON values only: the first trial.
        search: Likewise; of `components/tuner/module.py`, JSON values only.
        materialized: Whether `examples` are transformed; likewise.

    Returns:
        A node with the outputs `best_hyperparameters` (HyperParameters) and `tuner_results` (TunerResults).
    """
    return Tuner(
        examples=examples,
        transform_graph=transform_graph,
        schema=schema,
        module_file=module_file,
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config={
            "roles": dataclasses.asdict(roles),
            "hyperparameters": dict(hyperparameters),
            "search": dict(search),
            "materialized": materialized,
            "source_digest": source_digest(module_file),
        },
    )
