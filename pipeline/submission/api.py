"""What the APIs of the two backends have in common, as plain values. Imports neither kfp nor google.cloud."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from pipeline.submission.submission import Submission

SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
REQUEST_TIMEOUT_SECS = 30


class ApiError(Exception):
    """An API that cannot be reached or refuses a request; the message is one sentence for the user."""


@dataclass(frozen=True)
class Request:
    """A request, as the official client made it.

    Attributes:
        call: HTTP method and URL, or host and RPC.
        body: What is sent, as JSON values; None if nothing.
    """

    call: str
    body: Any


@dataclass(frozen=True)
class Submitted:
    """A run or a schedule that a backend has taken on.

    Attributes:
        name: What the API calls it.
        link: Page that shows it.
        cancel_command: Shell command that ends it.
    """

    name: str
    link: str
    cancel_command: str


@dataclass(frozen=True)
class TaskStatus:
    """One task of a run.

    Attributes:
        task_id: Distinguishes tasks of one name, as in a loop.
        name: As in the spec.
        state: In lower case: pending, running, cached, skipped, succeeded, failed, cancelled, ...
        seconds: From its start to its end, None if either is open.
        error: What the API says about a failure, if anything.
    """

    task_id: str
    name: str
    state: str
    seconds: float | None
    error: str


@dataclass(frozen=True)
class RunStatus:
    """A run and its tasks; the state and the error are as in `TaskStatus`."""

    state: str
    tasks: Sequence[TaskStatus]
    error: str


class Api(Protocol):
    """The API of a backend."""

    def submit(self, submission: Submission) -> Submitted:
        """Sends a run, or a schedule if the config has one.

        Raises:
            ApiError: If the API cannot be reached or refuses it.
        """

    def status(self, submitted: Submitted) -> RunStatus:
        """Asks how a run is.

        Raises:
            ApiError: If the API cannot be reached or refuses to say.
        """


def first_line(text: str) -> str:
    """Returns the first line of a message that may have none."""
    return next(iter(text.strip().splitlines()), "")


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Returns the seconds from `start` to `end`, None if one of them is not known or the epoch, which stands for it."""
    epoch = datetime.fromtimestamp(0, UTC)
    if not start or not end or epoch in (start, end):
        return None
    return max(0.0, (end - start).total_seconds())
