"""What a config may say about Beam, and the arguments that Beam gets for it. The options are read by Beam itself."""

import importlib.metadata
import re

import kubernetes_validate
import pytest
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions, GoogleCloudOptions, PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from click.testing import CliRunner
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.utils.dependency_utils import make_beam_dependency_flags

from pipeline import beam
from pipeline.beam import BeamConfig, beam_args
from pipeline.cli import main
from pipeline.config import load_config
from pipeline.config_errors import ConfigError
from pipeline.definition import create_components, create_pipeline
from pipeline.kubeflow_v2_runner import CompileError, compile_pipeline
from pipeline.run_record import BEAM_COMPONENTS

FLINK_HERE = "flink: {master: '[local]', environment_type: LOOPBACK}"
DATAFLOW = "dataflow: {project: my-project, region: europe-west4, temp_location: gs://bucket/tmp}"
IMAGE = "registry.example.com/ml/sluice:1"


@pytest.fixture
def options_of(caplog):
    """Reads arguments as Beam does when a pipeline is made; none may be unknown to it or in the way of another."""

    def read(args):
        options = PipelineOptions(args)
        values = options.get_all_options()
        assert "unparseable" not in caplog.text
        validator = PipelineOptionsValidator(options, None)  # given DataflowRunner, it would ask for the bucket
        assert validator.validate() == []
        if values["runner"] == "DataflowRunner":
            assert validator.validate_cloud_options(options.view_as(GoogleCloudOptions)) == []
        return values

    return read


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{runner: samza}", "beam.runner: 'samza' is not one of its values.\nExpected one of: local, flink"),
        ("{runner: flink, flink: {version: 1.12, master: '[local]'}}",
         "beam.flink.version: '1.12' is not one of its values.\nExpected one of: 1.19, 1.20, 2.0, 2.1, 2.2."),
        ("{runner: flink}", "beam.runner is flink, without options. Give the section beam.flink."),
        ("{components: {Transform: {runner: spark}}}", "beam.components.Transform.runner is spark, without options."),
        ("{runner: flink, flink: {}}", "beam.flink: give either master, .* or the job_endpoint of one."),
        ("{runner: spark, spark: {master: 'local', job_endpoint: 'here:8099'}}", "beam.spark: give either master, "),
        ("{runner: flink, flink: {master: flink}}",
         "beam.flink.master: 'flink' is not HOST:PORT of Flink's REST API, nor \"\\[local\\]\"."),
        ("{runner: spark, spark: {master: 'http://spark:7077'}}",
         "beam.spark.master: 'http://spark:7077' is not spark://HOST:PORT, nor \"local\""),
        ("{runner: flink, flink: {job_endpoint: 'http://flink:8099'}}",
         "beam.flink.job_endpoint: 'http://flink:8099' is not HOST:PORT"),
        ("{runner: flink, flink: {master: '[local]', job_server_jar: nowhere.jar}}",
         "beam.flink.job_server_jar: there is no file .*nowhere.jar. Give the path or the http"),
        ("{runner: flink, flink: {job_endpoint: 'flink:8099', job_server_jar: 'https://example.com/a.jar'}}",
         "beam.flink: job_server_jar is started for a master; at job_endpoint a job server runs already."),
        ("{runner: flink, flink: {master: 'flink:8081', environment_type: EXTERNAL}}",
         "environment_config is the HOST:PORT of a worker pool: environment_type EXTERNAL needs it"),
        ("{runner: flink, flink: {master: 'flink:8081', environment_type: PROCESS}}",
         "'PROCESS' is not one of its values.\nExpected one of: DOCKER, EXTERNAL, LOOPBACK."),
        ("{runner: flink, flink: {master: 'flink:8081', environment_type: LOOPBACK}}",
         "with environment_type LOOPBACK flink:8081 would look for the workers at its own localhost. Expected one of:"),
        ("{runner: dataflow, dataflow: {project: my-project}}",
         "beam.dataflow: region, temp_location: no value. Dataflow needs a project, a region such as"),
        ("{runner: dataflow, dataflow: {temp_location: /tmp}}", "temp_location: '/tmp' is not gs://BUCKET/FOLDER."),
        ("{runner: dataflow, dataflow: {region: europe}}", "region: 'europe' is not a region, such as europe-west4."),
        (f"{{runner: dataflow, {DATAFLOW}}}", "the workers of ExampleGen, .* are containers, of which image"),
        (f"{{runner: dataflow, {DATAFLOW}}}", "the workers of ExampleGen, .* cannot read local folders. Set"),
        ("{runner: flink, flink: {master: '[local]', max_num_workers: 3}}",
         "beam.flink.max_num_workers: is not a known key.\nExpected one of: master, .*, parallelism."),
        (f"{{runner: local, {FLINK_HERE}}}", "beam.flink: no component runs on flink. Set a runner to"),
        ("{components: {Trainer: {runner: flink}}}", "'Trainer' runs no Beam. Expected one of: ExampleGen, Statistics"),
        ("{components: {Pump: {runner: flink}}}", "'Pump' is no component of the pipeline. Expected one of: Ex"),
    ],
)  # fmt: skip
def test_mistake_is_explained(reference_config_file, section, message):
    with pytest.raises(ConfigError, match=re.compile(message, re.DOTALL)):
        load_config(reference_config_file, [f"beam={section}"])


