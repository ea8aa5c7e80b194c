"""Times `sluice run` beside a plain stock TFX pipeline and a Keras script: whole processes, alternating, fresh folders.

`python tests/benchmarks/compare.py [--rows 1000 100000 1000000] [--repeats 3]`, or `make benchmark`. The rows are the
reference problem's, as many as asked for. All three train the same network for as many epochs on two thirds of them;
stock and the script in batches of 32, Keras' default, Sluice in those that its default makes of the rows. Accuracy is
that of the exported model on 20 000 rows more; each repeat has a seed of its own, the same for all three. Sizes above
100 000 run once, and stock leaves out those above 1 000 000. Writes `benchmark.json` and `.png` into `--output`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.csv
from rich import box
from rich.console import Console
from rich.table import Table

from schema.reference.make_reference import LABEL, SEED, SENSORS, make_readings

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "tests" / "benchmarks"
SLUICE = str(Path(sys.executable).parent / "sluice")
BATCH_SIZE, NUM_EPOCHS = 32, 5
MOST_STOCK_ROWS, MOST_REPEATED_ROWS, NUM_TEST_ROWS = 1_000_000, 100_000, 20_000
OTHER = "imports and the rest"
BUYS = {  # what the script does not do
    "ExampleGen": "checks every cell against the schema, hashes each row into its split, writes both",
    "StatisticsGen": "statistics of both splits, for the data gate, drift and the report",
    "ExampleValidator": "anomalies against the schema",
    "DataGate": "refuses bad data with a reason",
    "Transform": "the scaling as a graph that the model carries",
    "Trainer": "reads and transforms the rows; trace, five signatures, recorded rows, warmup, manifest",
    "InfraValidator": "runs the exported model as TF Serving's loader does",
    "Evaluator": "the served graph's metrics with intervals, against bounds and the served version",
    "Pusher": "an atomic push of a model checked file by file, with its model card",
    "RunReport": "the page that tells the run",
    OTHER: "TFX, Beam, TFDV and TFMA are imported; metadata, log and record are kept",
}


def main() -> None:
    """Runs all of it and prints medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender, up to 100 000 rows")
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "benchmark")
    args = parser.parse_args()

    load, runs, has_failed = os.getloadavg(), [], False
    for num_rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            found = list(
                _runs(Path(folder), num_rows, args.only, args.repeats if num_rows <= MOST_REPEATED_ROWS else 1)
            )
        has_failed |= None in found
        runs += [each for each in found if each]
        print_size(num_rows, [each for each in runs if each["rows"] == num_rows])
    args.output.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("tfx", "tensorflow", "apache-beam")}
    about = {"cores": os.cpu_count(), "python": platform.python_version(), **versions, "load_at_start": load}
    (args.output / "benchmark.json").write_text(json.dumps({**about, "runs": runs}, indent=1) + "\n")
    if runs:
        draw(runs, args.output / "benchmark.png")
    print(f"Written: {args.output}/benchmark.json and benchmark.png")
    sys.exit(has_failed)


def _runs(folder, num_rows, names, repeats):
    """Yields what each run took; None for one that failed."""
    (folder / "data").mkdir()
    _write_rows(folder / "data" / "rows.csv", num_rows, SEED)
    _write_rows(folder / "test.csv", NUM_TEST_ROWS, SEED + 1)
    for repeat in range(repeats):
        for name in names:
            if name == "stock" and num_rows > MOST_STOCK_ROWS:
                continue
            command, read = CONTENDERS[name]
            run = {"rows": num_rows, "contender": name}
            try:
                output_dir = folder / f"{name}-{repeat}"
                run["seconds"], run["peak_mib"], text = _measure(command(folder, output_dir), seed=repeat + 1)
                components, run["accuracy"] = read(folder, output_dir, text)
            except ChildProcessError as err:
                print(f"{num_rows:>10} rows, {name}: {err}", flush=True)
                yield None
                continue
            run["components"] = components | {OTHER: max(0.0, run["seconds"] - sum(components.values()))}
            print(f"{num_rows:>10} rows, {name}: {run['seconds']:.1f} s, {run['peak_mib']:.0f} MiB", flush=True)
            yield run


