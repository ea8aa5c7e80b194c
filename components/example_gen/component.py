"""ExampleGen in the DAG. Runs at compile time."""

from tfx.components import CsvExampleGen
from tfx.proto import example_gen_pb2

from components.example_gen.driver import ContentDigestDriver


class ExampleGen(CsvExampleGen):
    """Stock CsvExampleGen, cached by what the files hold and not by when they were written."""

    DRIVER_CLASS = ContentDigestDriver


def create_example_gen(*, input_dir: str, split_buckets: dict[str, int]) -> ExampleGen:
    """Creates the node that reads every CSV file of a folder and splits the rows by hash.

    Args:
        input_dir: Folder whose `*.csv` files have the same header line; other files are left alone.
        split_buckets: Hash buckets of each split, for example `{"train": 2, "eval": 1}` for two thirds and one third.

    Returns:
        A node with the output `examples` (Examples), one split per key of `split_buckets`.
    """
    splits = [
        example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=buckets) for name, buckets in split_buckets.items()
    ]
    output_config = example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))
    input_split = example_gen_pb2.Input.Split(name="rows", pattern="*.csv")
    return ExampleGen(
        input_base=input_dir,
        input_config=example_gen_pb2.Input(splits=[input_split]),
        output_config=output_config,
    )
