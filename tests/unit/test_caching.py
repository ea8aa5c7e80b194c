"""What makes a component's cache key: content, and nothing else."""

import os

import pytest
from tfx.proto import example_gen_pb2

from components.example_gen.component import create_example_gen
from components.example_gen.driver import ContentDigestDriver
from components.schema_gen import pack, unpack
from components.schema_gen.component import create_schema_gen


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,y\n3,4\n")
    return tmp_path


def fingerprint(folder):
    splits = [example_gen_pb2.Input.Split(name="single", pattern="*")]
    processor = ContentDigestDriver(None).get_input_processor(splits, None, str(folder))
    return processor.get_input_fingerprint(*processor.resolve_span_and_version())


def test_touched_files_have_the_same_fingerprint(data_dir):
    before = fingerprint(data_dir)
    os.utime(data_dir / "a.csv", (1, 1))
    assert fingerprint(data_dir) == before


def test_edit_of_the_same_size_and_time_changes_the_fingerprint(data_dir):
    before, times = fingerprint(data_dir), os.stat(data_dir / "a.csv")
    (data_dir / "a.csv").write_text("x,y\n1,9\n")
    os.utime(data_dir / "a.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint(data_dir) != before


def test_added_file_changes_the_fingerprint(data_dir):
    before = fingerprint(data_dir)
    (data_dir / "c.csv").write_text("x,y\n5,6\n")
    assert fingerprint(data_dir) != before


def test_example_gen_uses_the_content_driver_and_the_buckets(data_dir):
    node = create_example_gen(input_dir=str(data_dir), split_buckets={"train": 2, "eval": 1})
    assert node.DRIVER_CLASS is ContentDigestDriver
    assert '"hash_buckets": 2' in node.exec_properties["output_config"]


def test_long_schema_is_compressed_and_comes_out_whole():
    text = "".join(
        f'feature {{ name: "column_{index}" type: FLOAT presence {{ min_fraction: 1.0 }} }}\n' for index in range(5000)
    )
    assert len(pack(text)) < len(text) / 5
    assert unpack(pack(text)) == text
    assert pack("short") == unpack("short") == "short"


def test_edit_of_the_schema_file_changes_the_node(tmp_path):
    file = tmp_path / "schema.pbtxt"
    file.write_text('feature { name: "x" }')
    before = create_schema_gen(str(file)).exec_properties
    file.write_text('feature { name: "z" }')
    assert create_schema_gen(str(file)).exec_properties != before
