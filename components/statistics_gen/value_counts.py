"""Counts the values of categories, exactly where memory allows. Runs in StatisticsGen's process.

TensorFlow Data Validation's own generators either hold every distinct value, on Beam, or sketches of 1024, where each
count may be too high by 1/1024 of the rows: of a million ids that occur once, each has 976.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_data_validation import constants
from tensorflow_data_validation import types as tfdv_types
from tensorflow_data_validation.arrow import arrow_util
from tensorflow_data_validation.statistics.generators import stats_generator
from tensorflow_data_validation.utils import schema_util, stats_util
from tensorflow_data_validation.utils import top_k_uniques_stats_util as top_k
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx_bsl.arrow import array_util
from tfx_bsl.sketches import KmvSketch, MisraGriesSketch

MOST_EXACT_VALUES = 131_072  # of one feature; about 20 MiB, or 150 MiB if all are long texts
_LONGEST_TEXT = 1024  # bytes; longer ones are counted together, as by TFDV's sketches
_NUM_TOP_VALUES, _NUM_RANKS = 20, 1000  # TFDV's defaults


class _Sketches(NamedTuple):
    distinct: KmvSketch
    counts: MisraGriesSketch
    is_integer: bool


_Accumulator = dict[tfdv_types.FeaturePath, _Sketches]


class ValueCountsGenerator(stats_generator.CombinerStatsGenerator):
    """Counts the distinct values of texts, and of integers that are categories, and the rows of the most frequent ones.

    Both are exact up to `most_values` distinct values. Beyond, the former is an estimate with a standard error of
    1 / sqrt(most_values) (k minimum values), and the rows of a value are never too many, and too few by
    1 / most_values of all its feature's at most (Misra-Gries).
    """

    def __init__(self, schema: schema_pb2.Schema, most_values: int = MOST_EXACT_VALUES) -> None:
        """Takes the schema, which says what is a category.

        Args:
            schema: The curated schema.
            most_values: Distinct values of a feature that are held in memory.
        """
        super().__init__("ValueCountsGenerator", schema)
        self._most_values = most_values
        self._images = frozenset(schema_util.get_bytes_features(schema))
        self._categories = schema_util.get_categorical_numeric_feature_types(schema)

    def create_accumulator(self) -> _Accumulator:
        """Returns the counts of no values."""
        return {}

    def add_input(self, accumulator: _Accumulator, input_record_batch: pa.RecordBatch) -> _Accumulator:
        """Counts the values of a batch."""
        for path, array, _ in arrow_util.enumerate_arrays(input_record_batch, None, enumerate_leaves_only=True):
            feature_type = stats_util.get_feature_type_from_arrow_type(path, array.type)
            if self._is_counted(path, feature_type):
                if path not in accumulator:
                    accumulator[path] = self._sketches(feature_type)
                values, _ = array_util.flatten_nested(array)
                accumulator[path].distinct.AddValues(values)
                accumulator[path].counts.AddValues(values)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        """Adds counts to those of the first accumulator."""
        first, *others = accumulators
        for other in others:
            for path, sketches in other.items():
                if path in first:
                    first[path].distinct.Merge(sketches.distinct)
                    first[path].counts.Merge(sketches.counts)
                else:
                    first[path] = sketches
        return first

    def extract_output(self, accumulator: _Accumulator) -> statistics_pb2.DatasetFeatureStatistics:
        """Returns `unique`, `top_values` and `rank_histogram` of each feature that has a value."""
        features = [self._feature(path, sketches) for path, sketches in accumulator.items()]
        return statistics_pb2.DatasetFeatureStatistics(features=[each for each in features if each])

    def _is_counted(self, path: tfdv_types.FeaturePath, feature_type: int | None) -> bool:
        if feature_type == statistics_pb2.FeatureNameStatistics.STRING:
            return path not in self._images
        is_integer = feature_type == statistics_pb2.FeatureNameStatistics.INT
        return is_integer and self._categories.get(path) == schema_pb2.INT

    def _sketches(self, feature_type: int) -> _Sketches:
        counts = MisraGriesSketch(
            num_buckets=self._most_values,
            invalid_utf8_placeholder=constants.NON_UTF8_PLACEHOLDER,
            large_string_threshold=_LONGEST_TEXT,
            large_string_placeholder=constants.LARGE_BYTES_PLACEHOLDER,
        )
        is_integer = feature_type == statistics_pb2.FeatureNameStatistics.INT
        return _Sketches(KmvSketch(self._most_values + 1), counts, is_integer)

    def _feature(
        self, path: tfdv_types.FeaturePath, sketches: _Sketches
    ) -> statistics_pb2.FeatureNameStatistics | None:
        estimate = sketches.counts.Estimate()
        if not len(estimate):
            return None
        num_unique = sketches.distinct.Estimate()
        found = _most_frequent(estimate, is_integer=sketches.is_integer, is_exact=num_unique <= self._most_values)
        return top_k.make_feature_stats_proto_topk_uniques(
            feature_path=path,
            num_top_values=_NUM_TOP_VALUES,
            num_rank_histogram_buckets=_NUM_RANKS,
            num_unique=num_unique,
            value_count_list=found,
        )


def _most_frequent(estimate: pa.StructArray, *, is_integer: bool, is_exact: bool) -> list[top_k.FeatureValueCount]:
    """Returns the values with the highest counts; of equal ones the highest values, as TFDV does on Beam."""
    values, counts = estimate.field("values"), estimate.field("counts")
    if is_integer:
        values = values.cast(pa.string()).cast(pa.int64())
    if not is_exact:  # the sketch adds to every count what it may have lost, which the smallest one tells
        counts = pc.max_element_wise(pc.subtract(counts, pc.min(counts)), 1.0)
    order = pc.sort_indices(
        pa.table({"count": counts, "value": values}), [("count", "descending"), ("value", "descending")]
    )[:_NUM_RANKS]
    pairs = zip(values.take(order).to_pylist(), counts.take(order).to_pylist(), strict=True)
    return [top_k.FeatureValueCount(value, count) for value, count in pairs]
