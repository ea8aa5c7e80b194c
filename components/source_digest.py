"""Digest of the source that a module file runs, for the cache key. Runs at compile time.

TFX's cache key holds the text of a `module_file` but nothing of what it imports, so an edit to an imported file would
be a cache hit (tfx/orchestration/portable/cache_utils.py).
"""

import hashlib
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("components", "schema")


class _ProjectFinder(ModuleFinder):
    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        """Overrides the stock finder, which in an installed project would find all other packages beside it."""
        if path is None and name not in _PACKAGES:
            raise ImportError(name)
        return super().find_module(name, path, parent)


def source_digest(*module_files: str) -> str:
    """Returns the SHA-256 of `module_files` and of every file of this project that they import, directly or not.

    It depends on nothing but the text of the files, so that a checkout and an installed wheel agree.

    Args:
        module_files: Local Python files.

    Raises:
        SyntaxError: If one of the files does not compile.
    """
    files: set[Path] = set()
    for module_file in module_files:
        finder = _ProjectFinder(path=[str(PROJECT_ROOT)])
        finder.run_script(module_file)
        paths = (getattr(module, "__file__", None) for module in finder.modules.values())
        files |= {Path(path).resolve() for path in paths if path}
    digests = sorted(hashlib.sha256(file.read_bytes()).digest() for file in files)
    return hashlib.sha256(b"".join(digests)).hexdigest()
