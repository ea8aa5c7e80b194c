"""Digest of the source that a module file runs, for the cache key. Runs at compile time.

TFX's cache key holds the text of a `module_file` but nothing of what it imports, so an edit to an imported file would
be a cache hit (tfx/orchestration/portable/cache_utils.py).
"""

import hashlib
from modulefinder import ModuleFinder
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]


def source_digest(*module_files: str) -> str:
    """Returns the SHA-256 of `module_files` and of every file of this project that they import, directly or not.

    Args:
        module_files: Local Python files.

    Raises:
        SyntaxError: If one of the files does not compile.
    """
    files: set[Path] = set()
    for module_file in module_files:
        finder = ModuleFinder(path=[str(PROJECT_ROOT)])
        finder.run_script(module_file)
        paths = (getattr(module, "__file__", None) for module in finder.modules.values())
        files |= {Path(path) for path in paths if path}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
