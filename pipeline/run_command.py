"""`sluice run`: from a config to an exit code, with every way a run can end. Imports TFX only once it runs."""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from components.data_gate import DataRefusedError
from components.evaluator.verdict import Verdict
from components.evaluator.verdict_file import load_verdict
from components.exit_handler import notifier
from components.imports import quick_imports
from components.trainer import TRAINING_TRACE_FILE
from pipeline.config import PipelineConfig
from pipeline.gate_lines import print_gate, print_input
from pipeline.log_file import redirected_output
from pipeline.run_facts import report_run
from pipeline.run_record import (
    ExitCode,
    RunPaths,
    RunRecord,
    last_full_run_seconds,
    new_run_id,
)
from pipeline.terminal import Terminal, shown

if TYPE_CHECKING:
    from pipeline.local_runner import LocalRun

_LONGEST_MESSAGE = 300
_EVENTS: dict[int, str] = {
    ExitCode.PUSHED: notifier.PUSHED,
    ExitCode.FAILED: notifier.FAILED,
    ExitCode.INTERRUPTED: notifier.FAILED,
}


@dataclass(frozen=True)
class RunOptions:
    """How a pipeline is run.

    Attributes:
        use_cache: Whether unchanged components may reuse their outputs.
        from_component: Id of the first component that must execute, with all that depends on it.
        force_push: Why a model is pushed that the Evaluator refuses; empty pushes none.
    """

    use_cache: bool = True
    from_component: str | None = None
    force_push: str = ""


