"""Times ExampleGen beside TFX's own CsvExampleGen, each in a fresh process, and compares the rows that they wrote.

`python tests/benchmarks/example_gen.py [--rows 1000000] [--large-rows 10000000]`: 7 minutes, 2 GB in the folder for
temporary files. Both get Sluice's Beam arguments. Seconds are those of a pipeline of this one component, without
imports; memory is the peak of the process, with its imports, which are given beside it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

FEATURES = [f"x{number}" for number in range(10)]
LABEL = "label"
NUM_CLASSES = 3
SPLITS = {"train": 2, "eval": 1}
CHUNK_ROWS = 250_000
BATCH_ROWS = 16_384
SCHEMA = "".join(
    f'feature {{ name: "{name}" type: FLOAT presence {{ min_fraction: 1.0 }} shape {{ dim {{ size: 1 }} }} }}\n'
    for name in FEATURES
) + (
    f'feature {{ name: "{LABEL}" type: INT presence {{ min_fraction: 1.0 }} shape {{ dim {{ size: 1 }} }}\n'
    f'int_domain {{ min: 0 max: {NUM_CLASSES - 1} }} not_in_environment: "SERVING" }}\n'
)


def main() -> None:
    """Writes the rows, runs each ExampleGen on them and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows that both read")
    parser.add_argument("--large-rows", type=int, default=10_000_000, help="rows that only ours reads; 0 for none")
    parser.add_argument("--child", nargs=3, metavar=("VARIANT", "INPUT", "OUTPUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(_run(*args.child)))
        return

    plan = [(args.rows, ["stock csv", "ours csv", "ours parquet"]), (args.large_rows, ["ours csv", "ours parquet"])]
    table = Table("rows", "ExampleGen", "seconds", "rows/s", "times stock", "peak MiB", "imports MiB", "same rows",
                  box=box.SIMPLE_HEAD)  # fmt: skip
    for num_rows, variants in plan:
        if num_rows:
            for cells in _compare(num_rows, variants):
                table.add_row(*cells)
    Console(width=110).print(table)
    print(f"load of the machine in the last 15 minutes: {os.getloadavg()[2]:.1f} of {os.cpu_count()} cores")


def _compare(num_rows: int, variants: list[str]) -> list[list[str]]:
    """Returns a line of the table for each variant."""
    lines, stock_seconds = [], None
    with tempfile.TemporaryDirectory() as folder:
        digest = _write_rows(Path(folder), num_rows)
        for variant in variants:
            found = _measure(variant, folder)
            stock_seconds = found["seconds"] if variant.startswith("stock") else stock_seconds
            seconds = found["seconds"]
            lines.append([
                f"{num_rows:,}",
                variant,
                f"{seconds:.1f}",
                f"{num_rows / seconds:,.0f}",
                f"{stock_seconds / seconds:.1f}" if stock_seconds else "",
                f"{found['peak_mib']:.0f}",
                f"{found['before_mib']:.0f}",
                "yes" if (found["rows"], found["digest"]) == (num_rows, digest) else f"NO: {found['rows']:,}",
            ])  # fmt: skip
            print(*lines[-1], sep="  ", file=sys.stderr)
    return lines


def _write_rows(folder: Path, num_rows: int) -> int:
    """Writes the same rows as CSV and as Parquet, in one file each; returns their digest."""
    random, digest = np.random.default_rng(7), 0
    for name in ("csv", "parquet"):
        (folder / name).mkdir()
    schema = pa.schema([*((name, pa.float64()) for name in FEATURES), (LABEL, pa.int64())])
    options = pyarrow.csv.WriteOptions(include_header=False)
    with (
        (folder / "csv/rows.csv").open("wb") as file,
        pq.ParquetWriter(folder / "parquet/rows.parquet", schema) as rows,
    ):
        file.write(f"{','.join([*FEATURES, LABEL])}\n".encode())
        for start in range(0, num_rows, CHUNK_ROWS):
            size = min(CHUNK_ROWS, num_rows - start)
            columns = {name: random.uniform(-5, 5, size).round(3) for name in FEATURES}
            columns[LABEL] = random.integers(0, NUM_CLASSES, size)
            chunk = pa.table(columns, schema)
            pyarrow.csv.write_csv(chunk, file, options)
            rows.write_table(chunk)
            digest += _digest({name: np.float32(columns[name]) for name in FEATURES} | {LABEL: columns[LABEL]})
    return digest % 2**64


def _digest(columns: dict[str, np.ndarray]) -> int:
    """Returns a number that says which rows there are and how often each, but not in which order."""
    frame = pd.DataFrame(columns)[[*FEATURES, LABEL]]
    return int(pd.util.hash_pandas_object(frame, index=False).to_numpy().sum(dtype=np.uint64))


def _measure(variant: str, folder: str) -> dict[str, float]:
    kind = variant.split()[1]
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, __file__, "--child", variant, f"{folder}/{kind}", output]
        process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"{variant} failed:\n{process.stderr[-3000:]}")
    return json.loads(process.stdout.splitlines()[-1])


def _run(variant: str, input_dir: str, output_dir: str) -> dict[str, float]:
    """Runs one ExampleGen in this process and measures it."""
    from tfx.components import CsvExampleGen  # not tfx.v1, which takes 170 MiB more
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import Pipeline

    from components.example_gen.component import create_example_gen
    from components.example_gen.settings import make_settings
    from pipeline.beam import LOCAL_BEAM_ARGS

    names, buckets = tuple(SPLITS), tuple(SPLITS.values())
    if variant.startswith("stock"):
        node = CsvExampleGen(input_base=input_dir)  # two thirds and one third, too
    else:
        settings = make_settings(SCHEMA, label=LABEL, splits=names, buckets=buckets, split={"by": "row"})
        node = create_example_gen(input_dir=input_dir, split_buckets=SPLITS, pattern="*", settings=settings)
    pipeline = Pipeline(
        pipeline_name="benchmark",
        pipeline_root=output_dir,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(f"{output_dir}/db"),
        components=[node.with_beam_pipeline_args(LOCAL_BEAM_ARGS)],
    )
    before = _memory_mib()
    start = time.perf_counter()
    LocalDagRunner().run(pipeline)
    seconds = time.perf_counter() - start
    found = {"seconds": seconds, "before_mib": before, "peak_mib": _memory_mib()}
    return found | _read_examples(Path(output_dir))


def _memory_mib() -> float:
    """Returns the most memory that this process has held so far."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _read_examples(output_dir: Path) -> dict[str, int]:
    """Returns how many rows were written and their digest."""
    import tensorflow as tf

    specs = {name: tf.io.FixedLenFeature([], tf.float32) for name in FEATURES}
    specs[LABEL] = tf.io.FixedLenFeature([], tf.int64)
    files = [str(file) for name in SPLITS for file in output_dir.glob(f"*/examples/*/Split-{name}/*")]
    dataset = (
        tf.data.TFRecordDataset(files, "GZIP").batch(BATCH_ROWS).map(lambda rows: tf.io.parse_example(rows, specs))
    )
    num_rows, digest = 0, 0
    for columns in dataset.as_numpy_iterator():
        num_rows += len(columns[LABEL])
        digest += _digest(columns)
    return {"rows": num_rows, "digest": digest % 2**64}


if __name__ == "__main__":
    main()
