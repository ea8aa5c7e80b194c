"""The development server: both endpoints and the thread that follows the push destination.

Runs in the process of `sluice serve`, and, as `python -m pipeline.serving.server`, under the flags of
`tensorflow_model_server`.
"""

import argparse
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import grpc
import waitress
from waitress import wasyncore

from pipeline.serving.grpc_service import add_services
from pipeline.serving.models import ServedModel
from pipeline.serving.rest import RestApi
from pipeline.serving.status import MAX_REQUEST_BYTES

HOST = "127.0.0.1"  # it is for development: no TLS, no authentication
POLL_SECS = 1.0  # as --file_system_poll_wait_seconds
_DRAIN_SECS = 10.0
_MAX_CONNECTIONS = 1000  # half-sent requests of one client must not keep the others out
_IDLE_SECS = 30
_NUM_THREADS = 16  # of each endpoint


@dataclass(frozen=True)
class Ports:
    """Where the server listens."""

    rest: int
    grpc: int


def serve(
    base_dir: Path,
    *,
    rest_port: int,
    grpc_port: int,
    model_name: str = "",
    poll_secs: float = POLL_SECS,
    echo: Callable[[str], Any] = click.echo,
) -> None:
    """Serves a push destination until SIGINT or SIGTERM; requests under way are answered first.

    Args:
        base_dir: The push destination, a folder of numbered versions; it may be empty or missing yet.
        rest_port: Of the REST API; 0 for a free one.
        grpc_port: Of the gRPC API; 0 for a free one.
        model_name: By which clients ask; the folder's name, if empty.
        poll_secs: How often to look for other versions.
        echo: Told what happens, line by line.

    Raises:
        OSError: If a port is taken.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    model = ServedModel(model_name or base_dir.resolve().name, base_dir, echo)
    echo("Development server, TensorFlow's C++ runtime behind TF Serving's API. In production run TF Serving itself.")
    with running_server(model, rest_port=rest_port, grpc_port=grpc_port, poll_secs=poll_secs) as ports:
        echo(f"REST http://{HOST}:{ports.rest}/v1/models/{model.name}")
        echo(f"gRPC {HOST}:{ports.grpc}")
        stop.wait()
        echo("Stopping.")


@contextlib.contextmanager
def running_server(model: ServedModel, *, rest_port: int, grpc_port: int, poll_secs: float) -> Iterator[Ports]:
    """Serves a model inside the block, from when its versions are loaded, and yields the ports."""
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.callback(model.close)
        model.poll()
        ports = Ports(stack.enter_context(_rest(model, rest_port)), stack.enter_context(_grpc(model, grpc_port)))
        poller = threading.Thread(target=_follow, args=(model, poll_secs, stop), name="poller")
        poller.start()
        stack.callback(poller.join)
        stack.callback(stop.set)
        yield ports


def _follow(model: ServedModel, poll_secs: float, stop: threading.Event) -> None:
    while not stop.wait(poll_secs):
        try:
            model.poll()
        except Exception as err:  # the thread must outlive whatever lies in the folder
            model.report(f"looking for versions failed, will try again: {err!r}")


@contextlib.contextmanager
def _rest(model: ServedModel, port: int) -> Iterator[int]:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue is no news in a load test
    sockets: dict[int, Any] = {}
    api = RestApi(model)
    try:
        server = waitress.create_server(
            api,
            map=sockets,
            host=HOST,
            port=port,
            threads=_NUM_THREADS,
            ident="",
            connection_limit=_MAX_CONNECTIONS,
            channel_timeout=_IDLE_SECS,
            asyncore_use_poll=True,  # select() knows no more than 1024 descriptors
        )
    except OSError as err:
        raise OSError(f"Port {port} cannot be used: {err.strerror}. Choose another with --rest-port.") from err
    loop = threading.Thread(target=server.run, name="rest")
    loop.start()
    try:
        yield int(server.effective_port)
    finally:
        api.is_stopping = True
        deadline = time.monotonic() + _DRAIN_SECS
        while any(channel.requests for channel in list(server.active_channels.values())):
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        server.trigger.pull_trigger(lambda: wasyncore.close_all(sockets))  # ends the loop, in its own thread
        loop.join()
        server.task_dispatcher.shutdown()


@contextlib.contextmanager
def _grpc(model: ServedModel, port: int) -> Iterator[int]:
    options = [
        ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        ("grpc.max_send_message_length", -1),
    ]
    server = grpc.server(ThreadPoolExecutor(_NUM_THREADS), options=options)
    add_services(server, model)
    try:
        bound = server.add_insecure_port(f"{HOST}:{port}")
    except RuntimeError as err:
        raise OSError(f"Port {port} cannot be used: {err}. Choose another with --grpc-port.") from err
    server.start()
    try:
        yield bound
    finally:
        server.stop(_DRAIN_SECS).wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves under the flags of `tensorflow_model_server`; those that it does not know it passes over."""
    parser = argparse.ArgumentParser(prog="tensorflow_model_server", allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--rest_api_port", type=int, default=8501)
    parser.add_argument("--model_name", default="")
    for flag in ("--model_base_path", "--model_config_file"):  # empty is as good as absent, as in TF Serving
        parser.add_argument(flag, type=lambda text: Path(text) if text else None)
    flags, _ = parser.parse_known_args(arguments)
    base_dir = flags.model_config_file.parent if flags.model_config_file else flags.model_base_path
    if base_dir is None:
        parser.error("Both model_base_path and model_config_file are empty!")
    serve(base_dir, rest_port=flags.rest_api_port, grpc_port=flags.port, model_name=flags.model_name)


if __name__ == "__main__":
    main()
