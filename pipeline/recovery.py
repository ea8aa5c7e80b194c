"""Finds what a run left that died, and what does not belong together. Runs in the process of `sluice run`.

Every folder of an artifact is `<Component>/<output>/<execution id>` under the pipeline root, and the metadata store
says of every execution how it ended. Whoever holds the pipeline's lock (`run_lock.py`) knows that no other process of
this pipeline is alive, so that an execution that has not ended is dead.
"""

import contextlib
import re
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from pipeline.run_outcome import MetadataError

_FINISHED = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)
_ENDED = (*_FINISHED, metadata_store_pb2.Execution.FAILED, metadata_store_pb2.Execution.CANCELED)
FAILED, CANCELED = metadata_store_pb2.Execution.FAILED, metadata_store_pb2.Execution.CANCELED
_SYSTEM_DIRS = (".system", ".temp")  # of TFX, for the time of an execution


@dataclass(frozen=True)
class Leftovers:
    """What was put right.

    Attributes:
        components: Whose executions had not ended, in their order.
        folders: That were removed.
        num_gone: Artifacts that the metadata store called live and somebody removed.
    """

    components: tuple[str, ...]
    folders: tuple[Path, ...]
    num_gone: int


def check_sqlite(file: Path) -> None:
    """Checks a sqlite store before anything opens it.

    Raises:
        MetadataError: If it is damaged.
    """
    if not file.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as err:
        if "locked" in str(err):
            return  # another pipeline writes, or somebody looks; the store itself waits longer
        found = str(err)
    if found != "ok":
        raise MetadataError(
            f"the metadata store {file} is damaged ({found}). Put a copy back; or move it away, and `sluice clean "
            "--unknown` removes the artifacts that a new one does not know. What is served needs neither."
        )


def recover(handle: metadata.Metadata, pipeline_name: str, pipeline_root: Path) -> Leftovers:
    """Marks dead executions as failed, removes what they and killed commands left, and forgets artifacts that are gone.

    Raises:
        MetadataError: If there are artifacts that the store does not know: it was lost, or is an old copy.
    """
    dead = settle(handle, pipeline_name, FAILED)
    folders, unknown = sort_folders(handle, pipeline_name, pipeline_root)
    if unknown:
        raise MetadataError(
            f"the metadata store does not know {len(unknown)} folder{'s' * (len(unknown) > 1)} of artifacts in "
            f"{pipeline_root}, such as {unknown[0].relative_to(pipeline_root)}: it was lost, is an old copy, or "
            "`metadata` of the config names another. Put the right one back; or `sluice clean --keep 1 --unknown` "
            "removes these. What is served needs neither."
        )
    for folder in (*folders, *_system_folders(pipeline_root)):
        shutil.rmtree(folder)
    return Leftovers(dead, tuple(folders), _forget_gone(handle, pipeline_name, pipeline_root))


def settle(
    handle: metadata.Metadata, pipeline_name: str, state: "metadata_store_pb2.Execution.State.ValueType"
) -> tuple[str, ...]:
    """Gives every execution of a pipeline that has not ended the state `state`; returns their components."""
    dead = [each for each in _executions(handle, pipeline_name) if each.last_known_state not in _ENDED]
    for execution in dead:
        execution.last_known_state = state
    if dead:
        handle.store.put_executions(dead)
    return tuple(_component(handle, each, pipeline_name) for each in sorted(dead, key=lambda each: each.id))


def remove_unfinished(handle: metadata.Metadata, pipeline_name: str, pipeline_root: Path) -> None:
    """Removes what executions left that failed or were cancelled."""
    for folder in (*sort_folders(handle, pipeline_name, pipeline_root)[0], *_system_folders(pipeline_root)):
        shutil.rmtree(folder, ignore_errors=True)  # a thread of the execution may still write; the next run looks again


def sort_folders(handle: metadata.Metadata, pipeline_name: str, pipeline_root: Path) -> tuple[list[Path], list[Path]]:
    """Returns the folders under a pipeline root that no finished execution owns: those to remove, and those unknown."""
    folders = list(artifact_folders(pipeline_root))
    executions = {each.id: each for each in _executions(handle, pipeline_name)}
    states = _artifact_states(handle, {int(folder.name) for folder in folders} & executions.keys())
    to_remove: list[Path] = []
    unknown: list[Path] = []
    for folder in folders:
        state = states.get(folder.parts[-3:])
        execution = executions.get(int(folder.name))
        if state == metadata_store_pb2.Artifact.LIVE:
            continue
        if state is not None or (execution and execution.last_known_state not in _FINISHED):
            to_remove.append(folder)
        else:
            unknown.append(folder)
    return to_remove, unknown


def _forget_gone(handle: metadata.Metadata, pipeline_name: str, pipeline_root: Path) -> int:
    """Marks live artifacts as deleted that are not there; not those of a root that was moved. Returns how many."""
    context = handle.store.get_context_by_type_and_name("pipeline", pipeline_name)
    gone = [
        artifact
        for artifact in (handle.store.get_artifacts_by_context(context.id) if context else ())
        if artifact.state == metadata_store_pb2.Artifact.LIVE
        and Path(artifact.uri).is_relative_to(pipeline_root)
        and not Path(artifact.uri).exists()
    ]
    for artifact in gone:
        artifact.state = metadata_store_pb2.Artifact.DELETED
    if gone:
        handle.store.put_artifacts(gone)
    return len(gone)


def artifact_folders(pipeline_root: Path) -> Iterator[Path]:
    """Yields the folder of every artifact, finished or not, but none behind a link."""
    for folder in sorted(pipeline_root.glob("*/*/*")):
        is_numbered = re.fullmatch("[0-9]{1,18}", folder.name) and not folder.parent.name.startswith(".")
        if is_numbered and folder.is_dir() and is_in_place(folder, pipeline_root):
            yield folder


def is_in_place(path: Path, root: Path) -> bool:
    """Whether no link between a root and a path under it leads elsewhere; what lies there must not be removed."""
    return path.resolve() == root.resolve() / path.relative_to(root)


def _system_folders(pipeline_root: Path) -> Iterator[Path]:
    for name in _SYSTEM_DIRS:
        folders = sorted(pipeline_root.glob(f"*/{name}/*/*"))
        yield from (folder for folder in folders if is_in_place(folder, pipeline_root))


def _executions(handle: metadata.Metadata, pipeline_name: str) -> list[metadata_store_pb2.Execution]:
    with contextlib.suppress(errors.NotFoundError):
        context = handle.store.get_context_by_type_and_name("pipeline", pipeline_name)
        return list(handle.store.get_executions_by_context(context.id)) if context else []
    return []


def _component(handle: metadata.Metadata, execution: metadata_store_pb2.Execution, pipeline_name: str) -> str:
    names = [each.name for each in handle.store.get_contexts_by_execution(execution.id)]
    nodes = [name.removeprefix(f"{pipeline_name}.") for name in names if name.startswith(f"{pipeline_name}.")]
    return nodes[0] if nodes else f"execution {execution.id}"


def _artifact_states(handle: metadata.Metadata, execution_ids: Collection[int]) -> dict[tuple[str, ...], int]:
    """Returns the state of each artifact that the executions wrote, by the last three parts of its folder."""
    events = handle.store.get_events_by_execution_ids(sorted(execution_ids)) if execution_ids else []
    written = sorted({each.artifact_id for each in events if each.type == metadata_store_pb2.Event.OUTPUT})
    artifacts = handle.store.get_artifacts_by_id(written) if written else []
    return {Path(each.uri).parts[-3:]: each.state for each in artifacts}
