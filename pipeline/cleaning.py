"""Removes the artifacts and logs of old runs. Runs in the process of `sluice clean`.

A run's artifacts are those that its executions wrote or took from the cache. What the newest runs used stays, so that
their cache works, and what the runs used whose models are served or labelled; a baseline is a served version.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.model_manifest import ManifestError, read_manifest
from components.pusher.versions import list_versions, read_policy, served_versions
from pipeline.recovery import FAILED, artifact_folders, is_in_place, settle, sort_folders
from pipeline.reports.runs import list_runs
from pipeline.run_record import ExitCode, RunPaths

_RUN_TYPE = "pipeline_run"  # of MLMD's contexts, as TFX names it
_COMPLETE = (ExitCode.PUSHED, ExitCode.MODEL_REFUSED, ExitCode.INFRA_REFUSED)


@dataclass(frozen=True)
class Doomed:
    """What is to be removed.

    Attributes:
        folders: Of artifacts, finished or not.
        logs: Of runs that keep no artifacts.
        artifacts: Of the metadata store, that live in the folders.
        num_bytes: Of folders and logs.
        num_kept: Runs that keep their artifacts.
        versions: Served or labelled ones, whose runs are among these.
    """

    folders: tuple[Path, ...]
    logs: tuple[Path, ...]
    artifacts: tuple[metadata_store_pb2.Artifact, ...]
    num_bytes: int
    num_kept: int
    versions: tuple[int, ...]


def find_doomed(handle: metadata.Metadata, paths: RunPaths, *, keep: int, with_unknown: bool = False) -> Doomed:
    """Finds what no kept run used. The caller holds the pipeline's lock, so that what is unfinished is dead.

    Args:
        handle: The metadata store.
        paths: Of the pipeline.
        keep: How many of the newest runs keep their artifacts.
        with_unknown: Whether artifacts go that the metadata store does not know.
    """
    settle(handle, paths.pipeline_name, FAILED)
    versions = _protected_versions(paths.serving_model_dir)
    contexts = {each.name: each for each in _run_contexts(handle, paths.pipeline_name)}
    kept = _kept_runs(sorted(contexts), paths, keep, versions)
    used = {artifact.id for name in kept for artifact in handle.store.get_artifacts_by_context(contexts[name].id)}
    artifacts = [
        artifact
        for name in contexts.keys() - kept
        for artifact in handle.store.get_artifacts_by_context(contexts[name].id)
        if artifact.id not in used and artifact.state == metadata_store_pb2.Artifact.LIVE
    ]
    doomed = {artifact.id: artifact for artifact in artifacts}
    unfinished, unknown = sort_folders(handle, paths.pipeline_name, paths.pipeline_root)
    old = [paths.pipeline_root.joinpath(*Path(artifact.uri).parts[-3:]) for artifact in doomed.values()]
    removable = set(artifact_folders(paths.pipeline_root))  # whatever path the metadata store names
    folders = sorted(removable & {*old, *unfinished, *unknown * with_unknown})
    logs = [file for file in sorted(paths.log_file.parent.glob("*.log")) if file.stem not in kept]
    logs = [file for file in logs if is_in_place(file.parent, paths.root)]
    return Doomed(
        tuple(folders), tuple(logs), tuple(doomed.values()), sum(map(_size, (*folders, *logs))), len(kept), versions
    )


def remove(handle: metadata.Metadata, doomed: Doomed) -> None:
    """Removes it: first from what the metadata store calls live, so that a run never reads half an artifact."""
    for artifact in doomed.artifacts:
        artifact.state = metadata_store_pb2.Artifact.DELETED
    if doomed.artifacts:
        handle.store.put_artifacts(doomed.artifacts)
    for folder in doomed.folders:
        shutil.rmtree(folder)
    for log in doomed.logs:
        log.unlink()


def _run_contexts(handle: metadata.Metadata, pipeline_name: str) -> Iterable[metadata_store_pb2.Context]:
    pipeline = handle.store.get_context_by_type_and_name("pipeline", pipeline_name)
    children = handle.store.get_children_contexts_by_context(pipeline.id) if pipeline else []
    return [each for each in children if each.type == _RUN_TYPE]


def _kept_runs(runs: list[str], paths: RunPaths, keep: int, versions: Iterable[int]) -> set[str]:
    kept = set(runs[-keep:])
    records, _ = list_runs(paths.reports_dir)
    complete = [each.run_id for each in records if each.exit_code in _COMPLETE and each.summary.outcome != "killed"]
    kept |= set(complete[:1])  # whose cache the next run continues, however many failed since
    for version in versions:
        try:
            kept.add(read_manifest(str(paths.serving_model_dir / str(version)))["run_id"])
        except (ManifestError, KeyError):
            continue  # of a stock Pusher, or somebody else
    return kept & set(runs)


def _protected_versions(base_dir: Path) -> tuple[int, ...]:
    versions = {*served_versions(base_dir), *read_policy(base_dir).labels.values()} if base_dir.is_dir() else set()
    return tuple(sorted(versions & set(list_versions(base_dir))))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
