"""ExampleGen in the DAG. Runs at compile time."""

from tfx import types
from tfx.components import CsvExampleGen
from tfx.dsl.components.base import base_beam_component
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import example_gen_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.example_gen import NEWEST_SPAN, REQUESTED_SPAN
from components.example_gen.driver import ContentDigestDriver


class _ExampleGenSpec(standard_component_specs.FileBasedExampleGenSpec):
    PARAMETERS = {
        **standard_component_specs.FileBasedExampleGenSpec.PARAMETERS,
        REQUESTED_SPAN: component_spec.ExecutionParameter(type=int, optional=True),
    }


class ExampleGen(CsvExampleGen):
    """Stock CsvExampleGen, cached by what the files hold and not by when they were written, with a span by number."""

    SPEC_CLASS = _ExampleGenSpec
    DRIVER_CLASS = ContentDigestDriver

    def __init__(self, spec: _ExampleGenSpec) -> None:
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)


def create_example_gen(
    *,
    input_dir: str | RuntimeParameter,
    split_buckets: dict[str, int],
    pattern: str = "*.csv",
    span: int | RuntimeParameter = NEWEST_SPAN,
) -> ExampleGen:
    """Creates the node that reads every CSV file of a folder and splits the rows by hash.

    Args:
        input_dir: Folder of the CSV files.
        split_buckets: Hash buckets of each split, for example `{"train": 2, "eval": 1}` for two thirds and one third.
        pattern: Of the files under `input_dir`, which have the same header line; `{SPAN}` in it stands for a number.
        span: Which span to read, `NEWEST_SPAN` for the one with the highest number.

    Returns:
        A node with the output `examples` (Examples), one split per key of `split_buckets`.
    """
    splits = [
        example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=buckets) for name, buckets in split_buckets.items()
    ]
    output_config = example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))
    input_split = example_gen_pb2.Input.Split(name="rows", pattern=pattern)
    spec = _ExampleGenSpec(
        input_base=input_dir,
        input_config=example_gen_pb2.Input(splits=[input_split]),
        output_config=output_config,
        output_data_format=example_gen_pb2.FORMAT_TF_EXAMPLE,
        output_file_format=example_gen_pb2.FORMAT_TFRECORDS_GZIP,
        examples=types.Channel(type=standard_artifacts.Examples),
        **({REQUESTED_SPAN: span} if "{" in pattern else {}),
    )
    return ExampleGen(spec)