def _write_rows(file, num_rows, seed):
    readings, actions = make_readings(num_rows, seed)
    decimals = [int(digits) for *_, digits in SENSORS.values()]
    columns = [column.round(digits) for column, digits in zip(readings.T, decimals, strict=True)]
    table = pa.table([*columns, actions], names=[*SENSORS, LABEL])
    with file.open("wb") as stream:  # stock takes the quotes of a header that pyarrow writes for part of the names
        stream.write(f"{','.join(table.column_names)}\n".encode())
        pyarrow.csv.write_csv(table, stream, pyarrow.csv.WriteOptions(include_header=False))


def _stock_command(folder, output_dir):
    return [sys.executable, str(BENCHMARKS / "stock_pipeline.py"), str(folder / "data"), str(output_dir)]


def _read_stock(folder, output_dir, _):
    from ml_metadata import metadata_store
    from ml_metadata.proto import metadata_store_pb2

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(output_dir / "metadata.db")
    store = metadata_store.MetadataStore(config)
    names = {each.id: each.name.rpartition(".")[2] for each in store.get_execution_types()}
    components = {
        names[each.type_id].replace("CsvExampleGen", "ExampleGen"): (
            (each.last_update_time_since_epoch - each.create_time_since_epoch) / 1000
        )
        for each in store.get_executions()
    }
    (model_dir,) = (output_dir / "serving").iterdir()
    return components, _accuracy(model_dir, folder / "test.csv")


def _sluice_command(folder, output_dir):
    settings = [f"--set=example_gen.input_dir={folder}/data", "--set=trainer.seed={seed}"]
    return [SLUICE, "run", "--no-cache", "--root", str(output_dir), *settings]


def _read_sluice(folder, output_dir, _):
    (file,) = (output_dir / "reports" / "reference").glob("*/run.json")
    record = json.loads(file.read_text())
    (model_dir,) = (path for path in (output_dir / "serving_model" / "reference").iterdir() if path.name.isdigit())
    return {each["component"]: each["seconds"] for each in record["components"]}, _accuracy(
        model_dir, folder / "test.csv"
    )


def _keras_command(folder, output_dir):
    files = (BENCHMARKS / "keras_script.py", folder / "data" / "rows.csv", folder / "test.csv", output_dir)
    return [sys.executable, *map(str, files), str(BATCH_SIZE), str(NUM_EPOCHS)]


def _read_keras(folder, output_dir, text):
    found = json.loads(text.splitlines()[-1])
    found["components"].pop("imports")
    return found["components"], found["accuracy"]


CONTENDERS = {
    "stock": (_stock_command, _read_stock),
    "sluice": (_sluice_command, _read_sluice),
    "keras": (_keras_command, _read_keras),
}


def _accuracy(model_dir, test_file):
    """Returns the share of rows that the default signature of a model on tf.Examples gets right."""
    import tensorflow as tf

    table = pyarrow.csv.read_csv(test_file)
    rows = zip(*(table[name].to_pylist() for name in SENSORS), strict=True)
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
                    for name, value in zip(SENSORS, row, strict=True)
                }
            )
        ).SerializeToString()
        for row in rows
    ]
    model = tf.saved_model.load(str(model_dir))
    outputs = model.signatures["serving_default"](examples=tf.constant(examples))
    scores = outputs.get("probabilities", outputs.get("outputs"))
    return float((scores.numpy().argmax(axis=1) == table[LABEL].to_numpy()).mean())


