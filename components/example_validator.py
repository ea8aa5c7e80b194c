"""ExampleValidator in the DAG. Runs at compile time."""

from tfx import types
from tfx.components import ExampleValidator


def create_example_validator(statistics: types.BaseChannel, schema: types.BaseChannel) -> ExampleValidator:
    """Creates the node that checks every split's statistics against the schema (output `anomalies`)."""
    return ExampleValidator(statistics=statistics, schema=schema)
