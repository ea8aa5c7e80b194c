"""What SIGINT and SIGTERM do to a run: the first ends it in order, the second at once."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interruption:
    """Whether a run was interrupted. Beam and others swallow a KeyboardInterrupt or make another error of it.

    Attributes:
        signal_number: Which signal came; 0 if none did.
        is_raised: Whether one raises KeyboardInterrupt, which it does not while the report is written.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self.is_raised = True

    def check(self) -> None:
        """Raises KeyboardInterrupt if the run was interrupted and somebody swallowed that."""
        if self.signal_number:
            raise KeyboardInterrupt

    def note(self, signal_number: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        self.signal_number = signal_number
        if self.is_raised:
            raise KeyboardInterrupt


@contextlib.contextmanager
def noted_interruption() -> Iterator[Interruption]:
    """Handles the signals in this block, but not those that were ignored or handled before, as a shell's background."""
    interruption = Interruption()
    handled = {number: old for number, default in _DEFAULTS.items() if (old := signal.getsignal(number)) is default}
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    threading.Thread(target=_end_at_second, args=(reader, set(handled)), daemon=True).start()
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in handled:
        signal.signal(number, interruption.note)
    try:
        yield interruption
    finally:
        for number, old in handled.items():
            signal.signal(number, old)
        signal.set_wakeup_fd(wakeup)
        writer.close()  # which ends the thread


def _end_at_second(reader: socket.socket, signals: set[int]) -> None:
    """Ends the process at the second signal: Python's handlers wait for C++ to return, which a thread does not."""
    came = 0
    with reader:
        while received := reader.recv(64):
            for number in received:
                came += number in signals
                if came == 2:
                    os._exit(128 + number)
