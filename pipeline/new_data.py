"""Whether there is anything new to run for. Imports neither TensorFlow nor TFX."""

import hashlib
from pathlib import Path

from components.example_gen.input_files import files_digest
from components.pusher.versions import VersionError, served_versions
from components.source_digest import source_digest
from pipeline.config import PipelineConfig
from pipeline.reports.runs import list_runs
from pipeline.run_record import ExitCode, RunPaths

_DECIDED = (ExitCode.PUSHED, ExitCode.MODEL_REFUSED, ExitCode.DATA_REFUSED, ExitCode.INFRA_REFUSED)


def inputs_digest(config: PipelineConfig) -> str:
    """Returns the SHA-256 of what a run depends on: data, config, schema, and module files with what they import."""
    parts = [files_digest(config.example_gen.input_files()), config.model_dump_json()]
    for file in filter(None, (config.schema_gen.schema_file, config.tuner.hyperparameters)):
        parts.append(hashlib.sha256(Path(file).read_bytes()).hexdigest())
    parts.append(source_digest(config.transform.module_file, config.trainer.module_file, config.tuner.module_file))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def nothing_new(paths: RunPaths, digest: str) -> str:
    """Says that the last run decided on the same inputs, and how; empty if it did not.

    A run that failed, or whose push is gone, decided nothing that still holds.
    """
    runs, _ = list_runs(paths.reports_dir)
    if not runs or runs[0].exit_code not in _DECIDED or runs[0].summary.inputs_digest != digest:
        return ""
    last = runs[0]
    try:
        if last.exit_code == ExitCode.PUSHED and not served_versions(paths.serving_model_dir):
            return ""
    except VersionError:
        return ""
    return f"NOTHING NEW: data and config are those of run {last.run_id}: {last.verdict}"
