"""ExampleGen in a task that is tried again: Vertex AI and Kubeflow Pipelines give it the same folder."""

import json

import pytest

pytestmark = pytest.mark.beam

ROWS = "depth,age,town,open,key,y\n" + "".join(f"{i}.5,{i},Ulm,true,k{i},{i % 3}\n" for i in range(30))


def test_what_an_earlier_try_left_is_neither_in_the_way_nor_read(read, tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    left = tmp_path / "examples-0"  # where `read` writes
    for name in ("Split-train/data_tfrecord-00000-of-00001.gz", "Split-eval/data_tfrecord-00003-of-00007.gz"):
        (left / name).parent.mkdir(parents=True)
        (left / name).write_bytes(b"half a shard")
    (left / ".staging").mkdir()
    result = {
        "file": str(tmp_path / "rows.csv"),
        "rows": {"train": 99},
        "problems": ["old"],
        "faults": [],
        "num_bad": 0,
    }
    (left / ".staging" / "write-results-00000-of-00003").write_text(json.dumps(result) + "\n")
    examples = read()
    assert sum(examples.report["rows"].values()) == len(examples.splits()) == 30
    names = {path.name for path in left.rglob("*") if path.is_file()}
    assert names == {"data_tfrecord-00000-of-00001.gz", "input.json"}
