"""Tells a webhook and a command how a run ended. Runs in `sluice run` and in ExitHandler's process."""

import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

PUSHED, REFUSED, FAILED = "pushed", "refused", "failed"
_TIMEOUT_SECS = (10, 30)  # to connect, to answer
_COMMAND_TIMEOUT_SECS = 60.0
_ATTEMPTS = 2
_LONGEST_TEXT = 10_000  # of a variable, which the system bounds at 131072 bytes


def notify(
    message: Mapping[str, Any],
    *,
    webhook_url: str = "",
    command: Sequence[str] = (),
    command_timeout_secs: float = _COMMAND_TIMEOUT_SECS,
) -> list[str]:
    """Logs a message and hands it on as JSON; nothing that goes wrong with that is an error of the run.

    Args:
        message: JSON values, among them `event` (`pushed`, `refused` or `failed`) and `text`, which chat services show.
        webhook_url: Gets it by POST; empty for none.
        command: Words of a command that gets it on standard input, and `SLUICE_EVENT` and `SLUICE_TEXT` in its
            environment; empty for none.
        command_timeout_secs: After which the command and its children are killed.

    Returns:
        What went wrong, in sentences that name no secret of the URL.
    """
    logging.info("%s: %s", message["event"], message["text"])
    problems = []
    if webhook_url and (problem := _post(webhook_url, message)):
        problems.append(problem)
    if command and (problem := _run(command, message, command_timeout_secs)):
        problems.append(problem)
    for problem in problems:
        logging.warning("%s", problem)
    return problems


def _post(webhook_url: str, message: Mapping[str, Any]) -> str:
    problem = ""
    for _ in range(_ATTEMPTS):
        try:
            # Of the answer only the status is read; a redirection would make a GET of the POST.
            with requests.post(
                webhook_url, json=message, timeout=_TIMEOUT_SECS, stream=True, allow_redirects=False
            ) as response:
                status = response.status_code
        except requests.RequestException as err:  # whose text holds the whole URL
            problem = type(err).__name__
            continue
        if 200 <= status < 300:
            return ""
        problem = f"it answered {status}"
        if status < 500:
            break
    parts = urlsplit(webhook_url)
    return f"the webhook at {parts.scheme}://{parts.hostname} was not told: {problem}."


def _run(command: Sequence[str], message: Mapping[str, Any], timeout_secs: float) -> str:
    text = message["text"].replace("\0", "")[:_LONGEST_TEXT]
    environment = {**os.environ, "SLUICE_EVENT": message["event"], "SLUICE_TEXT": text}
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
    except OSError as err:
        return f"the command {command[0]} was not run: {err.strerror}."
    try:
        process.communicate(json.dumps(message).encode(), timeout=timeout_secs)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"the command {command[0]} was killed after {timeout_secs:g} s."
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return f"the command {command[0]} exited with {process.returncode}." if process.returncode else ""
