"""Writes the schema that the pipeline carries. Runs in SchemaGen's process."""

import posixpath
from typing import Any

from tfx import types
from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.schema_gen import unpack


class Executor(base_executor.BaseExecutor):
    """Writes the schema of the execution property `schema_text`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `schema.pbtxt` of the output `schema`."""
        schema_dir = artifact_utils.get_single_uri(output_dict["schema"])
        with fileio.open(posixpath.join(schema_dir, DEFAULT_FILE_NAME), "w") as file:
            file.write(unpack(exec_properties["schema_text"]))
