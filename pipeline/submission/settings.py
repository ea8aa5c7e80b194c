"""What of the config a submission cannot do without. Runs before anything is compiled or sent."""

from collections.abc import Iterator

from pipeline.config import PipelineConfig
from pipeline.config_errors import ConfigError
from pipeline.deployment_config import Target

_REQUIRED = {
    "vertex": {
        "project": "${GOOGLE_CLOUD_PROJECT}",
        "region": "${GOOGLE_CLOUD_REGION}",
        "pipeline_root": "gs://${GCS_BUCKET_NAME}/sluice/runs",
        "service_account": "${VERTEX_SA_EMAIL}",
    },
    "kubeflow": {"host": "${KF_PIPELINES_ENDPOINT}"},
}


def check_settings(config: PipelineConfig, target: Target, *, image: str | None) -> None:
    """Checks that a config says where to submit to.

    Args:
        config: The config.
        target: `vertex` or `kubeflow`.
        image: Container image that takes the place of the config's, or that a file to submit has.

    Raises:
        ConfigError: If something is missing; the message has a line for each.
    """
    if problems := list(_problems(config, target, image)):
        raise ConfigError("\n".join(problems))


def _problems(config: PipelineConfig, target: Target, image: str | None) -> Iterator[str]:
    for key, example in _REQUIRED[target].items():
        if not getattr(getattr(config, target), key):
            yield f"{target}.{key} is not set. Set {target}.{key}, for example from the environment: {example}"
    if not (image or config.image):
        yield "image is not set. Give --image, or set image, for example from the environment: ${PIPELINE_IMAGE}"
    schedule = config.kubeflow.schedule
    if target == "kubeflow" and schedule and schedule.cron.startswith("TZ="):
        yield (
            f"kubeflow.schedule.cron: {schedule.cron!r} has a time zone, which Kubeflow Pipelines knows only as a "
            "setting of the installation (CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow). Leave out TZ=..."
        )
