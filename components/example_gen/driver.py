"""Decides whether ExampleGen has seen its input before. Runs in the launcher, before the executor.

The stock driver fingerprints file count, total bytes and modification times in whole seconds
(tfx.utils.io_utils.generate_fingerprint): an edit that keeps size and time is a cache hit, a copy or a fresh checkout
is a miss.
"""

import hashlib
import os
from collections.abc import Iterable
from typing import Any

from tfx.components.example_gen import driver, input_processor
from tfx.dsl.io import fileio
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2, range_config_pb2

from components.example_gen import select_span

_BLOCK_BYTES = 1 << 20


class ContentDigestDriver(driver.FileBasedDriver):
    """The stock file-based driver with a fingerprint of the files' content and a span by number."""

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Overrides the stock driver's choice of span."""
        select_span(exec_properties)
        return super().resolve_exec_properties(exec_properties, pipeline_info, component_info)

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        input_base_uri: str | None = None,
    ) -> input_processor.FileBasedInputProcessor:
        """Overrides the stock driver's choice of input processor."""
        return _ContentDigestInputProcessor(input_base_uri, splits, range_config)


class _ContentDigestInputProcessor(input_processor.FileBasedInputProcessor):
    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        return "\n".join(
            f"split:{split.name},sha256:{self._split_digest(split.pattern, span, version)}" for split in self._splits
        )

    def _split_digest(self, pattern: str, span: int, version: int | None) -> str:
        pattern = self.get_pattern_for_span_version(pattern, span, version)
        files = sorted(fileio.glob(os.path.join(self._input_base_uri, pattern)))
        digest = hashlib.sha256()
        for file in files:
            digest.update(os.path.basename(file).encode() + b"\0" + _file_digest(file))
        return digest.hexdigest()


def _file_digest(file_uri: str) -> bytes:
    digest = hashlib.sha256()
    with fileio.open(file_uri, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.digest()
