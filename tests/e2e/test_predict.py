"""`sluice predict` with the reference model, on this machine and through a server."""

import contextlib
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from components.infra_validator.loader import SavedModelSession
from components.infra_validator.signatures import load_meta_graph, signatures_of

pytestmark = pytest.mark.e2e

NUM_ROWS = 3000
CLASSES = ["hold", "release", "flush"]


@pytest.fixture(scope="module")
def rows(reference_csv):
    """The reference rows three times over, shaken, and with a text that must not be read as a number."""
    table = pa.csv.read_csv(reference_csv).drop(["gate_action"])
    generator = np.random.default_rng(0)
    columns = {"site": [f'{n:05d}, "gate"' if n % 3 else f"{n:05d}" for n in range(NUM_ROWS)]}
    for name in table.column_names:
        values = np.tile(table[name].to_numpy(), NUM_ROWS // len(table))
        columns[name] = (values * generator.uniform(0.97, 1.03, NUM_ROWS)).astype(np.float32)
    return pa.table(columns)


@pytest.fixture(scope="module")
def expected(sluice, reference, rows):
    """Probabilities `[NUM_ROWS, 3]` by TensorFlow's C++ loader."""
    model_dir = str(sluice.root / "serving_model" / "reference" / str(reference.versions[-1]))
    signature = signatures_of(load_meta_graph(model_dir))["serving_features"]
    feeds = {info.tensor_name: rows[name].to_numpy()[:, np.newaxis] for name, info in signature.inputs.items()}
    session = SavedModelSession(model_dir)
    (probabilities,) = session.run(feeds, [signature.outputs["probabilities"].tensor_name])
    session.close()
    return probabilities


@pytest.fixture
def predict(sluice, reference, tmp_path):
    """Runs `sluice predict` in a folder of its own."""

    def run(*arguments):
        command = [sluice.command[0], "predict", "--root", str(sluice.root), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def check(output, expected, sites):
    assert output.column_names == ["site", "predicted_class", *(f"probability_{name}" for name in CLASSES)]
    assert output["site"].to_pylist() == sites
    probabilities = np.stack([output[f"probability_{name}"].to_numpy() for name in CLASSES], axis=1)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert output["predicted_class"].to_pylist() == [CLASSES[index] for index in expected.argmax(axis=1)]


def read_csv(file):
    options = pa.csv.ConvertOptions(column_types={"site": pa.string()})
    return pa.csv.read_csv(file, convert_options=options)


@pytest.mark.parametrize(("source", "target"), [("csv", "parquet"), ("parquet", "csv")])
def test_every_row_keeps_its_id_and_gets_the_model_s_own_answer(predict, rows, expected, tmp_path, source, target):
    pa.csv.write_csv(rows, tmp_path / "rows.csv")
    pq.write_table(rows, tmp_path / "rows.parquet")
    result = predict(f"rows.{source}", "--output", f"out.{target}", "--id", "site")
    assert result.returncode == 0, result.stderr
    output = read_csv(tmp_path / "out.csv") if target == "csv" else pq.read_table(tmp_path / "out.parquet")
    check(output, expected, rows["site"].to_pylist())
    assert re.fullmatch(
        rf"{NUM_ROWS} rows in [\d.]+ s \(\d+ rows/s by version \d+ after [\d.]+ s of loading\), "
        rf"peak memory \d+ MiB: out\.{target}\n",
        result.stdout,
    )
    print(result.stdout)


def test_rows_are_numbered_where_no_id_is_asked_for(predict, rows, tmp_path):
    pq.write_table(rows.slice(0, 3), tmp_path / "rows.parquet")
    assert predict("rows.parquet", "--output", "out.csv").returncode == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rows.csv", "--output", "out.csv"], "InputError: rows.csv line 3: ph: 'acid' is not a number."),
        (["rows.csv", "--output", "no/out.csv"], "InputError: --output: the folder "),
        (["rows.csv", "--output", "out.csv", "--model-version", "1"], "has no version 1. Expected one of: "),
        (["none.csv", "--output", "out.csv"], "InputError: none.csv cannot be read: No such file or directory."),
    ],
)
def test_wrong_input_exits_2_and_leaves_nothing(predict, rows, tmp_path, arguments, message):
    pa.csv.write_csv(rows.slice(0, 2), tmp_path / "rows.csv")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    cells = lines[2].split(",")
    cells[-3] = "acid"
    (tmp_path / "rows.csv").write_text("\n".join([*lines[:2], ",".join(cells)]) + "\n")
    result = predict(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_model_that_fails_exits_1_and_leaves_the_old_output(predict, sluice, reference, rows, tmp_path):
    broken = tmp_path / "root" / "serving_model" / "reference" / "5"
    shutil.copytree(sluice.root / "serving_model" / "reference" / str(reference.versions[-1]), broken)
    shutil.rmtree(broken / "variables")
    pq.write_table(rows.slice(0, 3), tmp_path / "rows.parquet")
    (tmp_path / "out.csv").write_text("old")
    result = predict("rows.parquet", "--output", "out.csv", "--root", tmp_path / "root")
    assert result.returncode == 1
    assert re.match(r"FAILED: \w+: .*variables.*; the log is root/logs/reference/predict-\S+\.log\n$", result.stderr)
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "root", "rows.parquet"]


