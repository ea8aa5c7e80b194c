"""StatisticsGen and Transform in memory, beside TFX's own on the same artifacts. The Evaluator's are in tests/e2e."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_transform as tft
from tfx.components.statistics_gen.executor import Executor as StockStatisticsGen
from tfx.components.transform.executor import Executor as StockTransform
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.record_batches import read_features, read_record_batches
from components.schema_gen import pack
from components.statistics_gen.executor import Executor as ColumnarStatisticsGen
from components.transform import preprocessing
from components.transform.executor import Executor as ColumnarTransform
from components.transform.vocabularies import domains_of
from pipeline.beam import LOCAL_BEAM_ARGS
from schema import feature_roles, load_schema

pytestmark = pytest.mark.beam
SPLITS = ("train", "eval")


def run(executor, folder, inputs, outputs, properties=None):
    """Runs an executor on artifacts; returns its outputs."""
    context = BaseBeamExecutor.Context(list(LOCAL_BEAM_ARGS), tmp_dir=str(folder / "tmp"), unique_id="test")
    artifacts = {}
    for name, kind in outputs.items():
        artifacts[name] = kind()
        artifacts[name].uri = str(folder / name)
    given, made = ({name: [each] for name, each in group.items()} for group in (inputs, artifacts))
    executor(context).Do(given, made, properties or {})
    return artifacts


def artifact(kind, uri, **fields):
    made = kind()
    made.uri = str(uri)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def examples(read, tmp_path):
    """Reads a table of every type with gaps, and gives the artifacts Examples and Schema."""

    def make(num_rows=300, *, buckets=(2, 1), gaps=True):
        random = np.random.default_rng(0)
        lines = ["depth,age,town,open,key,y"]
        for row in range(num_rows):
            gap = gaps and row % 7 == 0
            age = "" if gap else random.integers(0, 90)
            town = "" if gaps and row % 5 == 0 else random.choice(["Ulm", "Köln", "a, b"])
            lines.append(f'{random.normal():.4f},{age},"{town}",{random.integers(0, 2)},k{row},{random.integers(0, 3)}')
        (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
        found = read(buckets=buckets)
        (tmp_path / "schema").mkdir(exist_ok=True)
        (tmp_path / "schema" / "schema.pbtxt").write_text(read.schema)
        names = json.dumps(list(SPLITS))
        return {
            "examples": artifact(standard_artifacts.Examples, found.folder, split_names=names),
            "schema": artifact(standard_artifacts.Schema, tmp_path / "schema"),
        }

    return make


def statistics_of(executor, folder, inputs):
    found = run(executor, folder, inputs, {"statistics": standard_artifacts.ExampleStatistics})["statistics"]
    protos = {}
    for split in SPLITS:
        (dataset,) = tfdv.load_stats_binary(f"{found.uri}/Split-{split}/FeatureStats.pb").datasets
        protos[split] = dataset.num_examples, {each.path.step[0]: each for each in dataset.features}
    return protos, found


@pytest.mark.parametrize("options", [{}, {"gaps": False}], ids=["gaps", "full"])
def test_statistics_are_those_of_the_stock_component(examples, tmp_path, options):
    inputs = examples(**options)
    ours, artifact_of_ours = statistics_of(ColumnarStatisticsGen, tmp_path / "ours", inputs)
    stock, artifact_of_stock = statistics_of(StockStatisticsGen, tmp_path / "stock", inputs)
    assert ours == stock  # every field: of so few rows the sketches are exact
    assert artifact_of_ours.split_names == artifact_of_stock.split_names
    properties = (each.mlmd_artifact.custom_properties for each in (artifact_of_ours, artifact_of_stock))
    named = [{name: str(value) for name, value in each.items() if "link" not in name} for each in properties]
    assert named[0] == named[1]


def test_statistics_of_a_split_without_rows_are_those_of_the_stock_component(examples, tmp_path):
    inputs = examples(40)
    (empty,) = (tmp_path / "examples-0" / "Split-eval").iterdir()
    with tf.io.TFRecordWriter(str(empty), tf.io.TFRecordOptions(compression_type="GZIP")):
        pass
    ours, _ = statistics_of(ColumnarStatisticsGen, tmp_path / "ours", inputs)
    assert ours["eval"] == (0, {})
    assert ours == statistics_of(StockStatisticsGen, tmp_path / "stock", inputs)[0]


def test_statistics_tell_of_features_that_the_schema_does_not_have(examples, tmp_path):
    inputs = examples(60)
    (tmp_path / "examples-0" / "input.json").unlink()  # so that nobody knows who wrote the examples
    (file,) = (tmp_path / "examples-0" / "Split-train").iterdir()
    write_examples(file, [{"depth": [1.0], "surprise": [b"x"]}, {"depth": [2.0]}])
    ours, _ = statistics_of(ColumnarStatisticsGen, tmp_path / "ours", inputs)
    assert "surprise" in ours["train"][1]
    assert ours == statistics_of(StockStatisticsGen, tmp_path / "stock", inputs)[0]


def test_column_without_a_value_is_no_column(examples, tmp_path):
    inputs = examples(60)
    (file,) = (tmp_path / "examples-0" / "Split-train").iterdir()
    write_examples(file, [{"depth": [1.0], "y": [1]}, {"depth": [2.0], "y": [0]}])
    ours, _ = statistics_of(ColumnarStatisticsGen, tmp_path / "ours", inputs)
    assert set(ours["train"][1]) == {"depth", "y"}
    assert ours == statistics_of(StockStatisticsGen, tmp_path / "stock", inputs)[0]


def write_examples(file, rows):
    """Writes rows of lists by feature; None is a feature of no kind."""
    with tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for row in rows:
            example = tf.train.Example()
            for name, values in row.items():
                feature = example.features.feature[name]
                if values is None:
                    continue
                kind = {float: "float_list", int: "int64_list", bytes: "bytes_list"}[type([*values, 0.0][0])]
                getattr(feature, kind).value.extend(values)
                getattr(feature, kind).SetInParent()
            writer.write(example.SerializeToString())


def test_features_are_read_as_tfx_bsl_reads_them(tmp_path):
    rows = [
        {"depth": [1.5], "age": [7], "town": [b"Ulm"]},
        {"depth": [2.5], "age": None},
        {"age": [2**62], "town": [b"", b"two"]},
        {},
    ]
    write_examples(tmp_path / "a.gz", rows[:3])
    write_examples(tmp_path / "b.gz", rows[3:])
    types = {"depth": pa.float32(), "age": pa.int64(), "town": pa.large_binary()}
    schema = pa.schema([(name, pa.large_list(kind)) for name, kind in types.items()])
    found = pa.Table.from_batches(read_features([f"{tmp_path}/*.gz"], schema, batch_size=2))
    known = pa.Table.from_batches(read_record_batches([f"{tmp_path}/*.gz"]))
    assert known.num_rows == 4
    for name in types:
        assert found[name].to_pylist() == known[name].to_pylist()
        assert found[name].type == known[name].type


def test_missing_value_is_null_whichever_way_it_is_missing(tmp_path):
    write_examples(tmp_path / "a.gz", [{"depth": []}, {"depth": None}, {}, {"depth": [1.0]}])
    schema = ExamplesToRecordBatchDecoder(
        load_schema_text('feature { name: "depth" type: FLOAT }').SerializeToString()
    ).ArrowSchema()
    (batch,) = read_features([f"{tmp_path}/a.gz"], schema)
    assert batch["depth"].to_pylist() == [None, None, None, [1.0]]


def load_schema_text(text):
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse(text, schema_pb2.Schema())


def test_batches_of_many_features_have_fewer_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("components.record_batches._MOST_VALUES", 6)
    write_examples(tmp_path / "a.gz", [{"a": [1.0], "b": [1.0]}] * 8)
    schema = pa.schema([(name, pa.large_list(pa.float32())) for name in ("a", "b")])
    assert [batch.num_rows for batch in read_features([f"{tmp_path}/a.gz"], schema)] == [3, 3, 2]


def transform_properties(schema):
    roles = feature_roles(schema, "y", None)
    config = {
        "roles": dataclasses.asdict(roles),
        "domains": pack(json.dumps(domains_of(schema, roles))),
        "clip": False,
        "missing_indicator": True,
        "min_frequency": 1,
    }
    return {
        "module_file": preprocessing.__file__,
        "custom_config": json.dumps(config),
        "disable_statistics": 1,
        "force_tf_compat_v1": 0,
    }


def test_graph_transforms_as_that_of_the_stock_component(examples, tmp_path):
    inputs = examples()
    properties = transform_properties(load_schema(str(tmp_path / "schema" / "schema.pbtxt")))
    (file,) = (tmp_path / "examples-0" / "Split-eval").iterdir()
    rows = list(tf.data.TFRecordDataset(str(file), compression_type="GZIP").as_numpy_iterator())
    found = {}
    for name, executor in (("ours", ColumnarTransform), ("stock", StockTransform)):
        graph = run(
            executor, tmp_path / name, inputs, {"transform_graph": standard_artifacts.TransformGraph}, properties
        )["transform_graph"]
        output = tft.TFTransformOutput(graph.uri)
        assert not (tmp_path / name / "transform_graph" / ".temp").exists()
        raw = tf.io.parse_example(tf.constant(rows), output.raw_feature_spec())
        found[name] = output.transform_features_layer()(raw)
    assert found["ours"].keys() == found["stock"].keys()
    for name, values in found["stock"].items():
        np.testing.assert_array_equal(found["ours"][name].numpy(), values.numpy())


def test_rows_are_materialized_as_by_the_stock_component(examples, tmp_path):
    inputs = examples(50)
    schema = load_schema(str(tmp_path / "schema" / "schema.pbtxt"))
    kinds = {
        "transform_graph": standard_artifacts.TransformGraph,
        "transformed_examples": standard_artifacts.Examples,
    }
    found = {}
    for name, executor in (("ours", ColumnarTransform), ("stock", StockTransform)):
        made = run(executor, tmp_path / name, inputs, kinds, transform_properties(schema))["transformed_examples"]
        assert sorted(json.loads(made.split_names)) == sorted(SPLITS)
        found[name] = {}
        for split in SPLITS:
            files = [str(file) for file in (tmp_path / name / "transformed_examples" / f"Split-{split}").iterdir()]
            records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
            rows = [tf.train.Example.FromString(record).features.feature for record in records]
            found[name][split] = sorted(str(sorted((key, str(row[key])) for key in row)) for row in rows)
    assert len(found["ours"]["train"]) + len(found["ours"]["eval"]) == 50
    assert found["ours"] == found["stock"]
