"""StatisticsGen on many rows and many categories, beside TFX's own; small tables are in test_columnar.py."""

import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.statistics_gen.executor import Executor as StockStatisticsGen
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.statistics_gen.executor import Executor as ColumnarStatisticsGen
from components.statistics_gen.executor import needs_stock
from components.statistics_gen.value_counts import ValueCountsGenerator
from pipeline.beam import LOCAL_BEAM_ARGS

pytestmark = pytest.mark.beam
SCHEMA = """
feature { name: "depth" type: FLOAT }
feature { name: "count" type: INT }
feature { name: "key" type: BYTES annotation { tag: "id" } }
feature { name: "town" type: BYTES }
feature { name: "code" type: INT int_domain { is_categorical: true } }
feature { name: "label" type: BYTES string_domain { value: "no" value: "yes" } }
feature { name: "weight" type: FLOAT }
weighted_feature { name: "weighted_depth" feature { step: "depth" } weight_feature { step: "weight" } }
"""
TEXTS = ("key", "town", "code", "label")
NUMBERS = ("depth", "count", "weight")
EPSILON = 0.01  # of TFDV's quantile sketches, as a share of the rows
NUM_ROWS = 40_000  # more than a batch


def statistics_of(executor, folder, inputs, properties=None):
    """Runs StatisticsGen; returns each split's features by name, and the artifact."""
    context = BaseBeamExecutor.Context(list(LOCAL_BEAM_ARGS), tmp_dir=str(folder / "tmp"), unique_id="test")
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(folder / "statistics")
    given = {name: [each] for name, each in inputs.items()}
    executor(context).Do(given, {"statistics": [statistics]}, properties or {})
    found = {}
    for split in json.loads(statistics.split_names):
        (dataset,) = tfdv.load_stats_binary(f"{statistics.uri}/Split-{split}/FeatureStats.pb").datasets
        found[split] = {each.path.step[0]: each for each in dataset.features} | {"": dataset.num_examples}
    return found, statistics


def columns_of(num_rows):
    """Returns numbers, ids that occur once, texts and integers of which few are frequent and most are rare."""
    random = np.random.default_rng(0)
    is_missing = random.random(num_rows) < 0.1
    depth = random.normal(size=num_rows).astype(np.float32)
    depth[:50] = np.nan
    return {
        "depth": pa.array(depth),
        "count": pa.array(random.poisson(5, num_rows), mask=is_missing),
        "key": pa.array([f"row-{row}".encode() for row in range(num_rows)]),
        "town": pa.array([f"Köln {town}".encode() for town in random.zipf(1.3, num_rows) % 10_000], mask=is_missing),
        "code": pa.array(random.integers(-3000, 3000, num_rows)),
        "label": pa.array([b"yes" if row % 3 else b"no" for row in range(num_rows)]),
        "weight": pa.array(random.random(num_rows).astype(np.float32)),
    }


def as_lists(column):
    lengths = np.asarray(column.is_valid()).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    is_missing = np.append(lengths == 0, False)
    starts = pa.array(offsets, mask=is_missing) if is_missing.any() else pa.array(offsets)
    return pa.LargeListArray.from_arrays(starts, column.drop_null())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Examples in several files, a split of one file, and their schema."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").write_text(SCHEMA)
    columns = columns_of(NUM_ROWS)
    batch = pa.RecordBatch.from_arrays([as_lists(each) for each in columns.values()], list(columns))
    examples = RecordBatchToExamplesEncoder().encode(batch)
    (folder / "examples").mkdir()
    (folder / "examples" / "input.json").write_text("{}")  # as of our ExampleGen
    files = {"train": [examples[:1000], examples[1000:35_000], examples[35_000:]], "eval": [examples[:200]]}
    for split, parts in files.items():
        (folder / "examples" / f"Split-{split}").mkdir()
        for number, part in enumerate(parts):
            file = folder / "examples" / f"Split-{split}" / f"data_tfrecord-{number}.gz"
            with tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
                for example in part:
                    writer.write(example)
    artifacts = {"examples": standard_artifacts.Examples(), "schema": standard_artifacts.Schema()}
    for name, artifact in artifacts.items():
        artifact.uri = str(folder / name)
    artifacts["examples"].split_names = json.dumps(list(files))
    artifacts["examples"].span = 7
    return artifacts


