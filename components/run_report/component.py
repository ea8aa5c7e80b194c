"""RunReport in the DAG. Runs at compile time."""

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component

from components.run_report import executor
from components.source_digest import source_digest


def create_run_report(
    artifacts: Mapping[str, types.BaseChannel], *, settings: Mapping[str, Any]
) -> base_component.BaseComponent:
    """Creates the node that tells a run. It waits for no push, so that a refused model has a report too.

    Args:
        artifacts: Of which it tells, by their names in `components/run_report/__init__.py`.
        settings: Of `components/run_report/collect.py`.

    Returns:
        A node with the output `report` (ModelEvaluation), whose folder holds `facts.json` and `index.html`.
    """
    text = json.dumps({**settings, "source_digest": source_digest(executor.__file__)}, sort_keys=True)
    return executor.RunReport(**artifacts, settings=text)
