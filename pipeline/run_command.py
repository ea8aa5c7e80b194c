"""`sluice run`: from a config to an exit code, with every way a run can end. Imports TFX only once it runs."""

import contextlib
import gc
import json
import logging
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.data_gate import DataRefusedError
from components.trainer import TRAINING_TRACE_FILE
from pipeline.config import PipelineConfig
from pipeline.log_file import redirected_output
from pipeline.run_record import (
    ExitCode,
    RunPaths,
    RunRecord,
    last_full_run_seconds,
)
from pipeline.terminal import Terminal, shown

if TYPE_CHECKING:
    from pipeline.local_runner import LocalRun

_LONGEST_MESSAGE = 300


def run_pipeline(
    config: PipelineConfig,
    *,
    config_file: str,
    root: Path,
    use_cache: bool = True,
    from_component: str | None = None,
) -> ExitCode:
    """Runs a pipeline on this machine, prints its course and keeps its log and record.

    Args:
        config: What to run.
        config_file: Where the config came from, to be named.
        root: Folder of everything that the run writes.
        use_cache: Whether unchanged components may reuse their outputs.
        from_component: Id of the first component that must execute, with all that depends on it.
    """
    start = time.perf_counter()
    run_id = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    paths = RunPaths(root.resolve(), config.pipeline_name, run_id)
    with redirected_output(paths.log_file) as stream:
        terminal = Terminal(stream)
        terminal.print(f"Pipeline {config.pipeline_name} from {shown(config_file)}")
        run, exit_code, verdict = _attempt(config, paths, terminal, use_cache=use_cache, from_component=from_component)
        components = run.components if run else ()
        record = RunRecord(run_id, exit_code, verdict, time.perf_counter() - start, components)
        _print_summary(terminal, record, config, paths)
        record.write(paths.record_file)
    return exit_code


def _print_summary(terminal: Terminal, record: RunRecord, config: PipelineConfig, paths: RunPaths) -> None:
    if record.components:
        terminal.print_components(record.components, paths.pipeline_root)
    for run in record.components:
        trace_file = Path(run.outputs.get("model_run", ""), TRAINING_TRACE_FILE)
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            # A module file of the user's own writes no trace, or something else under its name.
            terminal.print_training_trace(json.loads(trace_file.read_text()), config.published_trace)
    terminal.print(_wall_time(record, last_full_run_seconds(paths)))
    terminal.print(f"Log     {shown(paths.log_file)}")
    terminal.print(f"Record  {shown(paths.record_file)}")
    terminal.print_verdict(record)


def _attempt(
    config: PipelineConfig,
    paths: RunPaths,
    terminal: Terminal,
    *,
    use_cache: bool,
    from_component: str | None,
) -> tuple["LocalRun | None", ExitCode, str]:
    run = None
    try:
        terminal.start("loading TensorFlow and TFX")
        with _without_garbage_collection():
            from pipeline.local_runner import LocalRun

        run = LocalRun(config, paths)
        if from_component or not use_cache:
            run.disable_cache(from_component if use_cache else None)
        run.execute(terminal.start, terminal.finish_component)
        return run, *_judge(run, paths)
    except KeyboardInterrupt:
        return run, ExitCode.INTERRUPTED, f"INTERRUPTED; {_serving(paths)}"
    except BaseException as err:  # a module file that calls sys.exit has failed too
        logging.exception("The run failed.")
        return run, *_explain(err, run, paths, terminal)
    finally:
        terminal.stop()


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Spares the thousands of modules that are loaded inside from every collection, the interpreter's last one too.

    Importing TFX takes 1.5 s less, and so does leaving it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _judge(run: "LocalRun", paths: RunPaths) -> tuple[ExitCode, str]:
    from components.evaluator.verdict import load_verdict

    verdict = load_verdict(run.output_dir("Evaluator", "evaluation"), run.output_dir("Evaluator", "blessing"))
    if not verdict.blessed:
        return ExitCode.MODEL_REFUSED, f"NOT PUSHED: {verdict}; {_serving(paths)}"
    states = {component.component: component.state for component in run.components}
    if states["Pusher"] == "cached":
        return ExitCode.PUSHED, f"NOTHING TO DO: {_serving(paths)} ({verdict})"
    pushed_dir = run.output_dir("Pusher", "pushed_model")
    return ExitCode.PUSHED, f"PUSHED: {verdict}; {shown(pushed_dir)}{_larger_version(pushed_dir, paths)}"


def _larger_version(pushed_dir: str, paths: RunPaths) -> str:
    served = paths.served_version()
    return "" if str(served) == Path(pushed_dir).name else f", but TF Serving serves the larger version {served}"


def _explain(err: BaseException, run: "LocalRun | None", paths: RunPaths, terminal: Terminal) -> tuple[ExitCode, str]:
    if isinstance(err, DataRefusedError):
        first, *others = str(err).splitlines()
        for refusal in (first, *others):
            terminal.print(f"  - {refusal}", "red")
        more = f" (and {len(others)} more, above)" * bool(others)
        return ExitCode.DATA_REFUSED, f"DATA REFUSED: {first}{more}; {_serving(paths)}"
    where = run.components[-1].component if run and run.components else "before the first component"
    message = " ".join("".join(traceback.format_exception_only(err)).split())[:_LONGEST_MESSAGE]
    return ExitCode.FAILED, f"FAILED: {where}: {message}; {_serving(paths)}"


def _serving(paths: RunPaths) -> str:
    version = paths.served_version()
    return "nothing is served yet" if version is None else f"serving stays on version {version}"


def _wall_time(record: RunRecord, full_run_seconds: float | None) -> str:
    num_cached = sum(run.state == "cached" for run in record.components)
    text = f"{record.seconds:.1f} s; components executed: {len(record.components) - num_cached}, cached: {num_cached}"
    if num_cached and full_run_seconds:
        text += f" (the last run that executed all took {full_run_seconds:.1f} s)"
    return text