@pytest.fixture(scope="module")
def both(inputs, tmp_path_factory):
    """The statistics of the split `train`, by our executor and by TFX's."""
    executors = {"ours": ColumnarStatisticsGen, "stock": StockStatisticsGen}
    found = {name: statistics_of(each, tmp_path_factory.mktemp(name), inputs) for name, each in executors.items()}
    assert {artifact.span for _, artifact in found.values()} == {7}
    return {name: splits["train"] for name, (splits, _) in found.items()}


def test_every_row_of_every_file_is_counted(both):
    assert both["ours"][""] == both["stock"][""] == NUM_ROWS
    assert both["ours"].keys() == both["stock"].keys() == {"", *TEXTS, *NUMBERS, "weighted_depth"}


@pytest.mark.parametrize("name", TEXTS)
def test_categories_are_those_of_the_stock_component(both, name):
    ours, stock = both["ours"][name].string_stats, both["stock"][name].string_stats
    assert ours.unique == stock.unique
    assert list(ours.rank_histogram.buckets) == list(stock.rank_histogram.buckets)  # ties too, of which ids are full
    assert list(ours.top_values) == list(stock.top_values)
    assert both["ours"][name] == both["stock"][name]


def test_weighted_feature_is_that_of_the_stock_component(both):
    assert both["ours"]["weighted_depth"] == both["stock"]["weighted_depth"]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_those_of_the_stock_component_to_the_precision_of_its_sketches(both, name):
    ours, stock = both["ours"][name].num_stats, both["stock"][name].num_stats
    for field in ("num_zeros", "min", "max"):
        assert getattr(ours, field) == getattr(stock, field)
    for field in ("num_non_missing", "num_missing", "min_num_values", "max_num_values", "tot_num_values"):
        assert getattr(ours.common_stats, field) == getattr(stock.common_stats, field)
    np.testing.assert_allclose([ours.mean, ours.std_dev], [stock.mean, stock.std_dev], rtol=1e-9)
    column = columns_of(NUM_ROWS)[name]
    values = np.sort(np.asarray(column.drop_null(), float))
    values = values[~np.isnan(values)]
    assert _rank_error(values, ours.median, 0.5) <= 2 * EPSILON
    assert len(ours.histograms) == len(stock.histograms) == 2
    for one, other in zip(ours.histograms, stock.histograms, strict=True):
        assert (one.type, one.num_nan, len(one.buckets)) == (other.type, other.num_nan, len(other.buckets))
        counts = [[each.sample_count for each in histogram.buckets] for histogram in (one, other)]
        np.testing.assert_allclose(*np.cumsum(counts, axis=1), atol=2 * EPSILON * len(values))
    (deciles,) = (each.buckets for each in ours.histograms if each.type == each.QUANTILES)
    for number, bucket in enumerate(deciles):
        assert _rank_error(values, bucket.low_value, number / len(deciles)) <= 2 * EPSILON


def _rank_error(values, value, share):
    """Returns by how many of the rows a quantile is off; equal values share all their ranks."""
    low, high = (np.searchsorted(values, value, side) / len(values) for side in ("left", "right"))
    return max(low - share, share - high, 0)


def test_options_of_the_stock_component_are_honoured(inputs, tmp_path):
    options = {
        "exclude_splits": json.dumps(["train"]),
        "stats_options_json": tfdv.StatsOptions(num_top_values=2).to_json(),
    }
    found, artifact = statistics_of(ColumnarStatisticsGen, tmp_path, inputs, options)
    assert json.loads(artifact.split_names) == ["eval"]
    assert len(found["eval"]["town"].string_stats.top_values) == 2


