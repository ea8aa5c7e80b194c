"""SchemaGen in the DAG: imports the curated schema. Runs at compile time."""

import hashlib
from pathlib import Path

from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base import base_component
from tfx.types import (
    Channel,
    component_spec,
    standard_artifacts,
    standard_component_specs,
)


class _SchemaGenSpec(standard_component_specs.ImportSchemaGenSpec):
    PARAMETERS = {
        **standard_component_specs.ImportSchemaGenSpec.PARAMETERS,
        "schema_digest": component_spec.ExecutionParameter(type=str),
    }


class SchemaGen(ImportSchemaGen):
    """Stock ImportSchemaGen with the file's digest in its cache key, which stock keys by path alone."""

    SPEC_CLASS = _SchemaGenSpec

    def __init__(self, schema_file: str, schema_digest: str) -> None:
        spec = _SchemaGenSpec(
            schema_file=schema_file,
            schema_digest=schema_digest,
            schema=Channel(type=standard_artifacts.Schema),
        )
        base_component.BaseComponent.__init__(self, spec=spec)


def create_schema_gen(schema_file: str) -> SchemaGen:
    """Creates the node that imports a curated `schema.pbtxt` (output `schema`)."""
    digest = hashlib.sha256(Path(schema_file).read_bytes()).hexdigest()
    return SchemaGen(schema_file=schema_file, schema_digest=digest)
