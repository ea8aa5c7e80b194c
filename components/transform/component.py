"""Transform in the DAG. Runs at compile time."""

import dataclasses
import json

from tfx import types
from tfx.components.transform import component as stock
from tfx.dsl.components.base import executor_spec

from components.schema_gen import pack
from components.source_digest import source_digest
from components.transform import executor
from components.transform.vocabularies import domains_of
from schema import FeatureRoles, load_schema


class Transform(stock.Transform):
    """TFX's Transform, fed with many rows at a time."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)


def create_transform(
    examples: types.BaseChannel,
    schema: types.BaseChannel,
    schema_file: str,
    *,
    module_file: str,
    roles: FeatureRoles,
    clip: bool,
    missing_indicator: bool,
    min_frequency: int,
    materialize: bool,
    executor_name: str = "columnar",
) -> stock.Transform:
    """Creates the node that turns raw features into what the model takes.

    Args:
        examples: Raw Examples; the analysis runs over the split `train` alone, the transformation over every split.
        schema: The curated Schema.
        schema_file: Its file, for the categories that it lists: `custom_config["domains"]`, packed.
        module_file: Python file with `preprocessing_fn(inputs, custom_config)`.
        roles: Reaches `preprocessing_fn` as `custom_config["roles"]`, as do the following by their names.
        clip: Whether numbers beyond the training split's range are set to its ends.
        missing_indicator: Whether the model is told which numbers were missing.
        min_frequency: Rows of a category in the training split below which it is not in the vocabulary, where the
            schema lists no categories.
        materialize: Whether every split is written transformed.
        executor_name: `columnar`, or `stock`, which reads record by record.

    Returns:
        A node with the output `transform_graph` (TransformGraph) and, if asked to, `transformed_examples` (Examples).
    """
    component = stock.Transform if executor_name == "stock" else Transform
    return component(
        examples=examples,
        schema=schema,
        module_file=module_file,
        # Statistics of the transformed data would cost two more passes, and nothing reads them.
        disable_statistics=True,
        # A cache of the analysis is of use to later spans alone.
        materialize=materialize,
        custom_config={
            "roles": dataclasses.asdict(roles),
            "domains": pack(json.dumps(domains_of(load_schema(schema_file), roles))),
            "clip": clip,
            "missing_indicator": missing_indicator,
            "min_frequency": min_frequency,
            "source_digest": source_digest(module_file),
        },
    )