@pytest.mark.parametrize(
    ("properties", "custom", "needed"),
    [
        ({"exclude_splits": "[]", "sample_rate_by_split": "null", "stats_options_json": None}, {}, False),
        ({}, {"payload_format": "FORMAT_TF_EXAMPLE", "file_format": "tfrecords_gzip"}, False),
        ({"sample_rate_by_split": '{"train": 0.5}'}, {}, True),
        ({"sharded_stats_output": 1}, {}, True),
        ({}, {"payload_format": "FORMAT_PROTO"}, True),
        ({}, {"file_format": "parquet"}, True),
        ({}, {"custom_split_pattern": '{"train": "rows-*"}'}, True),
    ],
)
def test_what_only_the_stock_component_knows_is_left_to_it(properties, custom, needed):
    examples = standard_artifacts.Examples()
    for name, value in custom.items():
        examples.set_string_custom_property(name, value)
    assert needs_stock({"examples": [examples], "schema": [standard_artifacts.Schema()]}, properties) is needed


def test_without_a_schema_integers_are_numbers(inputs, tmp_path):
    properties = {"exclude_splits": json.dumps(["train"])}
    found, _ = statistics_of(ColumnarStatisticsGen, tmp_path, {"examples": inputs["examples"]}, properties)
    assert found["eval"]["code"].WhichOneof("stats") == "num_stats"
    assert found["eval"][""] == 200


def generator_of(most_values):
    return ValueCountsGenerator(text_format.Parse(SCHEMA, schema_pb2.Schema()), most_values)


def counted(generator, batches):
    """Returns the statistics of a column, and how often each value is said to occur."""
    accumulator = generator.create_accumulator()
    for name, values in batches:
        lists = pa.array([[value] for value in values], pa.large_list(pa.large_binary()))
        accumulator = generator.add_input(accumulator, pa.RecordBatch.from_arrays([lists], [name]))
    (feature,) = generator.extract_output(accumulator).features
    return feature.string_stats, {each.label: each.sample_count for each in feature.string_stats.rank_histogram.buckets}


def test_beyond_what_memory_holds_counts_are_too_low_by_a_known_share_and_never_too_high():
    most_values, num_ids = 256, 20_000
    truth = {f"town {number}": 400 * (number + 1) for number in range(10)}
    values = [town.encode() for town, count in truth.items() for _ in range(count)]
    values += [f"row-{row}".encode() for row in range(num_ids)]
    np.random.default_rng(0).shuffle(values)
    batches = [("town", values[start : start + 5000]) for start in range(0, len(values), 5000)]
    statistics, counts = counted(generator_of(most_values), batches)
    assert list(counts)[:10] == sorted(truth, key=truth.get, reverse=True)
    for town, count in truth.items():
        assert count - len(values) / most_values <= counts.pop(town) <= count
    assert set(counts.values()) == {1}  # each id occurs once
    assert statistics.unique == pytest.approx(num_ids + 10, rel=3 / np.sqrt(most_values))


def test_what_memory_just_holds_is_counted_exactly():
    statistics, counts = counted(generator_of(256), [("key", [f"{row % 256}".encode() for row in range(1000)])])
    assert statistics.unique == 256
    assert counts == {f"{value}": 4 if value < 1000 - 3 * 256 else 3 for value in range(256)}


def test_parts_add_up():
    generator = generator_of(256)
    parts = [generator.create_accumulator() for _ in range(3)]
    for part, names in zip(parts, (("town",), ("town", "key"), ()), strict=True):
        columns = [pa.array([[b"Ulm"], [b"Ulm"], None], pa.large_list(pa.large_binary()))] * len(names)
        if names:
            generator.add_input(part, pa.RecordBatch.from_arrays(columns, list(names)))
    features = generator.extract_output(generator.merge_accumulators(parts)).features
    found = {each.path.step[0]: each.string_stats.top_values[0].frequency for each in features}
    assert found == {"town": 4, "key": 2}


def test_long_texts_are_counted_together():
    long = [b"a" * 2000, b"b" * 2000]
    statistics, counts = counted(generator_of(256), [("town", [*long, b"Ulm"])])
    assert counts == {"__LARGE_BYTES__": 2, "Ulm": 1}
    assert statistics.unique == 3
