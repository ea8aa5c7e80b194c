"""One rehearsal, from a checked spec to an exit code: what it shows and what it keeps."""

import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.rehearsal.backend import FAILED, SUCCEEDED, Backend, TaskRun
from pipeline.rehearsal.launcher import Launcher
from pipeline.rehearsal.paths import PathMap
from pipeline.rehearsal.spec import Specification, leaf_names
from pipeline.run_record import ComponentRun, ExitCode
from pipeline.terminal import Terminal, shown

_RECORD_FILE = "rehearsal.json"


def run_rehearsal(
    specification: Specification,
    parameters: Mapping[str, Any],
    *,
    folders: Mapping[str, Path],
    root: Path,
    max_backoff_secs: float,
) -> ExitCode:
    """Executes a spec, prints its course and keeps what every task read, wrote and printed.

    Args:
        specification: The spec.
        parameters: Value of every runtime parameter.
        folders: Folders of this machine by the prefix of the paths that they stand for.
        root: Holds a folder per pipeline and rehearsal.
        max_backoff_secs: The longest wait before a retry.
    """
    start, name = time.perf_counter(), specification.pipeline.pipeline_info.name
    run_id = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    run_dir = root.absolute() / name / run_id
    run_dir.mkdir(parents=True)
    width = max(map(len, leaf_names(specification.pipeline)), default=0)
    terminal = Terminal(sys.stdout, name_width=width + 2)
    _print_head(terminal, specification)
    paths = PathMap({**_make_volumes(specification, run_dir), **folders}, run_dir / "remote")
    backend = Backend(
        specification,
        Launcher(paths, _names(name, run_id, run_dir)),
        run_dir,
        max_backoff_secs,
        on_start=lambda task: terminal.start(task.name),
        on_finish=lambda task: terminal.finish_component(_component_run(task)),
        on_retry=lambda task: terminal.print(f"  {task.name}: attempt {task.attempts} {task.error}", "yellow"),
    )
    try:
        whole = backend.run(parameters)
        exit_code = ExitCode.PUSHED if whole.state == SUCCEEDED else ExitCode.FAILED
        verdict = _verdict(whole, backend.tasks, time.perf_counter() - start)
    except KeyboardInterrupt:
        exit_code, verdict = ExitCode.INTERRUPTED, "INTERRUPTED"
    terminal.stop()
    _write_record(run_dir, verdict, parameters, backend.tasks)
    for task in backend.tasks:
        if task.state == FAILED:
            terminal.print(f"Log     {shown(run_dir / task.name / 'log.txt')}")
    terminal.print(f"Record  {shown(run_dir / _RECORD_FILE)}, beside the folder of each task")
    terminal.print(verdict, "bold green" if exit_code == ExitCode.PUSHED else "bold red")
    return exit_code


def _write_record(run_dir: Path, verdict: str, parameters: Mapping[str, Any], tasks: list[TaskRun]) -> None:
    record = {"verdict": verdict, "parameters": dict(parameters), "tasks": list(map(dataclasses.asdict, tasks))}
    (run_dir / _RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n")


def _make_volumes(specification: Specification, run_dir: Path) -> dict[str, Path]:
    """Makes a folder for each volume of the spec; returns them by the paths that containers see them at."""
    volumes = {path: run_dir / "volumes" / path.strip("/") for path in specification.mount_paths}
    for folder in volumes.values():
        folder.mkdir(parents=True)
    return volumes


def _print_head(terminal: Terminal, specification: Specification) -> None:
    images = {executor.container.image for executor in specification.executors.values()} - {""}
    terminal.print(f"Rehearsal of {specification.pipeline.pipeline_info.name}")
    if images:
        terminal.print(f"Commands run in this environment; not pulled: {', '.join(sorted(images))}")


def _names(name: str, run_id: str, run_dir: Path) -> dict[str, str]:
    """Returns the values of the placeholders that are the same in every task (kfp's dsl/__init__.py)."""
    resource_name = f"projects/rehearsal/locations/local/pipelineJobs/{name}-{run_id}"
    times = dict.fromkeys(
        ("pipeline_job_create_time_utc", "pipeline_job_schedule_time_utc"), datetime.now(UTC).isoformat()
    )
    return {
        "pipeline_job_name": f"{name}-{run_id}",
        "pipeline_job_resource_name": resource_name,
        "pipeline_job_uuid": run_id,
        "pipeline_root": str(run_dir),
        **times,
    }


def _component_run(task: TaskRun) -> ComponentRun:
    return ComponentRun(task.name, "done" if task.state == SUCCEEDED else task.state, task.seconds)


def _verdict(whole: TaskRun, tasks: list[TaskRun], seconds: float) -> str:
    counts = Counter(task.state for task in tasks)
    figures = ", ".join(f"{count} {state}" for state, count in counts.items())
    if whole.state == SUCCEEDED:
        return f"SUCCEEDED: tasks: {figures}; {seconds:.1f} s"
    failed = next(task for task in tasks if task.state == FAILED)
    attempts = f" after {failed.attempts} attempts" * (failed.attempts > 1)
    return f"FAILED: {failed.name}{attempts}: {failed.error} (tasks: {figures}; {seconds:.1f} s)"
