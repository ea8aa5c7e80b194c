"""Times a served model: requests per second and latency of `sluice serve`, and of TF Serving where it is installed.

`python tests/benchmarks/serving.py [--seconds 5] [--model-dir DIRECTORY]`: a minute or two. The model is the reference
one, pushed by a run of its own unless given. REST and gRPC, one client and eight, one row and 32 in a request. Each
request is made once, of the rows of `request.json`, and sent on a connection that stays open; the clients are threads
of one process, on the cores of the server.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import grpc
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from pipeline.serving.engine import MODEL_SERVER

SLUICE = str(Path(sys.executable).parent / "sluice")
NUM_CLIENTS, NUM_ROWS = (1, 8), (1, 32)
WARMUP_SECS = 1.0
TIMEOUT_SECS = 60


def main() -> None:
    """Serves the model with each engine and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--model-dir", type=Path, help="folder of numbered versions")
    args = parser.parse_args()

    table = Table("engine", "API", "clients", "rows", "requests/s", "rows/s", "p50 ms", "p99 ms", box=box.SIMPLE_HEAD)
    engines = ["builtin", *([MODEL_SERVER] if shutil.which(MODEL_SERVER) else [])]
    with tempfile.TemporaryDirectory() as folder:
        model_dir = (args.model_dir or push_reference(folder)).resolve()
        (request_file, *_) = sorted(model_dir.glob("[0-9]*/request.json"))
        request = json.loads(request_file.read_text())
        for engine in engines:
            with serving(engine, model_dir) as addresses:
                for api, num_clients, num_rows in [
                    (api, num_clients, num_rows)
                    for api in SENDERS
                    for num_clients in NUM_CLIENTS
                    for num_rows in NUM_ROWS
                ]:
                    body = request | {"instances": list(islice(cycle(request["instances"]), num_rows))}
                    senders = [SENDERS[api](addresses[api], model_dir.name, body) for _ in range(num_clients)]
                    measure(senders, WARMUP_SECS)
                    latencies, seconds = measure(senders, args.seconds)
                    rate = len(latencies) / seconds
                    p50, p99 = np.percentile(latencies, [50, 99]) * 1000
                    figures = f"{rate:.0f}", f"{rate * num_rows:.0f}", f"{p50:.2f}", f"{p99:.2f}"
                    table.add_row(engine, api, str(num_clients), str(num_rows), *figures)
    Console(width=100).print(table)
    print(f"{os.cpu_count()} cores, of the server and the clients; engines: {', '.join(engines)}")


def push_reference(folder):
    subprocess.run([SLUICE, "run", "--root", folder], check=True, stdout=subprocess.DEVNULL)
    return Path(folder) / "serving_model" / "reference"


@contextmanager
def serving(engine, model_dir):
    """Yields the address of each API of a server that has loaded the model."""
    rest, grpc_port = (8701, 8700) if engine == MODEL_SERVER else (0, 0)
    command = [SLUICE, "serve", "--engine", engine, "--model-dir", str(model_dir)]
    command += [f"--rest-port={rest}", f"--grpc-port={grpc_port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            addresses = {"REST": f"127.0.0.1:{rest}", "gRPC": f"127.0.0.1:{grpc_port}"}
            if engine == "builtin":
                lines = iter(process.stdout.readline, "")
                addresses["REST"] = next(
                    found[1] for line in lines if (found := re.match(r"REST http://([^/]+)", line))
                )
                addresses["gRPC"] = next(found[1] for line in lines if (found := re.match(r"gRPC (\S+)", line)))
            with grpc.insecure_channel(addresses["gRPC"]) as channel:
                grpc.channel_ready_future(channel).result(timeout=TIMEOUT_SECS)
            yield addresses
        finally:
            process.terminate()


def measure(senders, seconds):
    """Returns the latency of every answer, in seconds, and the seconds in which they came."""
    start = time.perf_counter()
    with ThreadPoolExecutor(len(senders)) as pool:
        latencies = [
            latency for found in pool.map(lambda send: ask(send, start + seconds), senders) for latency in found
        ]
    return latencies, time.perf_counter() - start


def ask(send, end):
    latencies = []
    while (start := time.perf_counter()) < end:
        send()
        latencies.append(time.perf_counter() - start)
    return latencies


def rest_sender(address, model_name, body):
    connection, data = http.client.HTTPConnection(address, timeout=TIMEOUT_SECS), json.dumps(body)

    def send():
        connection.request("POST", f"/v1/models/{model_name}:predict", data)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ConnectionError(text)

    return send


def grpc_sender(address, model_name, body):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model_name, body["signature_name"]
    for name in body["instances"][0]:
        values = [row[name][0] for row in body["instances"]]
        tensor = request.inputs[name]
        tensor.dtype = types_pb2.DT_FLOAT
        tensor.float_val.extend(values)
        for size in (len(values), 1):
            tensor.tensor_shape.dim.add(size=size)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address))
    return lambda: stub.Predict(request, timeout=TIMEOUT_SECS)


SENDERS = {"REST": rest_sender, "gRPC": grpc_sender}


if __name__ == "__main__":
    main()
