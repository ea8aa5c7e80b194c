"""StatisticsGen in the DAG. Runs at compile time."""

from tfx import types
from tfx.components import StatisticsGen as StockStatisticsGen
from tfx.dsl.components.base import executor_spec

from components.statistics_gen import executor


class StatisticsGen(StockStatisticsGen):
    """TFX's StatisticsGen, in memory."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)


def create_statistics_gen(
    examples: types.BaseChannel, schema: types.BaseChannel, *, executor_name: str = "columnar"
) -> StockStatisticsGen:
    """Creates the node that computes statistics of every split of `examples` (output `statistics`).

    By the schema it knows which integers are categories, and counts the rows of each.

    Args:
        examples: Raw Examples.
        schema: The curated Schema.
        executor_name: `columnar`, in memory, or `stock`, by TensorFlow Data Validation on Beam.
    """
    component = StockStatisticsGen if executor_name == "stock" else StatisticsGen
    return component(examples=examples, schema=schema)
