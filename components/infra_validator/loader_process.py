"""Asks the C++ loader in a process of its own, which may crash or hang. Runs in InfraValidator's process."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from components.infra_validator import loader
from components.infra_validator.loader import Array, LoaderError, decode_array, encode_array

_ahead: list[subprocess.Popen[str]] = []


def start_ahead() -> None:
    """Starts the process of the next LoaderProcess, which takes a third of a second, while something else runs.

    It ends with the process that started it, if that never needs it.
    """
    if not _ahead:
        _ahead.append(_start())


def _start() -> subprocess.Popen[str]:
    command = [sys.executable, "-P", loader.__file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class LoaderDiedError(RuntimeError):
    """The process crashed, or was killed at the time limit."""


class LoaderProcess:
    """A process that loads one model. To be used in a `with` statement, which ends it.

    Attributes:
        peak_rss_mib: The most memory that it has held, in MiB, by its last answer.
    """

    def __init__(self, timeout_secs: float) -> None:
        """Starts the process, if none was ahead; it is killed after `timeout_secs` seconds, whatever it does."""
        self._timeout_secs = timeout_secs
        ahead = _ahead.pop() if _ahead else None
        self._process = ahead if ahead and ahead.poll() is None else _start()
        self._timed_out = False
        self._timer = threading.Timer(timeout_secs, self._kill)
        self._timer.start()
        self.peak_rss_mib = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()

    def load(self, model_dir: str) -> None:
        """Loads a model.

        Raises:
            LoaderError: If TensorFlow cannot.
            LoaderDiedError: If the process died of it.
        """
        self._ask({"load": model_dir}, "loading the model")

    def run(
        self, feeds: Mapping[str, Array], fetches: Sequence[str], what: str, *, repeat: int = 1
    ) -> tuple[list[Array], list[float]]:
        """Runs the graph `repeat` times.

        Args:
            feeds: Value of each fed tensor, by its name.
            fetches: Names of the tensors to return.
            what: What this is, for the error.
            repeat: How often.

        Returns:
            The fetched tensors of the last run, and the seconds of each run.

        Raises:
            LoaderError: If TensorFlow refuses or fails.
            LoaderDiedError: If the process died of it.
        """
        encoded = {name: encode_array(array) for name, array in feeds.items()}
        answer = self._ask({"feeds": encoded, "fetches": list(fetches), "repeat": repeat}, what)
        return list(map(decode_array, answer["outputs"])), answer["seconds"]

    def _ask(self, request: Mapping[str, Any], what: str) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ValueError("The process has no pipes.")
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise LoaderDiedError(self._epitaph(what))
        answer = json.loads(line)
        self.peak_rss_mib = answer["peak_rss_kib"] / 1024
        if "error" in answer:
            raise LoaderError(answer["code"], answer["error"])
        return answer

    def _epitaph(self, what: str) -> str:
        exit_code = self._process.wait()
        if self._timed_out:
            return f"{what} did not end within {self._timeout_secs:g} s; the process was killed"
        if exit_code < 0:
            return f"{what} crashed the process ({signal.Signals(-exit_code).name})"
        return f"{what} ended the process with exit code {exit_code}"

    def _kill(self) -> None:
        self._timed_out = True
        self._process.kill()
