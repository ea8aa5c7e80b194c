"""BulkInferrer in the DAG. Runs at compile time."""

import json
from collections.abc import Sequence
from typing import Literal

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.proto import bulk_inferrer_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.bulk_inferrer import executor
from components.source_digest import source_digest


class _BulkInferrerSpec(standard_component_specs.BulkInferrerSpec):
    PARAMETERS = {
        **standard_component_specs.BulkInferrerSpec.PARAMETERS,
        "id_columns": component_spec.ExecutionParameter(type=str),
        "file_format": component_spec.ExecutionParameter(type=str),
        "source_digest": component_spec.ExecutionParameter(type=str),
    }


class BulkInferrer(base_beam_component.BaseBeamComponent):
    """TFX's BulkInferrer that also writes its predictions as a table."""

    SPEC_CLASS = _BulkInferrerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)


def create_bulk_inferrer(
    examples: types.BaseChannel,
    model: types.BaseChannel,
    model_blessing: types.BaseChannel,
    *,
    id_columns: Sequence[str] = (),
    file_format: Literal["csv", "parquet"] = "csv",
) -> BulkInferrer:
    """Creates the node that predicts every row of `examples`, whatever its split.

    Args:
        examples: Raw Examples; need no label.
        model: The Model, run by its signature `serving_default`.
        model_blessing: The ModelBlessing that guards it; a model that is not blessed predicts nothing.
        id_columns: Columns of the examples that the table of predictions repeats.
        file_format: Of that table, `predictions.csv` or `predictions.parquet`.

    Returns:
        A node with the output `inference_result` (InferenceResult): PredictionLogs and the table.
    """
    return BulkInferrer(
        _BulkInferrerSpec(
            examples=examples,
            model=model,
            model_blessing=model_blessing,
            data_spec=bulk_inferrer_pb2.DataSpec(),
            model_spec=bulk_inferrer_pb2.ModelSpec(model_signature_name=["serving_default"]),
            id_columns=json.dumps(list(id_columns)),
            file_format=file_format,
            source_digest=source_digest(executor.__file__),
            inference_result=types.Channel(type=standard_artifacts.InferenceResult),
        )
    )
