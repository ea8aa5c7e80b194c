"""The deployment of TF Serving: documents that are valid, and what must hold for every one of them."""

import importlib.metadata
import re
import shutil
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

KUBERNETES_VERSIONS = ["1.30", "1.37"]
# TF Serving's model_servers/main.cc.
FLAGS = {
    *("port", "rest_api_port", "model_name", "model_base_path", "model_config_file"),
    *("model_config_file_poll_wait_seconds", "file_system_poll_wait_seconds", "enable_model_warmup"),
    *("allow_version_labels_for_unavailable_models", "enable_batching", "batching_parameters_file"),
    *("monitoring_config_file", "enable_profiler", "grpc_channel_arguments"),
    *("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"),
}
# The stubs on PyPI lack these two messages: the fields are those of TF Serving's config/monitoring_config.proto and
# servables/tensorflow/session_bundle_config.proto.
MESSAGES = """
name: "serving.proto" package: "sluice.test" syntax: "proto3" dependency: "google/protobuf/wrappers.proto"
message_type { name: "Prometheus"
  field { name: "enable" number: 1 label: LABEL_OPTIONAL type: TYPE_BOOL }
  field { name: "path" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING } }
message_type { name: "Monitoring"
  field { name: "prometheus_config" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE
          type_name: ".sluice.test.Prometheus" } }
message_type { name: "Batching"
  field { name: "max_batch_size" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE
          type_name: ".google.protobuf.Int64Value" }
  field { name: "batch_timeout_micros" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE
          type_name: ".google.protobuf.Int64Value" }
  field { name: "max_enqueued_batches" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE
          type_name: ".google.protobuf.Int64Value" }
  field { name: "num_batch_threads" number: 4 label: LABEL_OPTIONAL type: TYPE_MESSAGE
          type_name: ".google.protobuf.Int64Value" }
  field { name: "allowed_batch_sizes" number: 6 label: LABEL_REPEATED type: TYPE_INT64 } }
"""


@pytest.fixture(scope="module")
def serving_dir(project_root):
    return project_root / "kubeflow" / "serving"


@pytest.fixture(scope="module")
def documents(serving_dir):
    """The Kubernetes documents by kind."""
    return {doc["kind"]: doc for doc in yaml.safe_load_all((serving_dir / "kubernetes.yaml").read_text())}


@pytest.fixture(scope="module")
def pod(documents):
    return documents["Deployment"]["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod):
    (container,) = pod["spec"]["containers"]
    return container


@pytest.fixture(scope="module")
def service(serving_dir):
    """The one service of the compose file."""
    (service,) = yaml.safe_load((serving_dir / "compose.yaml").read_text())["services"].values()
    return service


@pytest.fixture(scope="module")
def predictor(serving_dir):
    return yaml.safe_load((serving_dir / "kserve.yaml").read_text())["spec"]["predictor"]


def flags_of(arguments):
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize(
    "kind", ["Deployment", "Service", "PersistentVolumeClaim", "PodDisruptionBudget", "NetworkPolicy"]
)
def test_kubernetes_document_is_valid(documents, kind, version):
    kubernetes_validate.validate(documents[kind], version, strict=True)


def test_kubectl_renders_the_folder(serving_dir):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    rendered = subprocess.run(["kubectl", "kustomize", serving_dir], capture_output=True, text=True, check=True).stdout
    documents = list(yaml.safe_load_all(rendered))
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES_VERSIONS[0], strict=True)
    (config,) = (document for document in documents if document["kind"] == "ConfigMap")
    assert config["data"] == {
        name: (serving_dir / name).read_text() for name in ("monitoring.config", "batching_parameters.txt")
    }
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": config["metadata"]["name"]}} in volumes


def test_compose_file_keeps_to_its_schema(serving_dir):
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    process = subprocess.run([*checker, serving_dir / "compose.yaml"], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


def test_configs_are_the_messages_that_tf_serving_reads(serving_dir):
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(text_format.Parse(MESSAGES, descriptor_pb2.FileDescriptorProto()).SerializeToString())

    def read(file, message):
        new = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"sluice.test.{message}"))
        return text_format.Parse((serving_dir / file).read_text(), new())

    monitoring = read("monitoring.config", "Monitoring").prometheus_config
    assert monitoring.enable
    assert monitoring.path == "/monitoring/prometheus/metrics"
    batching = read("batching_parameters.txt", "Batching")
    assert batching.max_batch_size.value >= 1
    assert batching.num_batch_threads.value == 2  # the CPU limit
    assert batching.max_enqueued_batches.value >= 1
    # TF Serving demands that the last allowed size is the largest batch.
    assert list(batching.allowed_batch_sizes)[-1:] in ([], [batching.max_batch_size.value])


def test_configmap_is_made_of_the_files_that_the_server_reads(serving_dir, pod, container):
    (generated,) = yaml.safe_load((serving_dir / "kustomization.yaml").read_text())["configMapGenerator"]
    flags = flags_of(container["args"])
    files = {flags["monitoring_config_file"], flags["batching_parameters_file"]}
    assert {f"/config/{name}" for name in generated["files"]} == files
    assert all((serving_dir / name).is_file() for name in generated["files"])
    assert {"name": "config", "configMap": {"name": generated["name"]}} in pod["spec"]["volumes"]
    assert {"name": "config", "mountPath": "/config", "readOnly": True} in container["volumeMounts"]


