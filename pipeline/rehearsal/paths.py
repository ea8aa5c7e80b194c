"""Finds on this machine what a spec finds in a bucket or on a volume."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STORES = "gs|s3|minio"  # what Kubeflow's launcher and TFX know


@dataclass(frozen=True)
class PathMap:
    """Folders of this machine in place of remote ones.

    Attributes:
        folders: A folder of this machine by the prefix of the paths that it stands for, such as `gs://bucket/data`.
        remote_dir: Holds `<scheme>/<bucket>/...` of what lies in any other bucket.
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
        prefixes = sorted(self.folders, key=len, reverse=True)
        # In one pass, so that what was put in is not looked at again.
        known = "".join(rf"{re.escape(prefix.rstrip('/'))}(?![\w.-])|" for prefix in prefixes)
        return re.sub(rf"(?<![\w/.+-])(?:{known}(?:{_STORES})://(?=[\w]))", self._folder, value)

    def _folder(self, match: re.Match[str]) -> str:
        for prefix, folder in self.folders.items():
            if match[0] == prefix.rstrip("/"):
                return str(folder)
        return f"{self.remote_dir}/{match[0].removesuffix('://')}/"
