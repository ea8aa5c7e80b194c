"""Compiles each spec once per session; `--update-golden` writes what is compiled now as what is expected."""

import pytest

from pipeline.config import load_config
from pipeline.kubeflow_v2_runner import compile_pipeline

EVERY_OPTION = (
    "image=registry.example.com/ml/sluice:1",
    "tasks={default: {cpu: 1, memory: 4G, max_retries: 2, backoff_secs: 30}}",
    "tasks.ExampleGen={cpu: 500m, memory: 2Gi}",
    "tasks.Trainer={cpu: 8, memory: 30G, accelerator: {type: NVIDIA_TESLA_T4, count: 2}, enable_cache: false}",
    "tasks.Pusher={max_retries: 0}",
    "notification.webhook_url=https://hooks.example.com/sluice",
    "tuner={algorithm: hyperband, search_space: {batch_size: [16, 32]}}",
    "trainer.warm_start=true",
    "vertex={project: my-project, region: europe-west4, labels: {team: water}, pipeline_root: gs://bucket/runs}",
    "vertex.input_dir=gs://bucket/data",
    "vertex.unlabelled_input_dir=gs://bucket/unlabelled",
    "vertex.serving_model_dir=gs://bucket/models",
    "data_gate.skew={requests: gs://bucket/requests.jsonl, severity: fail, thresholds: {ph: 0.2}}",
    "vertex.serving_requests=gs://bucket/requests.jsonl",
    "vertex.service_account=runner@my-project.iam.gserviceaccount.com",
    "vertex.network=projects/1/global/networks/vpc",
    "vertex.kms_key=projects/p/locations/l/keyRings/r/cryptoKeys/k",
    "vertex.training={machine_type: n1-highmem-8, accelerator: {type: NVIDIA_TESLA_T4, count: 2}, replica_count: 3}",
    "vertex.serving={endpoint_name: gate, image: europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest}",
    "kubeflow={pipeline_root: s3://bucket/runs, input_dir: /mnt/sluice/data, serving_model_dir: /mnt/sluice/models,"
    " unlabelled_input_dir: /mnt/sluice/unlabelled, serving_requests: /mnt/sluice/requests.jsonl,"
    " volumes: [{claim_name: sluice, mount_path: /mnt/sluice}]}",
)


@pytest.fixture(scope="session")
def compiled(reference_config_file, tmp_path_factory):
    """Compiled pipelines by `<target>-<config>`: `reference`, and `every-option` with every optional node."""
    data_dir = tmp_path_factory.mktemp("spans")
    (data_dir / "span-1").mkdir()
    (data_dir / "span-1" / "rows.csv").write_text("x\n1\n")
    (data_dir / "rows.csv").write_text("x\n1\n")
    spans = (f"example_gen={{input_dir: {data_dir}, pattern: 'span-{{SPAN}}/*.csv'}}",)
    options = {"reference": (), "every-option": (*EVERY_OPTION, *spans, f"bulk_inferrer.input_dir={data_dir}")}
    return {
        f"{target}-{name}": compile_pipeline(load_config(reference_config_file, overrides), target=target)
        for name, overrides in options.items()
        for target in ("vertex", "kubeflow")
    }
