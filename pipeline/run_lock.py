"""One run of a pipeline at a time under a root. Imports neither TensorFlow nor TFX.

The kernel takes a `flock` from a process that dies, however it dies. What the file says of its holder stays then, so
that the next holder knows who died.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

_POLL_SECS = 0.2


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        command: Of Sluice, such as `sluice run`.
        pid: Its process.
        host: Its machine.
        since: ISO 8601, UTC.
        run_id: Of its run; empty of another command.
    """

    command: str
    pid: int
    host: str
    since: str
    run_id: str = ""

    def __str__(self) -> str:
        run = f" {self.run_id}" * bool(self.run_id)
        return f"{self.command}{run} (process {self.pid} on {self.host}, since {self.since})"


class LockedError(RuntimeError):
    """Another command holds the lock; the message names it."""


class PipelineLock:
    """A lock that is held.

    Attributes:
        died: Who died with it before; None if the last holder let go of it.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._left = file.read()
        self.died = _parse(self._left)

    def name(self, command: str, *, run_id: str = "") -> None:
        """Says who holds it, for those who come meanwhile and for the next holder."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(json.dumps(asdict(Holder(command, os.getpid(), socket.gethostname(), since, run_id))))
        self._left = "" if run_id else self._left  # a run puts right what another left, and other commands do not

    def release(self) -> None:
        """Says that the holder has ended."""
        self._write(self._left)

    def _write(self, text: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text)
        self._file.flush()


@contextlib.contextmanager
def locked_pipeline(
    lock_file: Path, *, wait_secs: float = 0.0, on_wait: Callable[[str], None] = lambda _: None
) -> Iterator[PipelineLock]:
    """Keeps every other command that changes a pipeline's runs out.

    Args:
        lock_file: Of the pipeline; its folder is made.
        wait_secs: How long to wait for the lock.
        on_wait: Called with a sentence when it has to wait, and when it waits for somebody else.

    Raises:
        LockedError: If another holds it all the time.
        OSError: If there can be no such file.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8") as file:
        _acquire(file.fileno(), lock_file, wait_secs, on_wait)
        lock = PipelineLock(file)
        yield lock
        lock.release()  # not where an exception leaves: what was begun is not ended then


def _acquire(descriptor: int, lock_file: Path, wait_secs: float, on_wait: Callable[[str], None]) -> None:
    deadline, told = time.monotonic() + wait_secs, ""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = str(_read(lock_file) or "another command")
        if time.monotonic() >= deadline:
            waited = f" after {wait_secs:g} s" * bool(wait_secs)
            raise LockedError(f"{holder} holds {lock_file}{waited}; `--wait SECONDS` waits for it to end.")
        if holder != told:
            on_wait(f"Waiting up to {wait_secs:g} s for {holder}.")
            told = holder
        time.sleep(_POLL_SECS)


def _read(lock_file: Path) -> Holder | None:
    try:
        return _parse(lock_file.read_text(encoding="utf-8"))
    except OSError:
        return None


def _parse(text: str) -> Holder | None:
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):  # nobody, or somebody who was just about to say so
        return None
