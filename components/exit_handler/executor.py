"""Logs how a run ended and tells a webhook. Runs in ExitHandler's process."""

import json
import logging
from typing import Any

import requests
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

_TIMEOUT_SECS = 30


@component
def ExitHandler(final_status: Parameter[str], webhook_url: Parameter[str]) -> None:
    """Reports `final_status`, a PipelineTaskFinalStatus (kfp's pipeline_spec.proto) as JSON."""
    status = json.loads(final_status)
    message = describe_status(status)
    logging.info("%s", message)
    if webhook_url:
        # Chat services show `text`; the other fields are the backend's own.
        response = requests.post(webhook_url, json={"text": message, **status}, timeout=_TIMEOUT_SECS)
        response.raise_for_status()


def describe_status(status: dict[str, Any]) -> str:
    """Says in a sentence how a run ended."""
    run = status.get("pipelineJobResourceName", "").rpartition("/")[2]
    error = status.get("error", {}).get("message", "")
    return f"{run or 'The run'}: {status.get('state', 'UNKNOWN')}{f': {error}' if error else ''}"
