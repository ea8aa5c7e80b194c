"""The Trainer's custom job and the deployment, against a stand-in of Vertex AI's API that speaks gRPC over TLS.

The stand-in runs the container's command of a job as a process of its own, as Vertex AI would in the image. TFX's
client is led to it by a proxy, as gRPC's `https_proxy` allows, and thinks that it talks to the real host.
"""

import contextlib
import datetime
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import aiplatform_v1
from google.longrunning import operations_pb2
from google.protobuf import any_pb2

from components.model_manifest import check_model
from pipeline.config import load_config
from pipeline.kubeflow_v2_runner import compile_pipeline

pytestmark = pytest.mark.e2e
REGION = "europe-west4"
HOST = f"{REGION}-aiplatform.googleapis.com"
PARENT = f"projects/my-project/locations/{REGION}"
PYTHON_DIR = str(Path(sys.executable).parent)


class StandIn:
    """What was asked for, and the answers."""

    def __init__(self):
        self.requests, self.jobs = {}, {}

    def create_custom_job(self, request, _):
        self.requests["CreateCustomJob"] = request
        command = list(request.custom_job.job_spec.worker_pool_specs[0].container_spec.command)
        environment = os.environ | {"PATH": PYTHON_DIR + os.pathsep + os.environ["PATH"]}
        name = f"{request.parent}/customJobs/1"
        self.jobs[name] = subprocess.Popen(command, cwd="/", env=environment)
        return aiplatform_v1.CustomJob(name=name, state=aiplatform_v1.JobState.JOB_STATE_PENDING)

    def get_custom_job(self, request, _):
        code = self.jobs[request.name].poll()
        states = {None: "JOB_STATE_RUNNING", 0: "JOB_STATE_SUCCEEDED"}
        return aiplatform_v1.CustomJob(name=request.name, state=states.get(code, "JOB_STATE_FAILED"))

    def list_endpoints(self, request, _):
        endpoints = [self.endpoint] if "CreateEndpoint" in self.requests else []
        return aiplatform_v1.ListEndpointsResponse(endpoints=endpoints)

    def get_endpoint(self, request, _):
        return self.endpoint

    def create_endpoint(self, request, _):
        self.requests["CreateEndpoint"] = request
        self.endpoint = aiplatform_v1.Endpoint(request.endpoint, name=f"{request.parent}/endpoints/1")
        return done(self.endpoint)

    def upload_model(self, request, _):
        self.requests["UploadModel"] = request
        kinds = [aiplatform_v1.Model.DeploymentResourcesType.DEDICATED_RESOURCES]
        name = f"{request.parent}/models/1"
        self.model = aiplatform_v1.Model(request.model, name=name, supported_deployment_resources_types=kinds)
        return done(aiplatform_v1.UploadModelResponse(model=self.model.name))

    def get_model(self, request, _):
        return self.model

    def deploy_model(self, request, _):
        self.requests["DeployModel"] = request
        return done(aiplatform_v1.DeployModelResponse(deployed_model=request.deployed_model))


def done(response):
    packed = any_pb2.Any()
    packed.Pack(type(response).pb(response))
    return operations_pb2.Operation(name=f"{PARENT}/operations/1", done=True, response=packed)


METHODS = {
    "JobService": {
        "CreateCustomJob": aiplatform_v1.CreateCustomJobRequest,
        "GetCustomJob": aiplatform_v1.GetCustomJobRequest,
    },
    "EndpointService": {
        "ListEndpoints": aiplatform_v1.ListEndpointsRequest,
        "GetEndpoint": aiplatform_v1.GetEndpointRequest,
        "CreateEndpoint": aiplatform_v1.CreateEndpointRequest,
        "DeployModel": aiplatform_v1.DeployModelRequest,
    },
    "ModelService": {"UploadModel": aiplatform_v1.UploadModelRequest, "GetModel": aiplatform_v1.GetModelRequest},
}


def handlers(stand_in):
    def serialize(message):
        return (
            message.SerializeToString() if hasattr(message, "SerializeToString") else type(message).serialize(message)
        )

    for service, methods in METHODS.items():
        rpcs = {}
        for name, request in methods.items():
            function = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
            rpcs[name] = grpc.unary_unary_rpc_method_handler(
                getattr(stand_in, function), request_deserializer=request.deserialize, response_serializer=serialize
            )
        yield grpc.method_handlers_generic_handler(f"google.cloud.aiplatform.v1.{service}", rpcs)


