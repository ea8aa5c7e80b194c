"""Finds on this machine what a spec finds in a bucket or on a volume."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REMOTE = re.compile(r"(?<![\w/.+-])(?!https?://|file://)([a-z][a-z0-9+.-]*)://(?=[\w.-])")


@dataclass(frozen=True)
class PathMap:
    """Folders of this machine in place of remote ones.

    Attributes:
        folders: A folder of this machine by the prefix of the paths that it stands for, such as `gs://bucket/data`.
        remote_dir: Holds `<scheme>/<bucket>/...` of every other remote path.
    """

    folders: Mapping[str, Path]
    remote_dir: Path

    def local(self, value: Any) -> Any:
        """Returns a JSON value with local paths in place of remote ones, in every text of it."""
        if isinstance(value, dict):
            return {key: self.local(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.local(item) for item in value]
        if not isinstance(value, str):
            return value
        for prefix in sorted(self.folders, key=len, reverse=True):
            folder = str(self.folders[prefix]).replace("\\", r"\\")
            value = re.sub(rf"(?<![\w/.+-]){re.escape(prefix.rstrip('/'))}(?![\w.-])", folder, value)
        return _REMOTE.sub(lambda match: f"{self.remote_dir}/{match[1]}/", value)
