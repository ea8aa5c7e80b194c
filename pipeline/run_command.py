"""`sluice run`: from a config to an exit code, with every way a run can end. Imports TFX only once it runs."""

import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from components.evaluator.verdict_file import load_verdict
from components.exit_handler import notifier
from components.imports import quick_imports
from components.trainer import TRAINING_TRACE_FILE
from components.tuner import PROGRESS_LOGGER
from pipeline.config import PipelineConfig
from pipeline.disk import check_space, free_reserve, full_disk, is_full, keep_reserve
from pipeline.gate_lines import print_gate, print_input
from pipeline.interruption import Interruption, noted_interruption
from pipeline.log_file import redirected_output
from pipeline.new_data import inputs_digest, nothing_new
from pipeline.run_facts import report_run
from pipeline.run_lock import Holder, LockedError, locked_pipeline
from pipeline.run_outcome import Outcome, explain, found_dead, interrupted, judge
from pipeline.run_record import (
    ExitCode,
    RunPaths,
    RunRecord,
    Summary,
    last_full_run_seconds,
    new_run_id,
)
from pipeline.terminal import Terminal, shown

if TYPE_CHECKING:
    from pipeline.local_runner import LocalRun

_EVENTS: dict[int, str] = {
    ExitCode.PUSHED: notifier.PUSHED,
    ExitCode.FAILED: notifier.FAILED,
    ExitCode.INTERRUPTED: notifier.FAILED,
    ExitCode.TERMINATED: notifier.FAILED,
}


@dataclass(frozen=True)
class RunOptions:
    """How a pipeline is run.

    Attributes:
        use_cache: Whether unchanged components may reuse their outputs.
        from_component: Id of the first component that must execute, with all that depends on it.
        force_push: Why a model is pushed that the Evaluator refuses; empty pushes none.
        wait_secs: How long to wait for a command that holds the pipeline.
        if_new_data: Whether nothing is done where neither data nor config changed since the last run.
    """

    use_cache: bool = True
    from_component: str | None = None
    force_push: str = ""
    wait_secs: float = 0.0
    if_new_data: bool = False


class _Begun(NamedTuple):
    """What is known when a run begins: its config's file, the digest of its inputs, and who died before it."""

    config_file: str
    inputs_digest: str
    died: Holder | None

    @property
    def summary(self) -> Summary:
        return Summary(inputs_digest=self.inputs_digest)


def run_pipeline(
    config: PipelineConfig, options: RunOptions, *, config_file: str, root: Path, as_json: bool = False
) -> ExitCode:
    """Runs a pipeline on this machine, prints its course and keeps its log, record and report.

    Args:
        config: What to run.
        options: How.
        config_file: Where the config came from, to be named.
        root: Folder of everything that the run writes.
        as_json: Whether standard output gets the record alone, and standard error what people read.

    Raises:
        LockedError: If another command holds the pipeline under this root.
        OSError: If not even a log can be written.
    """
    root = root.resolve()
    with locked_pipeline(
        RunPaths(root, config.pipeline_name, "").lock_file,
        wait_secs=options.wait_secs,
        on_wait=lambda sentence: click.echo(sentence, err=True),
    ) as lock:
        paths = RunPaths(root, config.pipeline_name, new_run_id())
        digest = inputs_digest(config)
        if options.if_new_data and not lock.died and (sentence := nothing_new(paths, digest)):
            click.echo(sentence, err=as_json)
            return ExitCode.PUSHED
        with _temporary_folder(paths.temporary_dir):
            lock.name("sluice run", run_id=paths.run_id)
            with (
                redirected_output(paths.log_file, descriptor=2 if as_json else 1) as stream,
                noted_interruption() as interruption,
                _shown_progress(Terminal(stream)) as terminal,
            ):
                begun = _Begun(shown(config_file), digest, lock.died)
                record = _run(config, paths, terminal, options, interruption, begun)
    if as_json:
        sys.stdout.write(record.to_json())
    return ExitCode(record.exit_code)


def without_run(err: LockedError | OSError, root: Path) -> str:
    """Says why `run_pipeline` did not even begin."""
    if isinstance(err, LockedError):
        return f"BUSY: {err}"
    return f"FAILED: {full_disk(root) if is_full(err) else err}"


