"""kubeflow/serving's page and files against the development server: the calls, their outputs, the health checks."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool

from pipeline.serving.engine import IMAGE

pytestmark = pytest.mark.e2e

SERVING_DIR = Path(__file__).resolve().parents[2] / "kubeflow" / "serving"
# "<!-- run -->", a block of sh or python, and, if it prints, a block of text with its output.
RUNNABLE = re.compile(r"<!-- run -->\n```(sh|python)\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
BLOCKS = RUNNABLE.findall((SERVING_DIR / "README.md").read_text())
COMPOSE = yaml.safe_load((SERVING_DIR / "compose.yaml").read_text())["services"]["serving"]
OLD, NEW = 1795381138, 1795382021
TIMEOUT_SECS = 120


@contextlib.contextmanager
def running_server(base_dir):
    """Starts the development server with compose.yaml's own flags; yields the addresses of REST and gRPC."""
    values = {"MODEL_DIR": str(base_dir), "MODEL_NAME": "reference", "MODELS_CONFIG": ""}
    flags = [re.sub(r"\$\{(\w+)[^}]*\}", lambda match: values[match[1]], flag) for flag in COMPOSE["command"]]
    command = [sys.executable, "-m", "pipeline.serving.server", *flags, "--port=0", "--rest_api_port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            lines = iter(process.stdout.readline, "")
            rest = next(match[1] for line in lines if (match := re.match(r"REST http://([^/]+)/", line)))
            yield rest, next(match[1] for line in lines if (match := re.match(r"gRPC (\S+)", line)))
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def server(reference, tmp_path_factory):
    """A server that saw two versions come; yields the environment that the page's first block sets."""
    base_dir = tmp_path_factory.mktemp("page") / "reference"
    model = reference.root / "serving_model" / "reference" / str(reference.versions[-1])
    shutil.copytree(model, base_dir / str(OLD))
    with running_server(base_dir) as (rest, grpc):
        push(model, base_dir, NEW)
        wait_for(f"http://{rest}/v1/models/reference/versions/{NEW}/metadata")
        wait_for(f"http://{rest}/v1/models/reference", '"END"')  # OLD is unloaded after NEW is loaded
        yield os.environ | {
            "MODEL_DIR": str(base_dir),
            "REST": rest,
            "GRPC": grpc,
            "OLD": str(OLD),
            "NEW": str(NEW),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }


def push(model, base_dir, version):
    shutil.copytree(model, base_dir / ".staged")
    (base_dir / ".staged").rename(base_dir / str(version))


def wait_for(url, text=""):
    deadline = time.monotonic() + TIMEOUT_SECS
    while (answer := requests.get(url, timeout=10)).status_code != 200 or text not in answer.text:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def without_figures(text):
    """Returns a text with every number as #, every white space as one blank, and JSON's keys in order."""
    with contextlib.suppress(ValueError):
        text = json.dumps(json.loads(text), sort_keys=True)
    return re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "#", " ".join(text.split()))


def test_page_has_runnable_blocks():
    page = (SERVING_DIR / "README.md").read_text()
    assert page.count("<!-- run -->") == len(BLOCKS) > 5


@pytest.mark.parametrize(("language", "code", "output"), BLOCKS, ids=[f"block{n}" for n in range(1, len(BLOCKS) + 1)])
def test_block_prints_what_the_page_shows(server, tmp_path, language, code, output):
    shell = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
    done = subprocess.run(
        [*shell, code], env=server, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_SECS
    )
    assert done.returncode == 0, done.stderr
    assert without_figures(done.stdout) == without_figures(output)
    for file in tmp_path.glob("*.protoset"):
        assert method_names(file) >= {"Predict", "Classify", "GetModelMetadata", "GetModelStatus"}


def method_names(protoset):
    """Returns the methods in a descriptor set, all of whose imports must be in it."""
    files = descriptor_pb2.FileDescriptorSet.FromString(protoset.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    services = [pool.FindFileByName(file.name).services_by_name.values() for file in files]
    return {method.name for found in services for service in found for method in service.methods}


def test_compose_health_check_passes_for_a_model_that_answers_and_for_no_other(server):
    *_, script = COMPOSE["healthcheck"]["test"]

    def run(name):
        script_here = script.replace("${MODEL_NAME:-reference}", name).replace("$$", "$")
        script_here = script_here.replace("127.0.0.1/8501", server["REST"].replace(":", "/"))
        return subprocess.run(["bash", "-c", script_here], check=False, timeout=TIMEOUT_SECS).returncode

    assert run("reference") == 0
    assert run("another") != 0


def test_readiness_waits_for_a_version(reference, tmp_path):
    documents = {doc["kind"]: doc for doc in yaml.safe_load_all((SERVING_DIR / "kubernetes.yaml").read_text())}
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    base_dir = tmp_path / "reference"
    base_dir.mkdir()
    with running_server(base_dir) as (rest, _):
        url = f"http://{rest}{container['readinessProbe']['httpGet']['path']}"
        assert requests.get(url, timeout=10).status_code == 404
        push(reference.root / "serving_model" / "reference" / str(reference.versions[-1]), base_dir, NEW)
        wait_for(url)


def test_sluice_serve_names_the_same_image():
    assert COMPOSE["image"] == f"${{SERVING_IMAGE:-{IMAGE}}}"