def certificate(host):
    """Returns a key and a certificate of its own for a host, both as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, built.public_bytes(pem)


def serve_proxy(listener, port):
    """Connects whoever asks for HOST to `port` of this machine, until the listener is closed."""

    def pump(source, sink):
        with contextlib.suppress(OSError):  # the other end is gone
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if not client.recv(65536).startswith(f"CONNECT {HOST}:443 ".encode()):
            client.close()  # google-auth would rather know more of the account
            continue
        server = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for ends in ((client, server), (server, client)):
            threading.Thread(target=pump, args=ends, daemon=True).start()


@pytest.fixture
def vertex(tmp_path):
    """The stand-in, and the environment of a process that is led to it."""
    key, chain = certificate(HOST)
    (tmp_path / "roots.pem").write_bytes(chain)
    account = {
        "type": "service_account",
        "client_email": "runner@my-project.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "token_uri": "https://127.0.0.1/never-asked",
        "project_id": "my-project",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    stand_in = StandIn()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(tuple(handlers(stand_in)))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve_proxy, args=(listener, port), daemon=True).start()
    environment = os.environ | {
        "https_proxy": f"http://127.0.0.1:{listener.getsockname()[1]}",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "roots.pem"),
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "account.json"),
    }
    yield stand_in, environment
    listener.close()
    server.stop(None)


@pytest.fixture
def compiled(reference_config_file):
    overrides = [
        f"vertex={{project: my-project, region: {REGION}, labels: {{team: water}}}}",
        "vertex.service_account=runner@my-project.iam.gserviceaccount.com",
        "vertex.network=projects/1/global/networks/vpc",
        "vertex.kms_key=projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "vertex.training={machine_type: n1-highmem-8, accelerator: {type: NVIDIA_TESLA_T4, count: 2}}",
        "vertex.serving={endpoint_name: gate, image: example.com/tf2-cpu:1, machine_type: n1-standard-4}",
        "vertex.serving.max_replica_count=3",
        "image=example.com/sluice:1",
    ]
    return compile_pipeline(load_config(reference_config_file, overrides), target="vertex").spec


def parameters(spec, task, **values):
    given = spec["components"]["tfx-dag"]["dag"]["tasks"][task]["inputs"]["parameters"]
    constants = {name: each["runtimeValue"]["constant"] for name, each in given.items() if "runtimeValue" in each}
    return constants | values


def test_custom_job_trains_the_model(vertex, compiled, reference, tmp_path):
    stand_in, environment = vertex
    outputs = {run["component"]: run["outputs"] for run in reference.record["components"]}
    types = compiled["components"]["Trainer"]
    sources = {
        "examples": outputs["ExampleGen"]["examples"],
        "raw_examples": outputs["ExampleGen"]["examples"],
        "schema": outputs["SchemaGen"]["schema"],
        "transform_graph": outputs["Transform"]["transform_graph"],
    }

    def artifact(name, uri, spec):
        split_names = {"split_names": '["train", "eval"]'} if "examples" in name else {}
        return {"artifacts": [{"uri": str(uri), "name": name, "type": spec["artifactType"], "metadata": split_names}]}

    invocation = {
        "inputs": {
            "parameterValues": parameters(compiled, "Trainer", num_epochs=2, learning_rate=0.01),
            "artifacts": {
                name: artifact(name, uri, types["inputDefinitions"]["artifacts"][name]) for name, uri in sources.items()
            },
        },
        "outputs": {
            "artifacts": {
                name: artifact(name, tmp_path / name, spec)
                for name, spec in types["outputDefinitions"]["artifacts"].items()
            },
            "outputFile": str(tmp_path / "executor_output.json"),
        },
    }
    container = compiled["deploymentSpec"]["executors"]["Trainer_executor"]["container"]
    command = [sys.executable, *container["command"][1:], *container["args"]]
    command = [json.dumps(invocation) if argument == "{{$}}" else argument for argument in command]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, errors="replace")
    assert process.returncode == 0, process.stderr[-3000:]

    job = stand_in.requests["CreateCustomJob"].custom_job
    (pool,) = job.job_spec.worker_pool_specs
    assert stand_in.requests["CreateCustomJob"].parent == PARENT
    assert (pool.machine_spec.machine_type, pool.machine_spec.accelerator_count) == ("n1-highmem-8", 2)
    assert pool.machine_spec.accelerator_type == aiplatform_v1.AcceleratorType.NVIDIA_TESLA_T4
    assert pool.container_spec.image_uri == "example.com/sluice:1"
    assert job.job_spec.service_account == "runner@my-project.iam.gserviceaccount.com"
    assert job.job_spec.network == "projects/1/global/networks/vpc"
    assert job.encryption_spec.kms_key_name == "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    assert job.labels["team"] == "water"
    manifest = check_model(str(tmp_path / "model" / "Format-Serving"), "")
    output = json.loads((tmp_path / "executor_output.json").read_text())
    assert output["artifacts"]["model"]["artifacts"][0]["metadata"]["model_digest"] == manifest["digest"]


def test_deployment_reaches_the_endpoint(vertex, compiled, tmp_path):
    stand_in, environment = vertex
    custom_config = json.loads(parameters(compiled, "VertexPusher")["custom_config"])
    # What TFX's executor does once it has copied the model to a bucket, which this machine has not.
    code = """
import json, sys
from tfx.extensions.google_cloud_ai_platform import constants, runner
config = json.loads(sys.argv[1])
print(runner.deploy_model_for_aip_prediction(
    serving_path="gs://bucket/model", model_version_name="v1", labels={}, enable_vertex=True,
    ai_platform_serving_args=config[constants.SERVING_ARGS_KEY],
    serving_container_image_uri=config[constants.VERTEX_CONTAINER_IMAGE_URI_KEY],
    endpoint_region=config[constants.VERTEX_REGION_KEY],
))
"""
    command = [sys.executable, "-c", code, json.dumps(custom_config)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.splitlines()[-1] == f"{PARENT}/models/1"
    assert stand_in.requests["CreateEndpoint"].endpoint.display_name == "gate"
    model = stand_in.requests["UploadModel"].model
    assert (model.artifact_uri, model.container_spec.image_uri) == ("gs://bucket/model", "example.com/tf2-cpu:1")
    deployed = stand_in.requests["DeployModel"]
    resources = deployed.deployed_model.dedicated_resources
    assert resources.machine_spec.machine_type == "n1-standard-4"
    assert (resources.min_replica_count, resources.max_replica_count) == (1, 3)
    assert deployed.deployed_model.service_account == "runner@my-project.iam.gserviceaccount.com"
    assert dict(deployed.traffic_split) == {"0": 100}
