"""Walks what runs left, files and metadata store alike, and says what does not belong together."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import tensorflow as tf
from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from components.model_manifest import make_manifest, read_manifest
from components.pusher.versions import list_versions, served_versions
from pipeline.run_record import RunPaths

LIVE, NEW, RUNNING, COMPLETE, CACHED = 2, 1, 2, 3, 5  # of MLMD's metadata_store.proto


def problems_of(root, *, name="reference", num_runs=None, load=True, connection=None):
    """Returns what is wrong under a root, a sentence each.

    Args:
        root: Of one pipeline's runs, none of which is at work.
        name: Of the pipeline.
        num_runs: How many records there must be.
        load: Whether the served version is loaded.
        connection: Of MLMD to the server that has the metadata; without one they are in a file.
    """
    paths = RunPaths(Path(root), name, "")
    found = [] if connection else _problems_of_sqlite(paths.metadata_file)
    store = MetadataStore(connection or sqlite_metadata_connection_config(str(paths.metadata_file)))
    context = store.get_context_by_type_and_name("pipeline", name).id
    executions = {each.id: each.last_known_state for each in store.get_executions_by_context(context)}
    artifacts = store.get_artifacts_by_context(context)
    found += [f"execution {key} is in state {state}" for key, state in executions.items() if state in (NEW, RUNNING)]
    live = {Path(each.uri) for each in artifacts if each.state == LIVE}
    folders = {Path(each) for each in paths.pipeline_root.glob("*/*/[0-9]*") if not each.parent.name.startswith(".")}
    found += [f"{folder} belongs to no live artifact" for folder in sorted(folders - live)]
    found += [f"{folder} of a live artifact is not there" for folder in sorted(live - folders)]
    found += [f"{key} wrote to an execution that is not complete" for key, state in executions.items()
              if state not in (COMPLETE, CACHED) and any(int(folder.name) == key for folder in live)]  # fmt: skip
    found += [f"{file} is half written" for file in paths.root.rglob("*") if is_unfinished(file)]
    found += _problems_of_runs(paths, num_runs) + _problems_of_pushes(paths, load)
    if paths.lock_file.read_text():
        found.append(f"the lock is held: {paths.lock_file.read_text()}")
    return found


def _problems_of_sqlite(file):
    with closing(sqlite3.connect(file)) as store:
        (integrity,) = store.execute("PRAGMA integrity_check").fetchone()
        orphans = store.execute(
            "SELECT id FROM Execution WHERE id NOT IN (SELECT execution_id FROM Association) "
            "UNION SELECT id FROM Artifact WHERE id NOT IN (SELECT artifact_id FROM Attribution)"
        ).fetchall()
    return [f"sqlite: {integrity}"] * (integrity != "ok") + [f"{each} is of no pipeline" for each in orphans]


def is_unfinished(file):
    return file.name.startswith((".push-", "beam-temp")) or file.suffix == ".unfinished" or file.name == ".staging"


def _problems_of_runs(paths, num_runs):
    records = [json.loads(file.read_text()) for file in sorted(paths.reports_dir.glob("*/run.json"))]
    logs = {file.stem for file in paths.log_file.parent.glob("2*.log")}
    found = [f"run {each} has no record" for each in sorted(logs - {record["run_id"] for record in records})]
    if num_runs is not None and len(records) != num_runs:
        found.append(f"{len(records)} records of {num_runs} runs")
    if paths.temporary_dir.exists():
        found.append(f"{paths.temporary_dir} is left")
    return found


def _problems_of_pushes(paths, load):
    base_dir, found = paths.serving_model_dir, []
    for version in list_versions(base_dir) if base_dir.exists() else ():
        folder = str(base_dir / str(version))
        if make_manifest(folder)["digest"] != read_manifest(folder)["digest"]:
            found.append(f"version {version} is not what its manifest says")
    for version in served_versions(base_dir) if load and base_dir.exists() else ():
        model = tf.saved_model.load(os.fspath(base_dir / str(version)))
        if "serving_default" not in model.signatures:
            found.append(f"version {version} has no signature")
    return found
