"""DataGate in the DAG. Runs at compile time."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component
from tfx.orchestration.data_types import RuntimeParameter

from components.data_gate import executor


def create_data_gate(
    anomalies: types.BaseChannel,
    statistics: types.BaseChannel,
    schema: types.BaseChannel,
    *,
    settings: Mapping[str, Any],
    class_names: Sequence[str],
    serving_model_dir: str | RuntimeParameter,
    serving_requests: str | RuntimeParameter = "",
) -> base_component.BaseComponent:
    """Creates the node that fails on refused data; what must wait for it names it as upstream node.

    Args:
        anomalies: The ExampleAnomalies of every split.
        statistics: The ExampleStatistics of every split, computed by the schema.
        schema: The Schema.
        settings: The config section `data_gate`, as JSON values, and the `label`'s name.
        class_names: Name of each class, by label value.
        serving_model_dir: Folder of pushed versions, of which the one that is served tells what drift is.
        serving_requests: File of logged requests; read only with `skew` in the settings.

    Returns:
        A node with the output `findings` (ExampleAnomalies), whose folder holds `gate.json`.
    """
    text = json.dumps({**settings, "class_names": list(class_names)}, sort_keys=True)
    return executor.DataGate(
        anomalies=anomalies,
        statistics=statistics,
        schema=schema,
        settings=text,
        serving_model_dir=serving_model_dir,
        serving_requests=serving_requests,
    )
