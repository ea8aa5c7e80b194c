"""Trainer in the DAG. Runs at compile time."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.components import Trainer
from tfx.proto import trainer_pb2

from components.source_digest import source_digest
from schema import FeatureRoles


def create_trainer(
    examples: types.BaseChannel,
    transform_graph: types.BaseChannel,
    schema: types.BaseChannel,
    *,
    module_file: str,
    roles: FeatureRoles,
    hyperparameters: Mapping[str, Any],
    custom: Mapping[str, Any],
) -> Trainer:
    """Creates the node that fits the model on the split `train` and validates it on the split `eval`.

    Args:
        examples: Transformed Examples.
        transform_graph: The TransformGraph that made them.
        schema: The curated Schema.
        module_file: Python file with `run_fn(fn_args)`.
        roles: Reaches `run_fn` as `fn_args.custom_config["roles"]`.
        hyperparameters: Reaches `run_fn` as `fn_args.custom_config["hyperparameters"]`; JSON values only.
        custom: Likewise, as `fn_args.custom_config["custom"]`; for module files of the user's own.

    Returns:
        A node with the outputs `model` (Model) and `model_run` (ModelRun).
    """
    return Trainer(
        module_file=module_file,
        examples=examples,
        transform_graph=transform_graph,
        schema=schema,
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config={
            "roles": dataclasses.asdict(roles),
            "hyperparameters": dict(hyperparameters),
            "custom": dict(custom),
            "source_digest": source_digest(module_file),
        },
    )
