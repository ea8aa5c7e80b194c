"""ExampleGen in the DAG. Runs at compile time."""

from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.components import CsvExampleGen
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import example_gen_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.example_gen import NEWEST_SPAN, REQUESTED_SPAN, SETTINGS, executor
from components.example_gen.driver import ContentDigestDriver
from components.example_gen.settings import Settings
from components.source_digest import source_digest


class _StockExampleGenSpec(standard_component_specs.FileBasedExampleGenSpec):
    PARAMETERS = {
        **standard_component_specs.FileBasedExampleGenSpec.PARAMETERS,
        REQUESTED_SPAN: component_spec.ExecutionParameter(type=int, optional=True),
    }


class _ExampleGenSpec(_StockExampleGenSpec):
    PARAMETERS = {
        **_StockExampleGenSpec.PARAMETERS,
        SETTINGS: component_spec.ExecutionParameter(type=str),
    }


class StockExampleGen(CsvExampleGen):
    """Stock CsvExampleGen, cached by what the files hold and not by when they were written, with a span by number."""

    SPEC_CLASS = _StockExampleGenSpec
    DRIVER_CLASS = ContentDigestDriver

    def __init__(self, spec: _StockExampleGenSpec) -> None:
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)


class ExampleGen(FileBasedExampleGen):
    """TFX's file-based ExampleGen with an executor that reads any table in columns, by the schema."""

    SPEC_CLASS = _ExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = ContentDigestDriver

    def __init__(self, spec: _ExampleGenSpec) -> None:
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)


def create_example_gen(
    *,
    input_dir: str | RuntimeParameter,
    split_buckets: Mapping[str, int],
    pattern: str = "*.csv",
    span: int | RuntimeParameter = NEWEST_SPAN,
    settings: Settings | None = None,
) -> FileBasedExampleGen:
    """Creates the node that reads the files of a folder and splits their rows.

    Args:
        input_dir: Folder of the files.
        split_buckets: Hash buckets of each split, for example `{"train": 2, "eval": 1}` for two thirds and one third.
        pattern: Of the files under `input_dir`; `{SPAN}` in it stands for a number.
        span: Which span to read, `NEWEST_SPAN` for the one with the highest number.
        settings: How rows are read and split; without, TFX's own CsvExampleGen reads CSV files with one header line.

    Returns:
        A node with the output `examples` (Examples), one split per key of `split_buckets`.
    """
    splits = [
        example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=buckets) for name, buckets in split_buckets.items()
    ]
    properties: dict[str, Any] = {
        "input_base": input_dir,
        "input_config": example_gen_pb2.Input(splits=[example_gen_pb2.Input.Split(name="rows", pattern=pattern)]),
        "output_config": example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits)),
        "output_data_format": example_gen_pb2.FORMAT_TF_EXAMPLE,
        "output_file_format": example_gen_pb2.FORMAT_TFRECORDS_GZIP,
        "examples": types.Channel(type=standard_artifacts.Examples),
        **({REQUESTED_SPAN: span} if "{" in pattern else {}),
    }
    if settings is None:
        return StockExampleGen(_StockExampleGenSpec(**properties))
    sealed = settings.to_json(source_digest=source_digest(executor.__file__))
    return ExampleGen(_ExampleGenSpec(**properties, **{SETTINGS: sealed}))