def test_versions_of_flink_are_beams():
    message = "1.19, 1.20, 2.0, 2.1, 2.2"
    assert message == ", ".join(FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS)
    for version in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS:
        assert beam.FlinkConfig(master="[local]", version=version).version == version


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{}", {"runner": "FnApiRunner"}),
        (f"{{runner: flink, {FLINK_HERE}}}",
         {"runner": "FlinkRunner", "flink_master": "[local]", "flink_version": "2.2", "environment_type": "LOOPBACK"}),
        ("{runner: flink, flink: {master: 'flink:8081', version: '1.20', parallelism: 4,"
         " job_server_jar: 'https://example.com/flink.jar'}}",
         {"runner": "FlinkRunner", "flink_master": "flink:8081", "flink_version": "1.20", "parallelism": 4,
          "flink_job_server_jar": "https://example.com/flink.jar",
          "environment_type": "DOCKER", "environment_config": IMAGE, "sdk_container_image": IMAGE}),
        ("{runner: spark, spark: {job_endpoint: 'spark:8099', environment_type: EXTERNAL,"
         " environment_config: 'localhost:50000'}}",
         {"runner": "SparkRunner", "job_endpoint": "spark:8099", "environment_type": "EXTERNAL",
          "environment_config": "localhost:50000"}),
        ("{runner: spark, spark: {master: 'spark://spark:7077', job_server_jar: 'https://example.com/spark.jar'}}",
         {"runner": "SparkRunner", "spark_master_url": "spark://spark:7077", "environment_config": IMAGE,
          "spark_job_server_jar": "https://example.com/spark.jar"}),
        ("{runner: dataflow, dataflow: {project: my-project, region: europe-west4, temp_location: gs://bucket/tmp,"
         " staging_location: gs://bucket/staging, service_account_email: a@b.iam.gserviceaccount.com, network: vpc,"
         " subnetwork: regions/europe-west4/subnetworks/beam, use_public_ips: false, max_num_workers: 8,"
         " machine_type: n1-standard-4}}",
         {"runner": "DataflowRunner", "project": "my-project", "region": "europe-west4",
          "temp_location": "gs://bucket/tmp", "staging_location": "gs://bucket/staging",
          "service_account_email": "a@b.iam.gserviceaccount.com", "network": "vpc",
          "subnetwork": "regions/europe-west4/subnetworks/beam", "use_public_ips": False, "max_num_workers": 8,
          "machine_type": "n1-standard-4", "sdk_container_image": IMAGE}),
    ],
)  # fmt: skip
def test_beam_reads_what_the_config_says(section, expected, options_of):
    values = options_of(beam_args(BeamConfig.model_validate(yaml.safe_load(section)), "Transform", image=IMAGE))
    assert {key: values[key] for key in expected} == expected


