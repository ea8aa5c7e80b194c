"""Tells how a compiled run ended. Runs in ExitHandler's process."""

import json
from typing import Any

from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

from components.exit_handler.notifier import FAILED, PUSHED, REFUSED, notify

_REFUSALS = ("NOT PUSHED", "DATA REFUSED")  # how the tasks that refuse begin their last line


@component
def ExitHandler(final_status: Parameter[str], notification: Parameter[str]) -> None:
    """Reports `final_status`, a PipelineTaskFinalStatus (kfp's pipeline_spec.proto), to those of `notification`."""
    status, settings = json.loads(final_status), json.loads(notification)
    event = event_of(status)
    message = {"text": describe_status(status), "event": event, "pipeline": settings["pipeline_name"], **status}
    wanted = event in settings["events"]
    notify(
        message,
        webhook_url=settings["webhook_url"] if wanted else "",
        command=settings["command"] if wanted else (),
    )


def event_of(status: dict[str, Any]) -> str:
    """Returns `pushed`, `refused` or `failed`, as far as a backend's final status tells."""
    if status.get("state") == "SUCCEEDED":
        return PUSHED
    error = status.get("error", {}).get("message", "")
    return REFUSED if any(refusal in error for refusal in _REFUSALS) else FAILED


def describe_status(status: dict[str, Any]) -> str:
    """Says in a sentence how a run ended."""
    run = status.get("pipelineJobResourceName", "").rpartition("/")[2]
    error = status.get("error", {}).get("message", "")
    return f"{run or 'The run'}: {status.get('state', 'UNKNOWN')}{f': {error}' if error else ''}"
