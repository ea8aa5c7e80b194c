"""Transform's executor: TensorFlow Transform, fed with many rows at a time. Runs in Transform's process.

TFX's reads records one by one and hands TensorFlow Transform 1000 at most (tfx_bsl/tfxio/record_based_tfxio.py), which
costs more than the analysis.
"""

import os
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata
from tfx import types
from tfx.components.transform import executor as stock
from tfx.components.transform import executor_utils, labels
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils
from tfx_bsl.tfxio import tf_example_record

from components.record_batches import read_features

Artifacts = dict[str, list[types.Artifact]]


class Executor(stock.Executor):
    """Writes what TFX's Transform writes: the graph and, where it is asked to, the transformed rows."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Analyses the split `train`, and materializes every split if `transformed_examples` is among the outputs."""
        self._log_startup(input_dict, output_dict, exec_properties)
        graph_dir = artifact_utils.get_single_uri(output_dict[standard_component_specs.TRANSFORM_GRAPH_KEY])
        schema_dir = artifact_utils.get_single_uri(input_dict[standard_component_specs.SCHEMA_KEY])
        schema_file = io_utils.get_only_uri_in_dir(schema_dir)
        preprocessing_fn = self._preprocessing_fn(exec_properties, schema_file, graph_dir)
        schema = io_utils.SchemaReader().read(schema_file)
        rows = tf_example_record.TFExampleRecord("", schema=schema)

        temp_dir = os.path.join(graph_dir, ".temp")
        with self._make_beam_pipeline() as pipeline, tft_beam.Context(temp_dir, use_deep_copy_optimization=True):
            batches = pipeline | "Train" >> _Read(_pattern(input_dict, "train"), rows.ArrowSchema())
            transform_fn = (batches, rows.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(preprocessing_fn)
            transform_fn | tft_beam.WriteTransformFn(graph_dir)
            for split, path in _materialized(input_dict, output_dict):
                batches = pipeline | f"Read[{split}]" >> _Read(_pattern(input_dict, split), rows.ArrowSchema())
                data = (batches, rows.TensorAdapterConfig())
                to_batches = tft_beam.TransformDataset(output_record_batches=True)
                transformed, _ = (data, transform_fn) | f"Transform[{split}]" >> to_batches
                write = stock.TransformProcessor._EncodeAndWrite(
                    schema=transform_fn[1].schema, file_format=labels.FORMAT_TFRECORD, output_path=path
                )
                transformed | f"Write[{split}]" >> write
            raw_dir = os.path.join(graph_dir, tft.TFTransformOutput.RAW_METADATA_DIR)
            DatasetMetadata(schema) | tft_beam.WriteMetadata(raw_dir, pipeline)
        io_utils.delete_dir(temp_dir)

    def _preprocessing_fn(self, exec_properties: dict[str, Any], schema_file: str, graph_dir: str) -> Any:
        keys = {
            labels.MODULE_FILE: standard_component_specs.MODULE_FILE_KEY,
            labels.MODULE_PATH: standard_component_specs.MODULE_PATH_KEY,
            labels.PREPROCESSING_FN: standard_component_specs.PREPROCESSING_FN_KEY,
            labels.CUSTOM_CONFIG: standard_component_specs.CUSTOM_CONFIG_KEY,
        }
        inputs = {label: exec_properties.get(key) for label, key in keys.items()}
        inputs[labels.SCHEMA_PATH_LABEL] = schema_file
        return self._GetPreprocessingFn(inputs, {labels.TRANSFORM_METADATA_OUTPUT_PATH_LABEL: graph_dir})


class _Read(beam.PTransform):
    """Reads known features of gzipped TFRecord files into RecordBatches."""

    def __init__(self, pattern: str, schema: pa.Schema) -> None:
        super().__init__()
        self._pattern, self._schema = pattern, schema

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[pa.RecordBatch]:
        read = beam.FlatMap(lambda pattern, schema: read_features([pattern], schema), self._schema)
        return pipeline | beam.Create([self._pattern]) | read.with_output_types(pa.RecordBatch)


def _materialized(input_dict: Artifacts, output_dict: Artifacts) -> list[tuple[str, str]]:
    """Returns every split that is to be written transformed, with the prefix of its files; none if none is."""
    transformed = output_dict.get(standard_component_specs.TRANSFORMED_EXAMPLES_KEY, [])
    (examples,) = input_dict[standard_component_specs.EXAMPLES_KEY]
    splits = artifact_utils.decode_split_names(examples.split_names) if transformed else []
    executor_utils.SetSplitNames(splits, transformed)
    return list(zip(splits, executor_utils.GetSplitPaths(transformed), strict=True))


def _pattern(input_dict: Artifacts, split: str) -> str:
    examples = input_dict[standard_component_specs.EXAMPLES_KEY]
    return io_utils.all_files_pattern(artifact_utils.get_split_uri(examples, split))