@pytest.mark.parametrize("section", ["{}", f"{{runner: flink, {FLINK_HERE}}}", f"{{runner: dataflow, {DATAFLOW}}}"])
def test_tfx_does_not_package_itself_for_workers(section):
    args = beam_args(BeamConfig.model_validate(yaml.safe_load(section)), "Transform")
    assert make_beam_dependency_flags(args) == args


def test_component_has_a_runner_of_its_own():
    section = f"{{runner: flink, flink: {{job_endpoint: 'flink:8099'}}, {DATAFLOW}," + (
        "components: {Transform: {runner: dataflow}, Evaluator: {flink: {job_endpoint: 'big:8099'}},"
        " ExampleGen: {runner: local}}}"
    )
    config = BeamConfig.model_validate(yaml.safe_load(section))
    assert "--runner=DataflowRunner" in beam_args(config, "Transform")
    assert "--job_endpoint=big:8099" in beam_args(config, "Evaluator")
    assert "--job_endpoint=flink:8099" in beam_args(config, "StatisticsGen")
    assert beam_args(config, "ExampleGen") == list(beam.LOCAL_BEAM_ARGS)
    assert "ExampleGen" not in config.distributed_components
    assert "ExampleGen" not in config.container_components


@pytest.mark.parametrize(
    ("options", "sees_local_files"),
    [
        ({"master": "[local]", "environment_type": "LOOPBACK"}, True),
        ({"master": "http://localhost:8081", "environment_type": "LOOPBACK"}, True),
        ({"job_endpoint": "127.0.0.1:8099", "environment_type": "EXTERNAL", "environment_config": "localhost:1"}, True),
        ({"master": "flink:8081", "environment_type": "EXTERNAL", "environment_config": "localhost:1"}, False),
        ({"master": "[local]", "environment_type": "DOCKER"}, False),
    ],
)
def test_workers_on_this_machine_see_its_files(options, sees_local_files):
    assert beam.FlinkConfig(**options).sees_local_files is sees_local_files


def test_pipeline_gives_each_beam_component_its_arguments(reference_config_file, reference_csv):
    config = load_config(
        reference_config_file,
        [
            f"bulk_inferrer.input_dir={reference_csv.parent}",
            f"beam={{components: {{Transform: {{runner: flink}}}}, {FLINK_HERE}}}",
        ],
    )
    components = create_components(config, config.run_parameters() | {"serving_model_dir": "models"})
    pipeline = create_pipeline(config, components, pipeline_root="root")
    args = {
        component.id: component.executor_spec.beam_pipeline_args
        for component in pipeline.components
        if isinstance(component, BaseBeamComponent)
    }
    assert set(args) == set(BEAM_COMPONENTS)
    assert args.pop("Transform") == beam_args(config.beam, "Transform")
    assert all(each == list(beam.LOCAL_BEAM_ARGS) for each in args.values())


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_compiled_task_of_remote_workers_keeps_its_uris(reference_config_file, target):
    section = f"beam={{{DATAFLOW}, components: {{Transform: {{runner: dataflow}}}}}}"
    folder = f"{target}.pipeline_root=gs://bucket/runs"
    config = load_config(reference_config_file, [section, f"image={IMAGE}", folder])
    executors = compile_pipeline(config, target=target).spec["deploymentSpec"]["executors"]
    args = executors["Transform_executor"]["container"]["args"]
    assert args[-len(beam_args(config.beam, "Transform")) :] == beam_args(config.beam, "Transform", image=IMAGE)
    assert "--local_artifacts" not in args
    others = executors["StatisticsGen_executor"]["container"]["args"]
    assert ("--local_artifacts" in others) == (target == "kubeflow")
    assert "--runner=FnApiRunner" in others
    assert not any(arg.startswith("--runner") for arg in executors["Trainer_executor"]["container"]["args"])


