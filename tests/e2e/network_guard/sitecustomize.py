"""On the PYTHONPATH of a run under test: notes attempts to leave this machine in $NETWORK_GUARD_FILE and fails them."""

import os
import sys

_LOCAL = ("127.", "localhost", "::1", "0.0.0.0")


def _guard(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        target = address[0] if isinstance(address, tuple) else "localhost"  # a path is a Unix socket
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        target = arguments[0]
    else:
        return
    target = target.decode() if isinstance(target, bytes) else target
    if target is not None and not target.startswith(_LOCAL):
        with open(os.environ["NETWORK_GUARD_FILE"], "a") as file:
            file.write(f"{event} {target}\n")
        raise OSError(f"{event} {target}: no network in this test")


sys.addaudithook(_guard)
