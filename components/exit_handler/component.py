"""ExitHandler in a compiled pipeline. Runs at compile time."""

import json
from collections.abc import Sequence

from tfx.dsl.components.base import base_component
from tfx.orchestration.kubeflow.decorators import FinalStatusStr

from components.exit_handler import executor


def create_exit_handler(
    pipeline_name: str, *, webhook_url: str | None, command: Sequence[str], events: Sequence[str]
) -> base_component.BaseComponent:
    """Creates the node that runs after all others, whatever became of them.

    Args:
        pipeline_name: Name of the pipeline.
        webhook_url: Gets the outcome as JSON by POST, if given.
        command: Gets the same on standard input, if not empty.
        events: Those of which they are told.
    """
    settings = {
        "pipeline_name": pipeline_name,
        "webhook_url": webhook_url or "",
        "command": list(command),
        "events": list(events),
    }
    return executor.ExitHandler(final_status=FinalStatusStr(), notification=json.dumps(settings))
