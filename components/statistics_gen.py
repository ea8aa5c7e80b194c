"""StatisticsGen in the DAG. Runs at compile time."""

from tfx import types
from tfx.components import StatisticsGen


def create_statistics_gen(examples: types.BaseChannel) -> StatisticsGen:
    """Creates the node that computes statistics of every split of `examples` (output `statistics`)."""
    return StatisticsGen(examples=examples)
