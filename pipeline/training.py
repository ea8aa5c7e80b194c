"""The part of the DAG that trains. Runs at compile time and knows no orchestrator."""

from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types import BaseChannel

from components.trainer import executor as trainer_executor
from components.trainer.component import create_trainer
from components.trainer.executor import RUN_PARAMETERS
from components.tuner.component import create_tuner
from components.warm_start.component import create_warm_start
from pipeline.config import PipelineConfig


def create_training(
    config: PipelineConfig,
    parameters: Mapping[str, Any],
    transform: BaseComponent,
    *,
    examples: BaseChannel,
    schema: BaseChannel,
) -> list[BaseComponent]:
    """Creates the Trainer, last, and before it what gives it hyperparameters and weights, if anything does.

    Args:
        config: The config.
        parameters: As of `create_components`.
        transform: The node.
        examples: Raw Examples.
        schema: The curated Schema.
    """
    rows = transform.outputs["transformed_examples"] if config.materialize else examples
    tuner = _create_tuner(config, transform, rows, schema) if config.tuner.algorithm else None
    tuned = tuner.outputs["best_hyperparameters"] if tuner else None
    run_parameters = {name: parameters[name] for name in RUN_PARAMETERS}
    warm_start = None
    if config.trainer.warm_start:
        warm_start = create_warm_start(
            examples,
            schema,
            tuned=tuned,
            serving_model_dir=parameters["serving_model_dir"],
            roles=config.feature_roles(),
            settings=_settings(config) | run_parameters,
            module_files=(config.transform.module_file, config.trainer.module_file, trainer_executor.__file__),
        )
        warm_start.add_upstream_node(transform)  # and so DataGate
    trainer = create_trainer(
        rows,
        transform.outputs["transform_graph"],
        raw_examples=examples,
        schema=schema,
        module_file=config.trainer.module_file,
        roles=config.feature_roles(),
        hyperparameters=config.hyperparameters | run_parameters,
        custom=config.trainer.custom,
        materialized=config.materialize,
        tuned=tuned or config.tuner.reused or None,
        base_model=warm_start.outputs["base_model"] if warm_start else None,
    )
    return [node for node in (tuner, warm_start, trainer) if node]


def _create_tuner(
    config: PipelineConfig, transform: BaseComponent, rows: BaseChannel, schema: BaseChannel
) -> BaseComponent:
    return create_tuner(
        rows,
        transform.outputs["transform_graph"],
        schema,
        module_file=config.tuner.module_file,
        roles=config.feature_roles(),
        hyperparameters=config.hyperparameters,
        search=config.tuner.search(config.trainer),
        materialized=config.materialize,
    )


def _settings(config: PipelineConfig) -> dict[str, Any]:
    """Returns what of the config decides how a training ends, beside its inputs and module files."""
    return {
        "splits": config.example_gen.model_dump(mode="json", include={"split_buckets", "split"}),
        "transform": config.transform.model_dump(mode="json", exclude={"executor", "materialize", "module_file"}),
        "custom": config.trainer.custom,
        **config.hyperparameters,
    }
