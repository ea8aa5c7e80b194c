"""Runs ExampleGen's executor on files, without a pipeline around it."""

import itertools
import json
from pathlib import Path

import pytest
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.example_gen import SETTINGS, executor
from components.example_gen.csv_table import CsvOptions
from components.example_gen.settings import make_settings
from pipeline.beam import LOCAL_BEAM_ARGS

ONE_VALUE = "presence { min_fraction: 1.0 min_count: 1 } shape { dim { size: 1 } }"
SCHEMA = f"""
feature {{ name: "depth" type: FLOAT {ONE_VALUE} }}
feature {{ name: "age" type: INT value_count {{ min: 1 max: 1 }} }}
feature {{ name: "town" type: BYTES value_count {{ min: 1 max: 1 }} }}
feature {{ name: "open" type: INT value_count {{ min: 1 max: 1 }} bool_domain {{}} }}
feature {{ name: "key" type: BYTES value_count {{ min: 1 max: 1 }} annotation {{ tag: "id" }} }}
feature {{
  name: "y" type: INT {ONE_VALUE} int_domain {{ min: 0 max: 2 is_categorical: true }} not_in_environment: "SERVING"
}}
"""


class Examples:
    """What ExampleGen wrote."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.report = json.loads((self.folder / "input.json").read_text())

    @property
    def quarantine(self):
        return [json.loads(line) for line in (self.folder / "quarantine.jsonl").read_text().splitlines()]

    def rows(self, split):
        """Returns each row as a dict of values; None where there is none."""
        import tensorflow as tf

        files = sorted(map(str, (self.folder / f"Split-{split}").iterdir()))
        records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
        if not records:
            return []
        batch = ExamplesToRecordBatchDecoder().DecodeBatch(records)
        columns = {name: column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return [{name: value[0] if value else None for name, value in row.items()} for row in rows]

    def splits(self):
        """Returns the split of each row by its key."""
        return {row["key"].decode(): split for split in self.report["rows"] for row in self.rows(split)}


@pytest.fixture
def read(tmp_path):
    """Reads the files of a folder of the test's own as ExampleGen does."""
    numbers = itertools.count()

    def run(
        pattern="*.csv",
        *,
        folder=tmp_path,
        schema=SCHEMA,
        label="y",
        splits=("train", "eval"),
        buckets=(2, 1),
        split=None,
        csv_options=None,
        **settings,
    ):
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / f"examples-{next(numbers)}")
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=list(LOCAL_BEAM_ARGS), tmp_dir=str(tmp_path / "tmp"), unique_id="test"
        )
        input_split = example_gen_pb2.Input.Split(name="rows", pattern=pattern)
        output_splits = [
            example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=count)
            for name, count in zip(splits, buckets, strict=True)
        ]
        output = example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=output_splits))
        made = make_settings(
            schema,
            label=label,
            splits=tuple(splits),
            buckets=tuple(buckets),
            split=split or {"by": "row"},
            csv_options=csv_options or CsvOptions(),
            **settings,
        )
        properties = {
            "input_base": str(folder),
            "input_config": proto_utils.proto_to_json(example_gen_pb2.Input(splits=[input_split])),
            "output_config": proto_utils.proto_to_json(output),
            SETTINGS: made.to_json(),
        }
        executor.Executor(context).Do({}, {"examples": [examples]}, properties)
        assert sorted(path.name for path in Path(examples.uri).iterdir() if path.name.startswith(".")) == []
        return Examples(examples.uri)

    run.schema = SCHEMA
    return run