def _measure(command, *, seed):
    """Returns wall seconds, the peak of the process tree's memory in MiB, and what a command printed."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        seeded = [part.format(seed=seed) for part in command]
        environment = os.environ | {"BENCHMARK_SEED": str(seed)}
        process = subprocess.Popen(seeded, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        peak, done = [0], threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
        watcher.start()
        status = process.wait()
        seconds = time.perf_counter() - start
        done.set()
        watcher.join()
        for stream in (output, errors):
            stream.seek(0)
        text = output.read()
        if status:
            raise ChildProcessError(f"exit code {status}\n{text[-1500:]}\n{errors.read()[-1500:]}")
    return seconds, peak[0] / 2**20, text


def _watch(pid, peak, done):
    tree = psutil.Process(pid)
    while not done.wait(0.1):
        try:
            processes = [tree, *tree.children(recursive=True)]
            peak[0] = max(peak[0], sum(each.memory_info().rss for each in processes))
        except psutil.Error:
            continue


def medians_of(runs):
    """Returns each contender's medians: seconds, whole and by component, memory and accuracy."""
    found = defaultdict(dict)
    for name in dict.fromkeys(each["contender"] for each in runs):
        own = [each for each in runs if each["contender"] == name]
        for component in dict.fromkeys(key for each in own for key in each["components"]):
            found[name][component] = statistics.median(each["components"].get(component, 0.0) for each in own)
        for key, title in (("seconds", "whole process"), ("peak_mib", "peak MiB"), ("accuracy", "accuracy")):
            found[name][title] = statistics.median(each[key] for each in own)
        found[name]["rows/s"] = own[0]["rows"] / found[name]["whole process"]
    return dict(found)


def print_size(num_rows, runs):
    """Prints what was measured with so many rows."""
    medians = medians_of(runs)
    table = Table(f"{num_rows:,} rows".replace(",", " "), box=box.SIMPLE_HEAD)
    for name in medians:
        table.add_column(name, justify="right")
    for pair in ("sluice / stock", "sluice / keras"):
        table.add_column(pair, justify="right")
    table.add_column("what it does that the script does not")
    last = {"whole process": "{:.1f}", "rows/s": "{:.0f}", "peak MiB": "{:.0f}", "accuracy": "{:.4f}"}
    order = {key: None for names in medians.values() for key in names if key not in (*last, OTHER)}
    for row in (*order, OTHER, *last):
        values = {name: figures.get(row) for name, figures in medians.items()}
        cells = ["" if value is None else last.get(row, "{:.2f}").format(value) for value in values.values()]
        ours = values.get("sluice")
        ratios = [
            f"{ours / other:.2f}" if ours is not None and (other := values.get(name)) else ""
            for name in ("stock", "keras")
        ]
        table.add_row(row, *cells, *ratios, BUYS.get(row, ""))
    Console(width=170).print(table)


def draw(runs, file):
    """Draws seconds by component, for each size and contender."""
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(each["rows"] for each in runs))
    figure = Figure(figsize=(3 + 3.5 * len(sizes), 5), layout="constrained")
    components = list(BUYS)  # the others take no time that could be seen
    colours = [f"C{index}" for index in (0, 1, 2, 3, 4, 5, 6, 8, 9)] + ["#ffbb78", "0.75"]
    for axes, num_rows in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        medians = medians_of([each for each in runs if each["rows"] == num_rows])
        bottoms = dict.fromkeys(medians, 0.0)
        for index, component in enumerate(components):
            heights = [medians[name].get(component, 0.0) for name in medians]
            axes.bar(list(medians), heights, bottom=list(bottoms.values()), label=component, color=colours[index])
            bottoms = {name: bottoms[name] + height for name, height in zip(medians, heights, strict=True)}
        for name, top in bottoms.items():
            axes.annotate(f"{medians[name]['whole process']:.3g} s", (name, top), ha="center", va="bottom")
        axes.set_title(f"{num_rows:,} rows".replace(",", " "), pad=16)
        axes.set_ylabel("seconds")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small", reverse=True)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
