"""Decides whether ExampleGen has seen its input before. Runs in the launcher, before the executor.

The stock driver fingerprints file count, total bytes and modification times in whole seconds
(tfx.utils.io_utils.generate_fingerprint): an edit that keeps size and time is a cache hit, a copy or a fresh checkout
is a miss.
"""

from collections.abc import Iterable
from typing import Any

from tfx.components.example_gen import driver, input_processor
from tfx.dsl.io import fileio
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2, range_config_pb2

from components.example_gen import SETTINGS, select_span
from components.example_gen.input_files import files_digest, find_files
from components.example_gen.settings import Settings


class ContentDigestDriver(driver.FileBasedDriver):
    """The stock file-based driver with a fingerprint of the files' content, of all spans that are read."""

    _num_spans = 1

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Overrides the stock driver's choice of span."""
        select_span(exec_properties)
        if SETTINGS in exec_properties:
            self._num_spans = Settings.from_json(exec_properties[SETTINGS]).num_spans
        return super().resolve_exec_properties(exec_properties, pipeline_info, component_info)

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        input_base_uri: str | None = None,
    ) -> input_processor.FileBasedInputProcessor:
        """Overrides the stock driver's choice of input processor."""
        processor = _ContentDigestInputProcessor(input_base_uri, splits, range_config)
        processor.num_spans = self._num_spans
        return processor


class _ContentDigestInputProcessor(input_processor.FileBasedInputProcessor):
    num_spans = 1

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        digests = (f"split:{split.name},sha256:{self._split_digest(split.pattern, span)}" for split in self._splits)
        return "\n".join(digests)

    def _split_digest(self, pattern: str, span: int) -> str:
        files = find_files(self._input_base_uri, pattern, span=span, num_spans=self.num_spans, glob=fileio.glob)
        return files_digest(files, fileio.open)