def test_interrupt_exits_130_and_leaves_nothing(sluice, reference, rows, tmp_path):
    pq.write_table(pa.concat_tables([rows] * 200), tmp_path / "rows.parquet")
    command = [sluice.command[0], "predict", "rows.parquet", "--output", "out.csv", "--root", str(sluice.root)]
    command = ["env", "--default-signal=INT", *command]  # which a background job of a shell is born deaf to
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not any(file.stat().st_size for file in tmp_path.glob(".*out.csv*")):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "INTERRUPTED; there is no output."
    assert os.listdir(tmp_path) == ["rows.parquet"]


@pytest.fixture(scope="module")
def server(sluice, reference, tmp_path_factory):
    """The development server of the pushed model; address by scheme."""
    pytest.importorskip("pipeline.serving.server")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        grpc_port, rest_port = (free.getsockname()[1] for free in sockets)
    command = [sys.executable, "-m", "pipeline.serving.server", f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    command += ["--model_name=reference", f"--model_base_path={sluice.root / 'serving_model' / 'reference'}"]
    with (tmp_path_factory.mktemp("server") / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{rest_port}/v1/models/reference", process)
            yield {"http": f"http://127.0.0.1:{rest_port}", "grpc": f"grpc://127.0.0.1:{grpc_port}"}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait_for(url, process):
    for _ in range(600):
        assert process.poll() is None, "the server has stopped"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_gives_the_same_predictions(predict, server, reference, rows, expected, tmp_path, scheme):
    pq.write_table(rows, tmp_path / "rows.parquet")
    result = predict("rows.parquet", "--output", "out.parquet", "--id", "site", "--server", server[scheme])
    assert result.returncode == 0, result.stderr
    assert f"by version {reference.versions[-1]} after" in result.stdout
    check(pq.read_table(tmp_path / "out.parquet"), expected, rows["site"].to_pylist())
    print(result.stdout)


@pytest.mark.parametrize(("scheme", "status"), [("http", "404"), ("grpc", "NOT_FOUND")])
def test_version_that_the_server_has_not_exits_1_with_its_answer(predict, server, rows, tmp_path, scheme, status):
    pq.write_table(rows.slice(0, 3), tmp_path / "rows.parquet")
    arguments = ["rows.parquet", "--output", "out.parquet", "--server", server[scheme], "--model-version", "1"]
    result = predict(*arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(f"FAILED: {server[scheme]}")
    assert f"answered {status}: " in result.stderr
    assert os.listdir(tmp_path) == ["rows.parquet"]
