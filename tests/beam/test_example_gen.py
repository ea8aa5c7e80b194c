"""ExampleGen on sound files: every format gives the same rows, and stock CsvExampleGen the same values."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from tfx.components.example_gen.csv_example_gen import executor as stock
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.data_gate import DataRefusedError
from components.example_gen.hashing import hash_rows
from components.example_gen.splits import by_hash, stratified
from pipeline.beam import LOCAL_BEAM_ARGS

pytestmark = pytest.mark.beam

THREE = {"splits": ("train", "eval", "test"), "buckets": (6, 3, 1)}


def make_table(num_rows=600, seed=0, with_missing=True):
    random = np.random.default_rng(seed)
    missing = random.random(num_rows) < 0.1 if with_missing else None
    return pa.table(
        {
            "depth": pa.array(random.normal(size=num_rows).round(4)),
            "age": pa.array(random.integers(-5, 90, num_rows), mask=missing),
            "town": pa.array(random.choice(["Ulm", "Rome, IT", 'the "Hague"', "Köln\nWest"], num_rows), mask=missing),
            "open": pa.array(random.random(num_rows) < 0.5),
            "key": pa.array([f"{seed}-{i:05}" for i in range(num_rows)]),
            "y": pa.array(random.choice(3, num_rows, p=[0.7, 0.25, 0.05])),
        }
    )


def write_csv(table, file, **options):
    pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(**options))


def write(table, folder, name):
    folder.mkdir(exist_ok=True)
    file = folder / name
    if name.endswith(".parquet"):
        pq.write_table(table, file, row_group_size=100)
    elif name.endswith(".feather"):
        pyarrow.feather.write_feather(table, file)
    elif name.endswith(".arrows"):
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    else:
        write_csv(table, file)
        content = file.read_bytes()
        if name.endswith(".gz"):
            content = gzip.compress(content)
        elif name.endswith(".zst"):
            content = pa.compress(content, "zstd", asbytes=True)
        elif name == "crlf.csv":
            content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n").replace(b"ln\r\nWest", b"ln\nWest")
        file.write_bytes(content)


def keyed(examples):
    splits = examples.report["rows"]
    return {row["key"]: (split, row) for split in splits for row in examples.rows(split)}


FORMATS = ["a.csv", "a.csv.gz", "a.csv.zst", "crlf.csv", "a.parquet", "a.feather", "a.arrows"]


def test_every_format_gives_the_same_rows_in_the_same_splits(read, tmp_path):
    table = make_table()
    found = {}
    for name in FORMATS:
        write(table, tmp_path / name.replace(".", "-"), name)
        found[name] = keyed(read("*", folder=tmp_path / name.replace(".", "-"), **THREE))
    expected = found.pop("a.csv")
    assert len(expected) == 600
    row = table.slice(7, 1).to_pylist()[0]
    _, first = expected[row["key"].encode()]
    assert first == {
        "depth": np.float32(row["depth"]),
        "age": row["age"],
        "town": row["town"] and row["town"].encode(),
        "open": int(row["open"]),
        "key": row["key"].encode(),
        "y": row["y"],
    }
    for name, rows in found.items():
        assert rows == expected, name


def test_columns_in_another_order_change_nothing(read, tmp_path):
    table = make_table(200)
    write(table, tmp_path / "one", "a.csv")
    write(table.select(["y", "key", "town", "depth", "open", "age"]), tmp_path / "other", "a.csv")
    assert keyed(read(folder=tmp_path / "one")) == keyed(read(folder=tmp_path / "other"))


@pytest.mark.parametrize(
    "options",
    [
        {"split": {"by": "row"}},
        {"split": {"by": "key", "keys": ["town", "age"]}},
        {"split": {"by": "row", "stratify": True}},
    ],
    ids=["row", "key", "stratified"],
)
def test_cutting_files_and_appending_rows_moves_no_row(read, tmp_path, options):
    table, more = make_table(), make_table(300, seed=1)
    write(table, tmp_path / "whole", "a.csv")
    for index, start in enumerate((0, 150, 190, 450)):
        write(table.slice(start, (150, 190, 450, 600)[index] - start), tmp_path / "cut", f"part-{index}.parquet")
    write(table, tmp_path / "appended", "a.csv")
    write(more, tmp_path / "appended", "b.csv")
    write(pa.concat_tables([table, more]), tmp_path / "longer", "a.csv")
    splits = read(folder=tmp_path / "whole", **THREE, **options).splits()
    assert read("*", folder=tmp_path / "cut", **THREE, **options).splits() == splits
    for folder in ("appended", "longer"):
        longer = read(folder=tmp_path / folder, **THREE, **options).splits()
        assert len(longer) == 900
        assert {key: longer[key] for key in splits} == splits


def test_hash_splits_have_about_their_shares(read, tmp_path):
    write(make_table(6000), tmp_path / "data", "a.parquet")
    examples = read("*", folder=tmp_path / "data", **THREE)
    counts = np.array(list(examples.report["rows"].values()))
    assert counts.sum() == len(examples.splits()) == 6000
    deviations = 5 * np.sqrt(6000 * np.array([0.6 * 0.4, 0.3 * 0.7, 0.1 * 0.9]))
    assert (np.abs(counts - [3600, 1800, 600]) < deviations).all()


def test_stratified_splits_have_every_class_to_a_row(read, tmp_path):
    write(make_table(1000), tmp_path / "data", "a.csv")
    examples = read(folder=tmp_path / "data", split={"by": "row", "stratify": True}, **THREE)
    counts = {split: np.bincount([row["y"] for row in examples.rows(split)], minlength=3) for split in THREE["splits"]}
    totals = sum(counts.values())
    assert totals.sum() == 1000
    for split, share in zip(THREE["splits"], (0.6, 0.3, 0.1), strict=True):
        assert (np.abs(counts[split] - share * totals) < 1).all(), (split, counts)


def test_rows_with_equal_keys_stay_together(read, tmp_path):
    write(make_table(1000), tmp_path / "data", "a.csv")
    examples = read(folder=tmp_path / "data", split={"by": "key", "keys": ["age"]}, **THREE)
    ages = [{row["age"] for row in examples.rows(split)} for split in THREE["splits"]]
    assert not ages[0] & ages[1]
    assert not ages[0] & ages[2]
    assert not ages[1] & ages[2]
    assert sum(map(len, ages)) > 50


def test_column_decides_and_is_no_feature(read, tmp_path):
    table = make_table(90)
    folds = pa.array([1, 2, 3] * 30)
    split = {"by": "column", "column": "fold", "values": {"train": ["1"], "eval": ["2"], "test": ["3"]}}
    for name in ("a.csv", "a.parquet"):
        write(table.append_column("fold", folds), tmp_path / name.replace(".", "-"), name)
        examples = read("*", folder=tmp_path / name.replace(".", "-"), split=split, **THREE)
        assert examples.report["rows"] == {"train": 30, "eval": 30, "test": 30}
        assert examples.splits()["0-00004"] == "eval"
        assert "fold" not in examples.rows("train")[0]


def test_value_of_no_split_is_refused(read, tmp_path):
    write(make_table(9).append_column("fold", pa.array(["a", "b", "c"] * 3)), tmp_path / "data", "a.csv")
    split = {"by": "column", "column": "fold", "values": {"train": ["a"], "eval": ["b"]}}
    with pytest.raises(DataRefusedError, match=r"a.csv line \d+: column 'fold' 'c' is in none of the splits of"):
        read(folder=tmp_path / "data", split=split)
    write(make_table(9), tmp_path / "other", "a.csv")
    with pytest.raises(DataRefusedError, match=r"has no column 'fold', by which example_gen.split splits"):
        read(folder=tmp_path / "other", split=split)


@pytest.mark.parametrize("kind", ["text", "timestamp", "seconds"])
def test_time_decides(read, tmp_path, kind):
    days = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]")
    times = {
        "text": pa.array([f"{day}T12:00:00+02:00" for day in days]),
        "timestamp": pa.array(days.astype("datetime64[us]")),
        "seconds": pa.array(days.astype("datetime64[s]").astype(int)),
    }[kind]
    write(make_table(100).append_column("day", times), tmp_path / "data", "a.parquet")
    split = {"by": "time", "column": "day", "ends": ["2024-03-01", "2024-04-01T00:00:00+00:00"]}
    examples = read("*", folder=tmp_path / "data", split=split, **THREE)
    assert examples.report["rows"] == {"train": 60, "eval": 31, "test": 9}


def test_time_that_is_none_is_refused(read, tmp_path):
    days = pa.array(["2024-01-01"] * 50 + ["2024-06-01"] * 48 + ["June", None])
    write(make_table(100).append_column("day", days), tmp_path / "data", "a.csv")
    split = {"by": "time", "column": "day", "ends": ["2024-03-01"]}
    with pytest.raises(
        DataRefusedError, match=r"(?s)column 'day' 'June' is not a time in ISO 8601.*'day' is empty: is not"
    ):
        read(folder=tmp_path / "data", split=split)


def test_duplicates_are_counted_and_stay(read, tmp_path):
    table = make_table(300)
    again = pa.concat_tables([table, table.slice(3, 2), table.slice(3, 1)])
    renamed = table.slice(9, 1).set_column(0, "depth", pa.array([77.0]))
    write(pa.concat_tables([again, renamed]), tmp_path / "data", "a.csv")
    report = read(folder=tmp_path / "data").report
    assert sum(report["rows"].values()) == 304
    assert report["duplicate_rows"] == 3
    assert report["duplicate_ids"] == 4
    assert "a.csv row 301 is a.csv row 4" in report["duplicate_row_examples"]


def test_digest_is_that_of_the_rows_and_not_of_the_files(read, tmp_path):
    table = make_table(300)
    tables = {
        "whole": {"a.csv": table},
        "cut": {"a.csv": table.slice(200), "b.csv": table.slice(0, 200)},
        "changed": {"a.csv": table.set_column(0, "depth", pa.array([1.5, *table["depth"].to_pylist()[1:]]))},
        "shorter": {"a.csv": table.slice(1)},
        "doubled": {"a.csv": pa.concat_tables([table, table.slice(0, 2)])},
    }
    digests = {}
    for name, files in tables.items():
        for file, part in files.items():
            write(part, tmp_path / name, file)
        digests[name] = read(folder=tmp_path / name).report["digest"]
    assert digests.pop("cut") == digests["whole"]
    assert len(set(digests.values())) == 4
    assert all(len(digest) == 64 for digest in digests.values())


def test_unlabelled_rows_need_neither_label_nor_id(read, tmp_path):
    write(make_table(20).drop_columns(["y", "key"]), tmp_path / "data", "a.csv")
    examples = read(folder=tmp_path / "data", label="", splits=("unlabelled",), buckets=(1,))
    assert sorted(examples.rows("unlabelled")[0]) == ["age", "depth", "key", "open", "town"]
    write(make_table(20), tmp_path / "labelled", "a.csv")
    assert "y" not in read(folder=tmp_path / "labelled", label="", splits=("u",), buckets=(1,)).rows("u")[0]


def test_optional_column_may_be_missing_and_is_told(read, tmp_path):
    write(make_table(30).drop_columns(["age"]), tmp_path / "data", "a.csv")
    examples = read(folder=tmp_path / "data", ignore_columns=("nothing",))
    assert examples.report["notes"] == [f"{tmp_path}/data/a.csv has no column 'age'; it is missing in every row"]
    assert {row["age"] for row in examples.rows("train")} == {None}


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_whole_numbers_may_be_the_names_of_classes(read, tmp_path, name):
    schema = read.schema[: read.schema.index('feature {\n  name: "y"')] + (
        'feature { name: "y" type: BYTES presence { min_fraction: 1.0 } shape { dim { size: 1 } } '
        'string_domain { value: "-1" value: "1" } not_in_environment: "SERVING" }'
    )
    table = make_table(60).set_column(5, "y", pa.array([-1, 1] * 30))
    write(table, tmp_path / "data", name)
    examples = read("*", folder=tmp_path / "data", schema=schema)
    assert {row["y"] for split in ("train", "eval") for row in examples.rows(split)} == {b"-1", b"1"}


def stock_rows(folder, output_dir):
    """Returns the rows of stock CsvExampleGen, each as sorted names and values."""
    import tensorflow as tf

    examples = standard_artifacts.Examples()
    examples.uri = str(output_dir)
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(LOCAL_BEAM_ARGS), tmp_dir=str(output_dir), unique_id="s")
    splits = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1) for name in ("train", "eval")]
    properties = {
        "input_base": str(folder),
        "input_config": proto_utils.proto_to_json(
            example_gen_pb2.Input(splits=[example_gen_pb2.Input.Split(name="rows", pattern="*.csv")])
        ),
        "output_config": proto_utils.proto_to_json(
            example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))
        ),
    }
    stock.Executor(context).Do({}, {"examples": [examples]}, properties)
    return sorted(
        _values(tf.train.Example.FromString(record))
        for split in ("train", "eval")
        for record in tf.data.TFRecordDataset(
            [str(file) for file in Path(examples.uri, f"Split-{split}").iterdir()], compression_type="GZIP"
        ).as_numpy_iterator()
    )


def _values(example):
    features = example.features.feature
    kinds = {name: features[name].WhichOneof("kind") for name in features}
    return str(
        sorted((name, list(getattr(features[name], kind).value) if kind else []) for name, kind in kinds.items())
    )


@pytest.mark.parametrize("seed", range(4))
def test_stock_csv_example_gen_gives_the_same_values(read, tmp_path, seed):
    import tensorflow as tf

    table = make_table(400, seed, with_missing=seed % 2 == 1).drop_columns(["open"])
    (tmp_path / "data").mkdir()
    write_csv(table, tmp_path / "data" / "a.csv", quoting_style="needed")
    lines = (tmp_path / "data" / "a.csv").read_text().split("\n", 1)
    (tmp_path / "data" / "a.csv").write_text(lines[0].replace('"', "") + "\n" + lines[1])
    ours = read(folder=tmp_path / "data", buckets=(1, 1))
    rows = [
        _values(_without_open(tf.train.Example.FromString(record)))
        for split in ("train", "eval")
        for record in tf.data.TFRecordDataset(
            [str(file) for file in (ours.folder / f"Split-{split}").iterdir()], compression_type="GZIP"
        ).as_numpy_iterator()
    ]
    assert sorted(rows) == stock_rows(tmp_path / "data", tmp_path / "stock")


def _without_open(example):
    example.features.feature.pop("open")
    return example


def test_hashes_and_splits_never_change():
    columns = {
        "a": pa.array([1, None, -3]),
        "b": pa.array([b"x", b"", None]),
        "c": pa.array([0.0, -0.0, 1.5], pa.float32()),
    }
    assert hash_rows(columns).tolist() == [699589135142524412, 14239589753687488169, 4505684971374246282]
    assert by_hash(np.array([0, 1, 2, 3], np.uint64), (2, 1)).tolist() == [0, 0, 1, 0]
    hashes = np.array([9, 8, 9, 7, 6, 5], np.uint64)
    assert stratified(hashes, np.array([0, 0, 0, 0, 1, 0]), (2, 1)).tolist() == [0, 1, 0, 0, 0, 0]


def test_hashes_are_those_of_another_process():
    code = (
        "import pyarrow as pa, json; from components.example_gen.hashing import hash_rows;"
        "print(json.dumps(hash_rows({'a': pa.array([b'x', b'y']), 'b': pa.array([1, 2])}).tolist()))"
    )
    outputs = [subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2)]
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0]) == hash_rows({"b": pa.array([1, 2]), "a": pa.array([b"x", b"y"])}).tolist()