def test_target_whose_folders_remote_workers_cannot_read_is_refused(reference_config_file):
    section = f"beam={{runner: dataflow, {DATAFLOW}}}"
    config = load_config(reference_config_file, [section, f"image={IMAGE}", "vertex.pipeline_root=gs://bucket/runs"])
    with pytest.raises(CompileError, match=r"Beam workers \(ExampleGen, .*\) read no folder but gs://BUCKET/FOLDER."):
        compile_pipeline(config, target="kubeflow")


def test_run_refuses_workers_that_cannot_read_its_root(tmp_path):
    settings = [f"beam={{runner: dataflow, {DATAFLOW}}}", f"image={IMAGE}", "vertex.pipeline_root=gs://bucket/runs"]
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    result = CliRunner().invoke(main, ["run", "--root", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert "the Beam workers of ExampleGen, " in result.output
    assert "Compile the pipeline, or run Beam in this process with --set 'beam={}'." in result.output
    assert not (tmp_path / "out").exists()


def test_any_config_can_run_its_beam_in_this_process(tmp_path, reference_config_file):
    file = tmp_path / "remote.yaml"
    file.write_text(f"extends: {reference_config_file}\nimage: {IMAGE}\nvertex: {{pipeline_root: gs://bucket/runs}}\n"
                    f"beam: {{runner: dataflow, {DATAFLOW}}}\n")  # fmt: skip
    assert load_config(str(file)).beam.distributed_components == list(BEAM_COMPONENTS)
    assert load_config(str(file), ["beam={}"]).beam == BeamConfig()


def blocks_of(readme):
    return re.findall(r"^```yaml\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)


def test_every_documented_set_up_is_a_valid_config(project_root, reference_config_file, tmp_path):
    blocks = blocks_of(project_root / "kubeflow" / "beam" / "README.md")
    runners = set()
    for block in blocks:
        file = tmp_path / "documented.yaml"
        file.write_text(f"extends: {reference_config_file}\n{block}")
        config = load_config(str(file)).beam
        runners |= {config.of(component).runner for component in BEAM_COMPONENTS}
    assert runners == {"local", "flink", "spark", "dataflow"}


def test_documented_job_servers_are_of_this_beam(project_root):
    texts = [file.read_text() for file in (project_root / "kubeflow" / "beam").iterdir()]
    tags = re.findall(r"apache/beam_(?:flink([0-9.]+)|spark3)_job_server:([0-9.]+[0-9])", "\n".join(texts))
    assert {beam_version for _, beam_version in tags} == {importlib.metadata.version("apache-beam")}
    flink_versions = {flink_version for flink_version, _ in tags if flink_version}
    assert flink_versions <= set(FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS)


def test_flink_cluster_has_the_documented_workers_and_job_server(project_root):
    cluster, deployment, service = yaml.safe_load_all((project_root / "kubeflow" / "beam" / "flink.yaml").read_text())
    for document in (deployment, service):
        kubernetes_validate.validate(document, "1.30", strict=True)
    image = cluster["spec"]["image"].removeprefix("flink:")
    assert cluster["spec"]["flinkVersion"] == "v" + image.replace(".", "_")
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    assert f"beam_flink{image}_job_server" in server["image"]
    assert f"--flink-master={cluster['metadata']['name']}-rest:8081" in server["args"]
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    (options,) = (
        options
        for block in blocks_of(project_root / "kubeflow" / "beam" / "README.md")
        if (options := yaml.safe_load(block)["beam"].get("flink")) and options["environment_type"] == "EXTERNAL"
    )
    assert (
        options["job_endpoint"] == f"{service['metadata']['name']}.kubeflow.svc:{service['spec']['ports'][0]['port']}"
    )