class _Outcome(NamedTuple):
    """What came of a run: its exit code, its last line and, of a refused one, every reason."""

    exit_code: ExitCode
    verdict: str
    reasons: tuple[str, ...] = ()


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
    """
    paths = RunPaths(root.resolve(), config.pipeline_name, new_run_id())
    with redirected_output(paths.log_file, descriptor=2 if as_json else 1) as stream:
        record = _run(config, paths, Terminal(stream), options, config_file=shown(config_file))
    if as_json:
        sys.stdout.write(record.to_json())
    return ExitCode(record.exit_code)


def _run(
    config: PipelineConfig, paths: RunPaths, terminal: Terminal, options: RunOptions, *, config_file: str
) -> RunRecord:
    start = time.perf_counter()
    terminal.print(f"Pipeline {config.pipeline_name} from {config_file}")
    with _noted_interruption() as interrupted:
        run, (exit_code, verdict, reasons) = _attempt(config, paths, terminal, interrupted, options)
    components = run.components if run else ()
    print_input(terminal, components)
    print_gate(terminal, components, paths)
    record, report = report_run(
        RunRecord(paths.run_id, exit_code, verdict, time.perf_counter() - start, components),
        config,
        paths,
        config_file=config_file,
        pushed_dir=run.output_dir("Pusher", "pushed_model") if run and run.has_pushed else "",
        is_unchanged=bool(run and run.is_unchanged),
        reasons=reasons,
    )
    _print_summary(terminal, record, config, paths)
    for line in report:
        terminal.print(line)
    record.write(paths.record_file)
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
    terminal.print(f"Record  {shown(paths.record_file)}")


def _attempt(
    config: PipelineConfig,
    paths: RunPaths,
    terminal: Terminal,
    interrupted: threading.Event,
    options: RunOptions,
) -> tuple["LocalRun | None", _Outcome]:
    def start(component: str) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        terminal.start(component)

    run = None
    try:
        terminal.start("loading TensorFlow and TFX")
        with quick_imports():
            from pipeline.local_runner import LocalRun

        run = LocalRun(config, paths, force_push=options.force_push)
        if options.from_component or not options.use_cache:
            run.disable_cache(options.from_component if options.use_cache else None)
        run.execute(start, terminal.finish_component)
        terminal.stop()
        return run, _judge(run, paths, terminal)
    except BaseException as err:  # a module file that calls sys.exit has failed too
        if interrupted.is_set():
            return run, _Outcome(ExitCode.INTERRUPTED, f"INTERRUPTED; {_serving(paths)}")
        logging.exception("The run failed.")
        terminal.stop()
        return run, _explain(err, run, paths, terminal)
    finally:
        terminal.stop()


@contextlib.contextmanager
def _noted_interruption() -> Iterator[threading.Event]:
    """Notes SIGINT, because Beam and others swallow the KeyboardInterrupt or make another error of it."""
    interrupted = threading.Event()

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:  # a shell makes what runs in the background ignore the signal
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def _judge(run: "LocalRun", paths: RunPaths, terminal: Terminal) -> _Outcome:
    from components.pusher.versions import served_versions

    verdict = load_verdict(run.output_dir("Evaluator", "blessing"))
    infra_refusals = _infra_refusals(run, terminal)
    if not verdict.blessed and not run.has_pushed and not (run.force_push and infra_refusals):
        return _Outcome(ExitCode.MODEL_REFUSED, f"NOT PUSHED: {verdict}; {_serving(paths, verdict)}")
    if refusals := infra_refusals or [run.push_refusal] * bool(run.push_refusal):
        return _refused(ExitCode.INFRA_REFUSED, "NOT PUSHED", refusals, paths, terminal)
    pushed_dir = run.output_dir("Pusher", "pushed_model")
    is_served = int(Path(pushed_dir).name) in served_versions(paths.serving_model_dir)
    unserved = "" if is_served else f", which waits for `sluice versions promote`; {_serving(paths)}"
    if run.is_unchanged:
        where = _serving(paths) if is_served else f"this model is version {Path(pushed_dir).name}"
        return _Outcome(ExitCode.PUSHED, f"NOTHING TO DO: {where} ({verdict}){unserved}")
    how = "PUSHED" if verdict.blessed else "PUSHED BY FORCE, against the verdict"
    return _Outcome(ExitCode.PUSHED, f"{how}: {verdict}; {shown(pushed_dir)}{unserved}")


def _infra_refusals(run: "LocalRun", terminal: Terminal) -> list[str]:
    from components.infra_validator import BLESSED_FILE
    from components.infra_validator.report import load_report

    blessing_dir = run.output_dir("InfraValidator", "blessing")
    try:
        report = load_report(blessing_dir)
    except FileNotFoundError:  # the stock InfraValidator gives no reason
        return (
            []
            if Path(blessing_dir, BLESSED_FILE).exists()
            else ["TF Serving in Docker did not serve the model; the log says why"]
        )
    terminal.print(f"Infra   {'refused; ' * bool(report.reasons)}{report}")
    return report.reasons


def _refused(exit_code: ExitCode, how: str, refusals: Sequence[str], paths: RunPaths, terminal: Terminal) -> _Outcome:
    """Prints every refusal; the verdict has the first, and how many there are beside it."""
    for refusal in refusals:
        terminal.print(f"  - {refusal}", "red")
    first, *others = refusals
    more = f" (and {len(others)} more, above)" * bool(others)
    return _Outcome(exit_code, f"{how}: {first.rstrip('.')}{more}; {_serving(paths)}", tuple(refusals))


def _explain(err: BaseException, run: "LocalRun | None", paths: RunPaths, terminal: Terminal) -> _Outcome:
    if isinstance(err, DataRefusedError):
        if err.report:  # ExampleGen has none
            paths.gate_file.parent.mkdir(parents=True, exist_ok=True)
            paths.gate_file.write_text(err.report)
        refusals = str(err).replace(f"{Path.cwd()}{os.sep}", "").removesuffix(err.advice).splitlines()
        outcome = _refused(ExitCode.DATA_REFUSED, "DATA REFUSED", refusals, paths, terminal)
        if err.advice:
            terminal.print(f"  {err.advice}")
        return outcome
    with contextlib.suppress(KeyError):
        if run and (refusals := _infra_refusals(run, terminal)):  # so that Evaluator could not load the model either
            return _refused(ExitCode.INFRA_REFUSED, "NOT PUSHED", refusals, paths, terminal)
    where = run.components[-1].component if run and run.components else "before the first component"
    message = " ".join("".join(traceback.format_exception_only(err)).split())[:_LONGEST_MESSAGE].rstrip(". ")
    pushed = f"; pushed before that: {shown(run.output_dir('Pusher', 'pushed_model'))}" if _has_pushed(run) else ""
    return _Outcome(ExitCode.FAILED, f"FAILED: {where}: {message}{pushed or f'; {_serving(paths)}'}")


def _has_pushed(run: "LocalRun | None") -> TypeGuard["LocalRun"]:
    return run is not None and run.push_outcome == "pushed"


def _serving(paths: RunPaths, verdict: Verdict | None = None) -> str:
    """Says which version is served and, where the candidate was compared with it, how good that is."""
    from components.pusher.versions import VersionError, served_versions

    try:
        served = served_versions(paths.serving_model_dir)
    except VersionError as err:
        return str(err)
    if not served:
        return "nothing is served yet"
    score = verdict.served_score if verdict and verdict.baseline.version in served else ""
    return (
        f"serving stays on version{'s' * (len(served) > 1)} {', '.join(map(str, served))}{f' ({score})' * bool(score)}"
    )


def _wall_time(record: RunRecord, full_run_seconds: float | None) -> str:
    num_cached = sum(run.state == "cached" for run in record.components)
    text = f"{record.seconds:.1f} s; components executed: {len(record.components) - num_cached}, cached: {num_cached}"
    if num_cached and full_run_seconds:
        text += f" (the last run that executed all took {full_run_seconds:.1f} s)"
    return text
