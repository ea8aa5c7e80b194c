"""StatisticsGen's executor: TensorFlow Data Validation without Beam, many rows at a time. Runs in its process.

TFX's reads records one by one, and hands TensorFlow Data Validation 1000 at most (tfx_bsl/tfxio/record_based_tfxio.py).
"""

import json
import os
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators.top_k_uniques_sketch_stats_generator import (
    TopKUniquesSketchStatsGenerator,
)
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx import types
from tfx.components.statistics_gen import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, stats_utils
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.example_gen.input_report import REPORT_FILE
from components.record_batches import read_features, read_record_batches
from components.statistics_gen.value_counts import ValueCountsGenerator

_JSON_OPTIONS = (
    standard_component_specs.STATS_OPTIONS_JSON_KEY,
    standard_component_specs.EXCLUDE_SPLITS_KEY,
    standard_component_specs.SAMPLE_RATE_BY_SPLIT_KEY,
)
Artifacts = dict[str, list[types.Artifact]]


class Executor(stock.Executor):
    """Writes what TFX's StatisticsGen writes; what it is asked for beyond our pipeline's needs, TFX's computes.

    Of a category with too many values to hold, the distinct ones and the most frequent ones are counted approximately:
    `ValueCountsGenerator`.
    """

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Computes the statistics of every split."""
        if needs_stock(input_dict, exec_properties):
            super().Do(input_dict, output_dict, exec_properties)
            return
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        statistics = artifact_utils.get_single_instance(output_dict[standard_component_specs.STATISTICS_KEY])
        splits = artifact_utils.decode_split_names(examples.split_names)
        statistics.split_names = artifact_utils.encode_split_names(splits)
        statistics.span = examples.span
        link = stats_utils.generate_stats_dashboard_link(statistics)
        statistics.set_string_custom_property(stock.STATS_DASHBOARD_LINK, link)
        rates = json.dumps(dict.fromkeys(splits, 1.0), sort_keys=True)
        statistics.set_json_value_custom_property(stock.SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME, rates)

        schema_dir = artifact_utils.get_single_uri(input_dict[standard_component_specs.SCHEMA_KEY])
        schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema_dir))
        # Of TFX's ExampleGen there may be features that the schema does not have.
        is_ours = fileio.exists(os.path.join(examples.uri, REPORT_FILE))
        for split in splits:
            pattern = io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))
            found = compute_statistics(pattern, schema, only_known=is_ours)
            folder = artifact_utils.get_split_uri([statistics], split)
            fileio.makedirs(folder)
            with fileio.open(os.path.join(folder, stock.DEFAULT_FILE_NAME), "wb") as file:
                file.write(found.SerializeToString())


def needs_stock(input_dict: Artifacts, exec_properties: dict[str, Any]) -> bool:
    """Says whether there is no schema, an option of TFX's StatisticsGen is set, or the examples are other files."""
    examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
    return (
        not input_dict.get(standard_component_specs.SCHEMA_KEY)
        or any(json.loads(exec_properties.get(option) or "null") for option in _JSON_OPTIONS)
        or bool(exec_properties.get(standard_component_specs.SHARDED_STATS_OUTPUT_KEY))
        or examples.has_custom_property(examples_utils.CUSTOM_SPLIT_PATTERN_PROPERTY_NAME)
        or examples_utils.get_payload_format(examples) != example_gen_pb2.FORMAT_TF_EXAMPLE
        or examples_utils.get_file_format(examples) != "tfrecords_gzip"
    )


def compute_statistics(
    file_pattern: str, schema: schema_pb2.Schema, *, only_known: bool
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Computes the statistics of tf.Examples.

    Args:
        file_pattern: Of gzipped TFRecord files.
        schema: Says which integers are categories.
        only_known: Whether the tf.Examples are known to have no feature that the schema does not have.
    """
    if only_known:
        arrow_schema = ExamplesToRecordBatchDecoder(schema.SerializeToString()).ArrowSchema()
        try:
            return _compute(_with_a_value(read_features([file_pattern], arrow_schema)), schema)
        except _ColumnWithoutValuesError:
            pass  # it may be no feature of this split
    return _compute(read_record_batches([file_pattern]), schema)


class _ColumnWithoutValuesError(Exception):
    """A column of a batch has no value."""


def _with_a_value(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    for batch in batches:
        if any(column.null_count == len(column) for column in batch.columns):
            raise _ColumnWithoutValuesError
        yield batch


def _compute(
    batches: Iterable[pa.RecordBatch], schema: schema_pb2.Schema
) -> statistics_pb2.DatasetFeatureStatisticsList:
    found = stats_impl.get_generators(tfdv.StatsOptions(schema=schema), in_memory=True)
    generators = [each for each in found if not isinstance(each, TopKUniquesSketchStatsGenerator)]
    generators.append(ValueCountsGenerator(schema))
    accumulators = [generator.create_accumulator() for generator in generators]
    is_empty = True
    for batch in batches:
        is_empty = False
        parts = zip(generators, accumulators, strict=True)
        accumulators = [generator.compact(generator.add_input(accumulator, batch)) for generator, accumulator in parts]
    if is_empty:
        return statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics_pb2.DatasetFeatureStatistics()])
    return stats_impl.extract_statistics_output(accumulators, generators)
