"""StatisticsGen in the DAG. Runs at compile time."""

from tfx import types
from tfx.components import StatisticsGen


def create_statistics_gen(examples: types.BaseChannel, schema: types.BaseChannel) -> StatisticsGen:
    """Creates the node that computes statistics of every split of `examples` (output `statistics`).

    By the schema it knows which integers are categories, and counts the rows of each.
    """
    return StatisticsGen(examples=examples, schema=schema)
