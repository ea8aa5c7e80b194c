"""Models as small as one can be: one to push, which needs no TensorFlow, and one to serve. And fakes of two APIs."""

import importlib.util
import json
from pathlib import Path

import pytest
import tensorflow as tf

from components.model_manifest import make_manifest, write_manifest


@pytest.fixture
def make_model(tmp_path):
    """Writes files that look like a model into a folder, with their manifest."""

    def write(name="model", content="weights", files=()):
        folder = tmp_path / name
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text("graph")
        (folder / "variables" / "variables.data-00000-of-00001").write_text(content)
        for file in files:
            (folder / file).write_text(file)
        write_manifest(str(folder), make_manifest(str(folder), code_digest="c0de"))
        return folder

    return write


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory):
    """Gives twice `x`, float32 `[None]`, as `y`."""
    module = tf.Module()
    module.factor = tf.Variable(2.0)
    signature = tf.function(
        lambda x: {"y": x * module.factor}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")]
    )
    folder = tmp_path_factory.mktemp("model") / "saved"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    return folder


def load_module(name):
    """Loads a module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def kubeflow_api():
    """A Kubeflow Pipelines API without experiments."""
    api = load_module("fake_kubeflow_api").FakeKubeflowApi()
    yield api
    api.stop()


@pytest.fixture(scope="session")
def vertex_server(tmp_path_factory):
    """Vertex AI's API and a service account for it: gRPC reads its trusted certificates once per process."""
    fake, folder = load_module("fake_vertex_api"), tmp_path_factory.mktemp("vertex")
    key, private_key = fake.make_key()
    certificate = fake.make_certificate(key)
    (folder / "roots.pem").write_bytes(certificate)
    account = {
        "type": "service_account",
        "client_email": "me@my-project.iam.gserviceaccount.com",
        "private_key": private_key.decode(),
        "token_uri": "http://127.0.0.1:9/token",
    }
    (folder / "account.json").write_text(json.dumps(account))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(folder / "roots.pem"))
        api = fake.FakeVertexApi(private_key, certificate)
        api.account_file = str(folder / "account.json")
        yield api
        api.stop()


@pytest.fixture
def vertex_api(vertex_server, monkeypatch):
    """Vertex AI's API before the first request, and a login for it."""
    vertex_server.requests, vertex_server.tokens, vertex_server.jobs, vertex_server.refusal = [], [], [], None
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", vertex_server.account_file)
    return vertex_server


@pytest.fixture(scope="session")
def plain_spec(tmp_path_factory):
    """A pipeline of two tasks, compiled with the KFP SDK: `rows` has a default, `name` and `flag` have none."""
    from kfp import compiler, dsl

    @dsl.container_component
    def prepare(rows: int, name: str):
        return dsl.ContainerSpec(image="busybox", command=["echo"], args=[name])

    @dsl.container_component
    def train(flag: bool):
        return dsl.ContainerSpec(image="busybox", command=["true"])

    @dsl.pipeline(name="plain")
    def plain(name: str, flag: bool, rows: int = 10):
        train(flag=flag).after(prepare(rows=rows, name=name))

    file = tmp_path_factory.mktemp("plain") / "plain.yaml"
    compiler.Compiler().compile(plain, str(file))
    return file
