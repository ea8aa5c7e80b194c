"""Keeps the terminal for Sluice: what libraries print goes to a file. Runs in the process of `sluice run`."""

import contextlib
import faulthandler
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from absl import logging as absl_logging


@contextlib.contextmanager
def discarded_stderr() -> Iterator[None]:
    """Throws away what C++ and Python write to file descriptor 2, such as TensorFlow's remarks while it is imported."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@contextlib.contextmanager
def redirected_output(log_file: Path, *, descriptor: int = 1) -> Iterator[TextIO]:
    """Sends file descriptors 1 and 2, and so C++ and Python alike, to a file.

    Args:
        log_file: The file; its folder is made.
        descriptor: 1 or 2.

    Yields:
        A stream to what the descriptor was, for what the user should see.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    terminal = os.fdopen(os.dup(descriptor), "w", buffering=1, errors="backslashreplace")
    with log_file.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        faulthandler.enable(file=2)
        logging.captureWarnings(True)
        absl_logging.use_absl_handler()
        absl_logging.set_verbosity(absl_logging.INFO)
        try:
            yield terminal
        finally:
            for stream in (sys.stdout, sys.stderr):
                if not stream.closed:
                    with contextlib.suppress(OSError):  # the disk is full; the last line says so
                        stream.flush()
            for redirected, original in zip((1, 2), saved, strict=True):
                os.dup2(original, redirected)
                os.close(original)
            with contextlib.suppress(BrokenPipeError):  # nobody reads any more, as in `sluice run | head -2`
                terminal.close()
