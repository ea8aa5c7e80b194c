"""SchemaGen: gives the curated schema to the nodes that follow."""

import base64
import zlib

_LONGEST = 30_000  # characters; a task gets all its parameters in one argument of at most 128 KiB (Linux, execve)
_COMPRESSED = "zlib+base64:"


def pack(text: str) -> str:
    """Returns a schema's text as it is, or compressed if it is long."""
    if len(text) <= _LONGEST:
        return text
    return _COMPRESSED + base64.b64encode(zlib.compress(text.encode(), level=9)).decode()


def unpack(packed: str) -> str:
    """Returns the text that `pack` was given."""
    if not packed.startswith(_COMPRESSED):
        return packed
    return zlib.decompress(base64.b64decode(packed.removeprefix(_COMPRESSED))).decode()