@contextlib.contextmanager
def _temporary_folder(folder: Path) -> Iterator[None]:
    """Makes `folder` the one of temporary files, of C++ and of child processes too, and leaves nothing there."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        folder.mkdir(parents=True)
        keep_reserve(folder)
        yield
    finally:
        tempfile.tempdir = before[0]
        del os.environ["TMPDIR"]
        os.environ |= {"TMPDIR": before[1]} if before[1] else {}
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    config: PipelineConfig,
    paths: RunPaths,
    terminal: Terminal,
    options: RunOptions,
    interruption: Interruption,
    begun: _Begun,
) -> RunRecord:
    start = time.perf_counter()
    terminal.print(f"Pipeline {config.pipeline_name} from {begun.config_file}")
    run, (exit_code, verdict, reasons) = _attempt(config, paths, terminal, interruption, options, begun.died)
    components = run.components if run else ()
    print_input(terminal, components)
    print_gate(terminal, components, paths)
    record, report = report_run(
        RunRecord(paths.run_id, exit_code, verdict, time.perf_counter() - start, components, begun.summary),
        config,
        paths,
        config_file=begun.config_file,
        pushed_dir=run.output_dir("Pusher", "pushed_model") if run and run.has_pushed else "",
        is_unchanged=bool(run and run.is_unchanged),
        reasons=reasons,
    )
    free_reserve(paths.temporary_dir)
    _print_summary(terminal, record, config, paths)
    for line in (_write_record(record, paths), *report):
        terminal.print(line)
    if not (run and run.is_unchanged):
        for problem in _notify(record, config):
            terminal.print(f"Notice  {problem}", "yellow")
    terminal.print_verdict(record)
    return record


def _notify(record: RunRecord, config: PipelineConfig) -> list[str]:
    """Tells those whom the config names how a run ended; returns what went wrong with that."""
    event, settings = _EVENTS.get(record.exit_code, notifier.REFUSED), config.notification
    if event not in settings.events:
        return []
    message = {
        "text": f"{config.pipeline_name}: {record.verdict}",
        "event": event,
        "pipeline": config.pipeline_name,
        "run_id": record.run_id,
        "exit_code": record.exit_code,
        "report": record.summary.report,
    }
    return notifier.notify(message, webhook_url=settings.webhook_url or "", command=settings.command)


def _print_summary(terminal: Terminal, record: RunRecord, config: PipelineConfig, paths: RunPaths) -> None:
    if record.components:
        terminal.print_components(record.components, paths.pipeline_root)
    for run in record.components:
        trace_file = Path(run.outputs.get("model_run", ""), TRAINING_TRACE_FILE)
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            # A module file of the user's own writes no trace, or something else under its name.
            epochs = json.loads(trace_file.read_text())
            terminal.print_training_trace(epochs, config.published_trace, config.trainer.num_epochs)
    for run in record.components:
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # of which the last line tells
            if run.component == "Evaluator" and run.outputs:
                terminal.print_judgements(load_verdict(run.outputs["blessing"]))
    terminal.print(_wall_time(record, last_full_run_seconds(paths)))
    terminal.print(f"Log     {shown(paths.log_file)}")


def _write_record(record: RunRecord, paths: RunPaths) -> str:
    try:
        record.write(paths.record_file)
    except OSError as err:  # as on a full disk
        return f"Record  none: {err}"
    return f"Record  {shown(paths.record_file)}"


def _attempt(
    config: PipelineConfig,
    paths: RunPaths,
    terminal: Terminal,
    interruption: Interruption,
    options: RunOptions,
    died: Holder | None,
) -> tuple["LocalRun | None", Outcome]:
    def start(component: str) -> None:
        interruption.check()
        terminal.start(component)

    def tell(sentence: str) -> None:
        terminal.print(f"Notice  {sentence}", "yellow")

    run = None
    try:
        terminal.start("loading TensorFlow and TFX")
        with quick_imports():
            from pipeline.local_runner import LocalRun

        run = LocalRun(config, paths, force_push=options.force_push)
        for sentence in found_dead(run, paths, died):
            tell(sentence)
        check_space(config, paths.root)
        if options.from_component or not options.use_cache:
            run.disable_cache(options.from_component if options.use_cache else None)
        run.execute(start, terminal.finish_component, tell)
        terminal.stop()
        return run, judge(run, paths, terminal)
    except BaseException as err:  # a module file that calls sys.exit has failed too
        interruption.is_raised = False
        if interruption.signal_number:
            return run, interrupted(interruption.signal_number, paths)
        logging.exception("The run failed.")
        terminal.stop()
        return run, explain(err, run, paths, terminal)
    finally:
        interruption.is_raised = False
        terminal.stop()


@contextlib.contextmanager
def _shown_progress(terminal: Terminal) -> Iterator[Terminal]:
    """Shows the Tuner's trials as they begin."""
    logger, handler = logging.getLogger(PROGRESS_LOGGER), logging.Handler()
    handler.emit = lambda record: terminal.tell(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield terminal
    finally:
        logger.removeHandler(handler)


def _wall_time(record: RunRecord, full_run_seconds: float | None) -> str:
    num_cached = sum(run.state == "cached" for run in record.components)
    text = f"{record.seconds:.1f} s; components executed: {len(record.components) - num_cached}, cached: {num_cached}"
    if num_cached and full_run_seconds:
        text += f" (the last run that executed all took {full_run_seconds:.1f} s)"
    return text
