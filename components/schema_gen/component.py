"""SchemaGen in the DAG: the curated schema, carried by the pipeline itself. Runs at compile time.

The stock ImportSchemaGen reads a path when it runs, which no container has, and caches by the path alone.
"""

from pathlib import Path

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.schema_gen import executor, pack


class _SchemaGenSpec(component_spec.ComponentSpec):
    PARAMETERS = {"schema_text": component_spec.ExecutionParameter(type=str)}
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {"schema": component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class SchemaGen(base_component.BaseComponent):
    """The curated schema as an artifact."""

    SPEC_CLASS = _SchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)


def create_schema_gen(schema_file: str) -> SchemaGen:
    """Creates the node that gives the curated `schema.pbtxt`, read now, as its output `schema` (Schema)."""
    schema_text = pack(Path(schema_file).read_text(encoding="utf-8"))
    return SchemaGen(_SchemaGenSpec(schema_text=schema_text, schema=types.Channel(type=standard_artifacts.Schema)))
