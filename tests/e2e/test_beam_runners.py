"""StatisticsGen on every runner that this machine can start: the same statistics as those of `sluice run`.

Beam's own job server in Python stands in for one of Flink or Spark where theirs, in Java, cannot be had: it speaks the
same protocol to the same client, and to the same workers.
"""

import os
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import apache_beam as beam
import grpc
import pytest
import tensorflow_data_validation as tfdv
from tfx.components.statistics_gen.executor import Executor as StatisticsGen
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from pipeline.beam import BeamConfig, beam_args

pytestmark = pytest.mark.e2e

SPLITS = ["train", "eval"]


@pytest.fixture
def start(tmp_path):
    """Starts a module of Beam on a free port of this machine, and returns HOST:PORT once it answers there."""
    processes = []

    def run(module, port_flag):
        with socket.create_server(("localhost", 0)) as server:
            port = server.getsockname()[1]
        log_file = tmp_path / f"{module}.log"
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # of its workers
        command = [sys.executable, "-m", f"apache_beam.runners.{module}", port_flag, str(port)]
        with log_file.open("w") as log:
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        grpc.channel_ready_future(grpc.insecure_channel(f"localhost:{port}")).result(timeout=120)
        return f"localhost:{port}"

    yield run
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=30)


@pytest.fixture
def job_endpoint(start):
    return start("portability.local_job_service_main", "--port")


@pytest.fixture
def worker_pool(start):
    return start("worker.worker_pool_main", "--service_port")


@pytest.fixture
def examples(reference):
    artifact = standard_artifacts.Examples()
    artifact.uri = output_of(reference, "ExampleGen", "examples")
    artifact.split_names = artifact_utils.encode_split_names(SPLITS)
    return artifact


@pytest.fixture
def schema(reference):
    artifact = standard_artifacts.Schema()
    artifact.uri = output_of(reference, "SchemaGen", "schema")
    return artifact


@pytest.fixture
def statistics_on(examples, schema, tmp_path):
    """Computes statistics with the arguments of a runner, by split."""

    def run(section, make_pipeline=None):
        config = BeamConfig.model_validate(section)
        args = beam_args(config, "StatisticsGen", image="registry.example.com/ml/sluice:1")
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / "statistics")
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=args,
            tmp_dir=str(tmp_path),
            unique_id="1",
            make_beam_pipeline_fn=make_pipeline and (lambda: make_pipeline(args)),
        )
        StatisticsGen(context).Do({"examples": [examples], "schema": [schema]}, {"statistics": [statistics]}, {})
        return None if make_pipeline else read_statistics(statistics.uri)

    return run


def read_statistics(folder):
    """Returns the rows and the statistics of each feature, whose order is any, of each split."""
    found = {}
    for split in SPLITS:
        (dataset,) = tfdv.load_stats_binary(f"{folder}/Split-{split}/FeatureStats.pb").datasets
        found[split] = dataset.num_examples, {each.path.step[0]: each for each in dataset.features}
    return found


def statistics_of(result):
    return read_statistics(output_of(result, "StatisticsGen", "statistics"))


def output_of(result, component, name):
    (run,) = (run for run in result.record["components"] if run["component"] == component)
    return run["outputs"][name]


@pytest.mark.parametrize("runner", ["flink", "spark"])
def test_job_server_gives_the_same_statistics(reference, statistics_on, job_endpoint, runner):
    options = {"job_endpoint": job_endpoint, "environment_type": "LOOPBACK"}
    assert statistics_on({"runner": runner, runner: options}) == statistics_of(reference)


def test_worker_pool_gives_the_same_statistics(reference, statistics_on, job_endpoint, worker_pool):
    options = {"job_endpoint": job_endpoint, "environment_type": "EXTERNAL", "environment_config": worker_pool}
    assert statistics_on({"runner": "flink", "flink": options}) == statistics_of(reference)


@pytest.mark.parametrize(
    ("runner", "artifact", "master"),
    [
        ("flink", "beam-runners-flink-2.2-job-server", "[local]"),
        ("spark", "beam-runners-spark-3-job-server", "local[2]"),
    ],
)
def test_cluster_in_a_java_job_server_gives_the_same_statistics(
    reference, statistics_on, tmp_path, runner, artifact, master
):
    if not shutil.which("java") or not shutil.which("mvn"):
        pytest.skip("java or mvn is not installed")
    coordinates = f"org.apache.beam:{artifact}:{version('apache-beam')}"
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
    command = ["mvn", "-q", "-B", goal, f"-Dartifact={coordinates}", f"-DoutputDirectory={tmp_path}"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"Maven does not find {coordinates}")
    (jar,) = tmp_path.glob("*.jar")
    options = {"master": master, "environment_type": "LOOPBACK", "job_server_jar": str(jar)}
    assert statistics_on({"runner": runner, runner: options}) == statistics_of(reference)


def test_dataflow_translates_the_pipeline(statistics_on):
    pipelines = []

    def make_pipeline(args):
        # Not the service's own address, so that Beam asks no bucket for its policy.
        pipelines.append(beam.Pipeline(argv=[*args, "--dry_run=True", "--dataflow_endpoint=http://localhost:1"]))
        return pipelines[-1]

    options = {"project": "my-project", "region": "europe-west4", "temp_location": "gs://my-bucket/tmp"}
    statistics_on({"runner": "dataflow", "dataflow": options}, make_pipeline)
    job = pipelines[0].result.job
    (environment,) = job.proto_pipeline.components.environments.values()
    assert environment.urn == "beam:env:docker:v1"
    assert b"registry.example.com/ml/sluice:1" in environment.payload
    # Nothing is installed on a worker, for the image has it: what is staged is a list of what is installed here.
    (staged,) = environment.dependencies
    assert b"submission_environment_dependencies.txt" in staged.role_payload
    assert job.root_staging_location == "gs://my-bucket/tmp"
    names = [transform.unique_name for transform in job.proto_pipeline.components.transforms.values()]
    assert any("GenerateStatistics" in name for name in names)
