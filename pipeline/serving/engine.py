"""The command lines that serve a push destination with TF Serving itself. Runs in `sluice serve`.

TF Serving reads `models.config` only if it is there when the server starts, so the Pusher writes one with the first
version. The binary listens on all addresses and has no flag for one; in a container only 127.0.0.1 is published.
"""

import os
import shutil
from pathlib import Path

from components.pusher.versions import MODELS_CONFIG_FILE, read_policy

MODEL_SERVER = "tensorflow_model_server"
IMAGE = "tensorflow/serving:2.21.0"  # of the TensorFlow that exports the model
_NOBODY = 65534


def has_model_server() -> bool:
    """Whether TF Serving's binary is on the PATH."""
    return shutil.which(MODEL_SERVER) is not None


def model_server_command(base_dir: Path, *, rest_port: int, grpc_port: int) -> list[str]:
    """Returns the arguments that start TF Serving's binary.

    Args:
        base_dir: The push destination; its folder's name is the model's.
        rest_port: Of the REST API.
        grpc_port: Of the gRPC API.
    """
    return _command(base_dir.resolve(), base_dir, rest_port, grpc_port)


def docker_command(base_dir: Path, *, rest_port: int, grpc_port: int) -> list[str]:
    """Returns the arguments that start TF Serving in a container: not as root, nothing writable, on 127.0.0.1.

    Args:
        base_dir: The push destination; its folder's name is the model's. It is mounted where `models.config` says.
        rest_port: Of the REST API.
        grpc_port: Of the gRPC API.

    Raises:
        VersionError: If `models.config` cannot be read.
    """
    source = base_dir.resolve()
    base_path = read_policy(base_dir).base_path
    target = Path(base_path) if base_path.startswith("/") else source
    command = _command(target, base_dir, rest_port, grpc_port)
    return [
        *("docker", "run", "--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"),
        "--security-opt=no-new-privileges",
        f"--user={os.getuid() or _NOBODY}:{os.getgid() or _NOBODY}",
        f"--publish=127.0.0.1:{rest_port}:{rest_port}",
        f"--publish=127.0.0.1:{grpc_port}:{grpc_port}",
        f"--mount=type=bind,source={source},target={target},readonly",
        f"--entrypoint={command[0]}",
        IMAGE,
        *command[1:],
    ]


def _command(seen_dir: Path, base_dir: Path, rest_port: int, grpc_port: int) -> list[str]:
    """Returns the command of a server that sees the push destination at `seen_dir`."""
    if (base_dir / MODELS_CONFIG_FILE).is_file():
        models = [
            f"--model_config_file={seen_dir / MODELS_CONFIG_FILE}",
            "--model_config_file_poll_wait_seconds=1",
            "--allow_version_labels_for_unavailable_models=true",  # without it no label is accepted at the start
        ]
    else:
        models = [f"--model_name={base_dir.resolve().name}", f"--model_base_path={seen_dir}"]
    ports = [f"--rest_api_port={rest_port}", f"--port={grpc_port}"]
    return [MODEL_SERVER, *ports, *models, "--file_system_poll_wait_seconds=1", "--enable_profiler=false"]
