"""Runs the reference pipeline on every Beam runner that this machine can start, and prints what came out.

`python tests/benchmarks/beam_runners.py`. Java job servers come from Maven Central (needs mvn and java), Prism from the
Go module proxy (needs go); what cannot be had is in the table with its reason.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import grpc
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

BIN = Path(sys.executable).parent
BEAM = version("apache-beam")
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


class UnavailableError(Exception):
    """A server that this machine cannot have; the message says why."""


def main() -> None:
    """Runs the pipeline once per runner and prints the table."""
    loopback = {"environment_type": "LOOPBACK"}
    runners: dict[str, Callable[[ExitStack, Path], dict]] = {
        "local (FnApiRunner)": lambda stack, folder: {},
        "flink client, Beam's job server in Python, LOOPBACK": lambda stack, folder: {
            "runner": "flink",
            "flink": {"job_endpoint": stack.enter_context(python_server("job")), **loopback},
        },
        "spark client, Beam's job server in Python, EXTERNAL worker pool": lambda stack, folder: {
            "runner": "spark",
            "spark": {
                "job_endpoint": stack.enter_context(python_server("job")),
                "environment_type": "EXTERNAL",
                "environment_config": stack.enter_context(python_server("pool")),
            },
        },
        "flink client, Prism, LOOPBACK": lambda stack, folder: {
            "runner": "flink",
            "flink": {"job_endpoint": stack.enter_context(prism(folder)), **loopback},
        },
        "flink, embedded cluster, LOOPBACK": lambda stack, folder: {
            "runner": "flink",
            "flink": {"master": "[local]", "job_server_jar": jar("flink-2.2", folder), **loopback},
        },
        "spark, embedded cluster, LOOPBACK": lambda stack, folder: {
            "runner": "spark",
            "spark": {"master": "local[2]", "job_server_jar": jar("spark-3", folder), **loopback},
        },
    }  # fmt: skip
    table = Table("runner", "seconds", "verdict", box=box.SIMPLE)
    for name, section in runners.items():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            try:
                table.add_row(name, *run(section(stack, Path(folder)), Path(folder)))
            except UnavailableError as err:
                table.add_row(name, "", f"not run: {err}")
    Console(width=170).print(table)


def run(section: dict, folder: Path) -> tuple[str, str]:
    """Runs the pipeline; returns the seconds of the whole process and the last line that it printed."""
    start = time.perf_counter()
    command = [str(BIN / "sluice"), "run", "--root", str(folder), "--set", f"beam={yaml.safe_dump(section)}"]
    process = subprocess.run(command, capture_output=True, text=True)
    return f"{time.perf_counter() - start:.1f}", (process.stdout or process.stderr).splitlines()[-1].split(";")[0]


@contextmanager
def python_server(kind: str) -> Iterator[str]:
    """Runs Beam's job server or worker pool in Python."""
    module, flag = {
        "job": ("portability.local_job_service_main", "--port"),
        "pool": ("worker.worker_pool_main", "--service_port"),
    }[kind]
    port = free_port()
    with server([sys.executable, "-m", f"apache_beam.runners.{module}", flag, str(port)], port) as endpoint:
        yield endpoint


@contextmanager
def prism(folder: Path) -> Iterator[str]:
    """Builds and runs Prism, Beam's runner in Go."""
    if not shutil.which("go"):
        raise UnavailableError("go is not installed")
    environment = os.environ | {"GOBIN": str(folder)}
    package = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"
    if subprocess.run(["go", "install", package], env=environment, capture_output=True).returncode:
        raise UnavailableError(f"go finds no {package}")
    port = free_port()
    with server([str(folder / "prism"), "-job_port", str(port), "-serve_http=false"], port) as endpoint:
        yield endpoint


@contextmanager
def server(command: list[str], port: int) -> Iterator[str]:
    """Runs a gRPC server of this machine; its workers are of this Python."""
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        endpoint = f"localhost:{port}"
        grpc.channel_ready_future(grpc.insecure_channel(endpoint)).result(timeout=120)
        yield endpoint
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Returns a port of this machine that nothing listens on."""
    with socket.create_server(("localhost", 0)) as listener:
        return listener.getsockname()[1]


def jar(runner: str, folder: Path) -> str:
    """Fetches the job server of a runner and returns its path."""
    if not shutil.which("mvn") or not shutil.which("java"):
        raise UnavailableError("mvn or java is not installed")
    coordinates = f"org.apache.beam:beam-runners-{runner}-job-server:{BEAM}"
    command = ["mvn", "-q", "-B", MAVEN_COPY, f"-Dartifact={coordinates}", f"-DoutputDirectory={folder}"]
    if subprocess.run(command, capture_output=True).returncode:
        raise UnavailableError(f"Maven finds no {coordinates}")
    return str(next(folder.glob("*.jar")))


if __name__ == "__main__":
    main()
