"""DataGate in the DAG. Runs at compile time."""

from tfx import types
from tfx.dsl.components.base import base_component

from components.data_gate import executor
from components.source_digest import source_digest


def create_data_gate(anomalies: types.BaseChannel, statistics: types.BaseChannel) -> base_component.BaseComponent:
    """Creates the node that fails when any split has an anomaly; what must wait for it names it as upstream node."""
    return executor.DataGate(anomalies=anomalies, statistics=statistics, source_digest=source_digest(executor.__file__))
