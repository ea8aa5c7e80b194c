"""Follows a run of a backend until it ends. Runs in `sluice submit --wait`."""

import time
from collections import Counter
from collections.abc import Callable

from pipeline.submission.api import CANCELLED, FAILED, SUCCEEDED, ApiError, RunStatus, TaskStatus
from pipeline.terminal import Terminal

_SHORTEST_WAIT_SECS, _LONGEST_WAIT_SECS = 1.0, 15.0
_MAX_FAILED_POLLS = 5
_STYLES = {SUCCEEDED: "green", FAILED: "bold red", "cached": "dim", "skipped": "dim", CANCELLED: "yellow"}


def watch(poll: Callable[[], RunStatus], terminal: Terminal, task_names: frozenset[str]) -> RunStatus:
    """Prints a line whenever the state of a task changes, and returns the run as it ended.

    Args:
        poll: Asks the API.
        terminal: Gets the lines.
        task_names: The tasks that are shown; the API tells of drivers and nested DAGs too.

    Raises:
        ApiError: If the API gave no answer several times in a row; the run may go on.
    """
    states: dict[str, str] = {}
    wait_secs, width = _SHORTEST_WAIT_SECS, max(map(len, task_names), default=0) + 2
    while True:
        status = _poll_until_answered(poll)
        tasks = [task for task in status.tasks if task.name in task_names]
        changed = [task for task in tasks if states.get(task.task_id) != task.state]
        for task in changed:
            terminal.print(_line(task, width), _STYLES.get(task.state, ""))
        states |= {task.task_id: task.state for task in changed}
        if status.state in (SUCCEEDED, FAILED, CANCELLED):
            terminal.stop()
            return RunStatus(status.state, tasks, status.error)
        if changed or wait_secs == _SHORTEST_WAIT_SECS:
            running = [task.name for task in tasks if task.state == "running"]
            terminal.start(", ".join(running) or status.state)
        wait_secs = _SHORTEST_WAIT_SECS if changed else min(1.5 * wait_secs, _LONGEST_WAIT_SECS)
        time.sleep(wait_secs)


def _poll_until_answered(poll: Callable[[], RunStatus]) -> RunStatus:
    for _ in range(_MAX_FAILED_POLLS - 1):
        try:
            return poll()
        except ApiError:
            time.sleep(_SHORTEST_WAIT_SECS)
    return poll()


def _line(task: TaskStatus, width: int) -> str:
    seconds = " " * 9 if task.seconds is None else f"{task.seconds:7.1f} s"
    return f"  {task.name:<{width}}{seconds}  {task.state}"


def verdict(status: RunStatus) -> str:
    """Says in a line how a run ended, with the message of the first task that failed."""
    counts = Counter(task.state for task in status.tasks)
    figures = "tasks: " + (", ".join(f"{count} {state}" for state, count in counts.items()) or "none")
    if status.state != FAILED:
        return f"{status.state.upper()}: {figures}"
    task = next((task for task in status.tasks if task.state == FAILED), None)
    reason = (task and task.error) or status.error or "the API gives no reason, the task's log does"
    return f"FAILED: {task.name + ': ' if task else ''}{reason} ({figures})"