def test_every_flag_is_one_of_tf_servings(service, container, predictor):
    for arguments in (service["command"], container["args"], predictor["model"]["args"]):
        assert set(flags_of(arguments)) <= FLAGS


def test_compose_and_kubernetes_start_the_same_server(service, container):
    assert service["entrypoint"] == container["command"] == ["tensorflow_model_server"]
    compose, kubernetes = flags_of(service["command"]), flags_of(container["args"])
    assert set(kubernetes) - set(compose) == {"grpc_channel_arguments"}
    different = {name for name in compose if compose[name] != kubernetes[name]}
    assert different == {"model_name", "model_base_path", "model_config_file"}


def test_profiler_is_off_everywhere(service, container, predictor):
    for arguments in (service["command"], container["args"], predictor["model"]["args"]):
        assert flags_of(arguments)["enable_profiler"] == "false"


def test_server_is_of_the_tensorflow_that_exports_the_model(service, container, predictor):
    tensorflow = importlib.metadata.version("tensorflow").rsplit(".", 1)[0]
    default_image = re.fullmatch(r"\$\{SERVING_IMAGE:-(.+)\}", service["image"])[1]
    assert default_image == container["image"] == f"tensorflow/serving:{predictor['model']['runtimeVersion']}"
    assert predictor["model"]["runtimeVersion"].startswith(f"{tensorflow}.")


def test_compose_gives_the_server_no_rights(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\$\{SERVING_USER:-[1-9]\d*:[1-9]\d*\}", service["user"])
    assert all(volume["read_only"] is True for volume in service["volumes"])
    assert service["cpus"] == 2
    assert service["mem_limit"] == "1g"


def test_compose_publishes_on_this_host_alone(service):
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]


def test_compose_mounts_the_models_under_their_own_path(service):
    models = service["volumes"][0]
    assert models["source"].startswith("${MODEL_DIR:?")  # refuses to start without one
    assert models["target"] == flags_of(service["command"])["model_base_path"] == "${MODEL_DIR}"
    assert models["bind"] == {"create_host_path": False}


def test_pod_has_no_rights(pod, container):
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


def test_pod_cannot_write_the_models(documents, pod, container):
    claim = documents["PersistentVolumeClaim"]["metadata"]["name"]
    (models,) = (volume for volume in pod["spec"]["volumes"] if volume["name"] == "models")
    assert models["persistentVolumeClaim"] == {"claimName": claim, "readOnly": True}
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "models")
    assert mount["readOnly"] is True
    assert flags_of(container["args"])["model_base_path"].startswith(mount["mountPath"] + "/")


def test_resources_are_limited(container, predictor):
    for resources in (container["resources"], predictor["model"]["resources"]):
        assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}


def test_probes_ask_for_a_model_that_answers(container):
    name = flags_of(container["args"])["model_name"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": f"/v1/models/{name}/metadata", "port": "rest"}
    assert container["livenessProbe"]["httpGet"] == {"path": f"/v1/models/{name}", "port": "rest"}


def test_clients_leave_a_pod_before_it_stops(documents, pod, container):
    age_ms = int(flags_of(container["args"])["grpc_channel_arguments"].removeprefix("grpc.max_connection_age_ms="))
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert age_ms / 1000 * 1.1 < int(seconds) < pod["spec"]["terminationGracePeriodSeconds"]  # gRPC adds up to 10 %
    assert documents["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_prometheus_is_sent_to_the_metrics(pod, container):
    annotations = pod["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == flags_of(container["args"])["rest_api_port"]
    assert annotations["prometheus.io/path"] == "/monitoring/prometheus/metrics"


def test_every_document_selects_the_pods(documents, pod):
    labels = pod["metadata"]["labels"]
    assert documents["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert documents["Service"]["spec"]["selector"] == labels
    assert documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_service_leads_to_both_apis(documents, container):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    flags = flags_of(container["args"])
    assert ports == {"grpc": int(flags["port"]), "rest": int(flags["rest_api_port"])}
    assert {port["targetPort"]: port["port"] for port in documents["Service"]["spec"]["ports"]} == ports


def test_network_policy_lets_nothing_out_and_only_clients_in(documents):
    spec = documents["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    assert all(rule["from"] for rule in spec["ingress"])  # an empty list would let everybody in


def test_kserve_serves_the_same_folder(serving_dir, documents, container, predictor):
    model, name = predictor["model"], flags_of(container["args"])["model_name"]
    document = yaml.safe_load((serving_dir / "kserve.yaml").read_text())
    assert (document["apiVersion"], document["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert document["metadata"]["name"] == name
    assert model["modelFormat"]["name"] == "tensorflow"
    assert model["storageUri"] == f"pvc://{documents['PersistentVolumeClaim']['metadata']['name']}/{name}"
    assert predictor["minReplicas"] <= predictor["maxReplicas"]
    assert predictor["automountServiceAccountToken"] is False
    assert predictor["securityContext"]["runAsNonRoot"] is True
    assert model["securityContext"] == container["securityContext"]
