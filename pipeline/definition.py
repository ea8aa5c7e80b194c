"""The DAG, read top to bottom. Runs at compile time and knows no orchestrator."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline
from tfx.types import BaseChannel

from components.baseline.component import create_baseline
from components.bulk_inferrer.component import create_bulk_inferrer
from components.data_gate.component import create_data_gate
from components.evaluator.component import create_evaluator
from components.example_gen import NEWEST_SPAN
from components.example_gen.component import create_example_gen
from components.example_validator import create_example_validator
from components.infra_validator.component import create_infra_validator, create_stock_infra_validator
from components.pusher.component import create_pusher, create_stock_pusher
from components.run_report import ARTIFACTS
from components.run_report.component import create_run_report
from components.schema_gen.component import create_schema_gen
from components.statistics_gen.component import create_statistics_gen
from components.transform.component import create_transform
from pipeline.beam import beam_args
from pipeline.config import PipelineConfig
from pipeline.run_facts import report_settings
from pipeline.training import create_training


def create_pipeline(
    config: PipelineConfig,
    components: Sequence[BaseComponent],
    *,
    pipeline_root: str,
    image: str | None = None,
) -> Pipeline:
    """Creates the pipeline that a config describes.

    Args:
        config: The config.
        components: Its nodes, of `create_components`.
        pipeline_root: Where the artifacts go.
        image: Of Beam workers that are containers.
    """
    for component in components:
        if isinstance(component, BaseBeamComponent):
            component.with_beam_pipeline_args(beam_args(config.beam, component.id, image=image))
    return Pipeline(
        pipeline_name=config.pipeline_name,
        pipeline_root=pipeline_root,
        components=list(components),
        enable_cache=config.enable_cache,
    )


def create_components(config: PipelineConfig, parameters: Mapping[str, Any]) -> list[BaseComponent]:
    """Creates the nodes of the pipeline that a config describes.

    Args:
        config: The config.
        parameters: Of `config.run_parameters()`, each as its value or as a RuntimeParameter; `force_push` may be among
            them, the reason to push a model that is refused.
    """
    example_gen = _create_example_gen(config, parameters)
    examples = example_gen.outputs["examples"]
    schema_file = config.schema_gen.schema_file
    schema_gen = create_schema_gen(schema_file)
    schema = schema_gen.outputs["schema"]
    statistics_gen = create_statistics_gen(
        examples, schema, executor_name=config.executor_of("StatisticsGen", config.statistics_gen.executor)
    )
    statistics = statistics_gen.outputs["statistics"]
    example_validator = create_example_validator(statistics, schema)
    data_gate = _create_data_gate(config, parameters, example_validator, statistics, schema)

    transform = _create_transform(config, examples, schema)
    transform.add_upstream_node(data_gate)
    training = create_training(config, parameters, transform, examples=examples, schema=schema)
    trainer = training[-1]
    infra_validator = _create_infra_validator(config, trainer, examples=example_gen)
    baseline, evaluator = _create_gate(config, parameters, trainer, examples=example_gen)
    evaluator.add_upstream_node(infra_validator)  # which says why a model cannot be loaded
    pusher = _create_pusher(
        config, parameters, trainer, evaluator, infra_validator, examples=example_gen, statistics=statistics
    )

    consumers = _create_consumers(config, parameters, trainer, evaluator, pusher)
    checks = [example_gen, schema_gen, statistics_gen, example_validator, data_gate]
    producers = [*checks, transform, *training, baseline, infra_validator, evaluator]
    return [*producers, pusher, _create_run_report(config, producers), *consumers]


def _create_example_gen(config: PipelineConfig, parameters: Mapping[str, Any]) -> BaseComponent:
    return create_example_gen(
        input_dir=parameters["input_dir"],
        split_buckets=config.example_gen.buckets,
        pattern=config.example_gen.pattern,
        span=parameters.get("span", NEWEST_SPAN),
        settings=config.example_gen_settings(),
    )


def _create_data_gate(
    config: PipelineConfig,
    parameters: Mapping[str, Any],
    example_validator: BaseComponent,
    statistics: BaseChannel,
    schema: BaseChannel,
) -> BaseComponent:
    return create_data_gate(
        example_validator.outputs["anomalies"],
        statistics,
        schema,
        settings=config.data_gate.settings(config.label.key),
        class_names=config.feature_roles().class_names,
        serving_model_dir=parameters["serving_model_dir"],
        serving_requests=parameters.get("serving_requests", ""),
    )


def _create_transform(config: PipelineConfig, examples: BaseChannel, schema: BaseChannel) -> BaseComponent:
    settings = config.transform.model_dump(exclude={"executor", "materialize"})
    return create_transform(
        examples,
        schema,
        config.schema_gen.schema_file,
        roles=config.feature_roles(),
        materialize=config.materialize,
        executor_name=config.executor_of("Transform", config.transform.executor),
        **settings,
    )


def _create_infra_validator(
    config: PipelineConfig, trainer: BaseComponent, *, examples: BaseComponent
) -> BaseComponent:
    settings, model = config.infra_validator, trainer.outputs["model"]
    if settings.executor == "docker":
        return create_stock_infra_validator(model, examples.outputs["examples"], image_tag=settings.image_tag)
    return create_infra_validator(
        model, trainer.outputs["model_run"], tolerance=settings.tolerance, timeout_secs=settings.timeout_secs
    )


def _create_gate(
    config: PipelineConfig, parameters: Mapping[str, Any], trainer: BaseComponent, *, examples: BaseComponent
) -> tuple[BaseComponent, BaseComponent]:
    """Creates Baseline and Evaluator."""
    model, roles = trainer.outputs["model"], config.feature_roles()
    baseline = create_baseline(
        model,
        serving_model_dir=parameters["serving_model_dir"],
        roles=roles,
        compare=config.evaluator.baseline == "served",
    )
    evaluator = create_evaluator(
        examples.outputs["examples"],
        model,
        baseline_model=baseline.outputs["baseline_model"],
        roles=roles,
        rules=config.evaluator.rules(),
        bounds={name: parameters[name] for name in config.evaluator.bounds()},
        split=config.example_gen.splits[-1],
        executor_name=config.executor_of("Evaluator", config.evaluator.executor),
    )
    return baseline, evaluator


def _create_pusher(
    config: PipelineConfig,
    parameters: Mapping[str, Any],
    trainer: BaseComponent,
    evaluator: BaseComponent,
    infra_validator: BaseComponent,
    *,
    examples: BaseComponent,
    statistics: BaseChannel,
) -> BaseComponent:
    model, blessing = trainer.outputs["model"], evaluator.outputs["blessing"]
    infra_blessing, serving_model_dir = infra_validator.outputs["blessing"], parameters["serving_model_dir"]
    if config.pusher.executor == "stock":
        return create_stock_pusher(model, blessing, infra_blessing=infra_blessing, serving_model_dir=serving_model_dir)
    return create_pusher(
        model,
        blessing,
        infra_blessing=infra_blessing,
        examples=examples.outputs["examples"],
        statistics=statistics,
        serving_model_dir=serving_model_dir,
        keep_versions=config.pusher.keep_versions,
        report=report_settings(config),
        force_push=parameters.get("force_push", ""),
    )


def _create_run_report(config: PipelineConfig, producers: Sequence[BaseComponent]) -> BaseComponent:
    outputs = {node.id: node.outputs for node in producers}
    artifacts = {name: channel for node in producers for name, channel in node.outputs.items() if name in ARTIFACTS}
    artifacts["infra_blessing"] = outputs["InfraValidator"]["blessing"]
    artifacts["blessing"] = outputs["Evaluator"]["blessing"]
    return create_run_report(artifacts, settings=report_settings(config))


def _create_consumers(
    config: PipelineConfig,
    parameters: Mapping[str, Any],
    trainer: BaseComponent,
    evaluator: BaseComponent,
    pusher: BaseComponent,
) -> list[BaseComponent]:
    settings = config.bulk_inferrer
    if not settings.input_dir:
        return []
    unlabelled_settings = config.example_gen_settings()
    unlabelled = create_example_gen(
        input_dir=parameters["unlabelled_input_dir"],
        split_buckets={"unlabelled": 1},
        pattern=settings.pattern,
        settings=unlabelled_settings and unlabelled_settings.unlabelled(),
    )
    unlabelled.with_id("UnlabelledExampleGen")
    bulk_inferrer = create_bulk_inferrer(
        unlabelled.outputs["examples"],
        trainer.outputs["model"],
        evaluator.outputs["blessing"],
        id_columns=config.feature_roles().ids if settings.id_columns is None else settings.id_columns,
        file_format=settings.file_format,
    )
    bulk_inferrer.add_upstream_node(pusher)  # a model is pushed whatever the rows are like
    return [unlabelled, bulk_inferrer]
