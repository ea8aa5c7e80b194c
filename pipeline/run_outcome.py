"""What came of a run, in words and as an exit code. Runs in the process of `sluice run`."""

import contextlib
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from components.data_gate import DataRefusedError
from components.evaluator.verdict import Verdict
from components.evaluator.verdict_file import load_verdict
from pipeline.disk import NoSpaceError, full_disk, is_full
from pipeline.run_lock import Holder
from pipeline.run_record import ExitCode, RunPaths, RunRecord, Summary, write_whole
from pipeline.terminal import Terminal, shown

if TYPE_CHECKING:
    from pipeline.local_runner import LocalRun

_LONGEST_MESSAGE = 300


class MetadataError(RuntimeError):
    """A metadata store that is damaged, or that does not know the artifacts beside it."""


class Outcome(NamedTuple):
    """What came of a run: its exit code, its last line and, of a refused one, every reason."""

    exit_code: ExitCode
    verdict: str
    reasons: tuple[str, ...] = ()


def found_dead(run: "LocalRun", paths: RunPaths, died: Holder | None) -> Iterator[str]:
    """Puts right what a run left that died; yields what there is to say of it, and writes the record that it did not.

    Raises:
        MetadataError: If artifacts and metadata store do not belong together.
    """
    leftovers = run.recover()
    where = f" in {', '.join(leftovers.components)}" * bool(leftovers.components)
    if died and died.run_id:
        dead = RunPaths(paths.root, paths.pipeline_name, died.run_id)
        if not dead.record_file.exists():
            summary = Summary(died.since, "killed", log=shown(dead.log_file))
            verdict = f"KILLED{where}: process {died.pid} on {died.host} ended without a word; found by {paths.run_id}"
            RunRecord(died.run_id, ExitCode.FAILED, verdict, 0.0, (), summary).write(dead.record_file)
    if leftovers.num_gone:
        gone = "1 artifact is" if leftovers.num_gone == 1 else f"{leftovers.num_gone} artifacts are"
        yield f"{gone} gone; what wrote {'it' if leftovers.num_gone == 1 else 'them'} runs again."
    if not (died or leftovers.components or leftovers.folders):
        return
    who = f"{died} was killed{where}" if died else f"a run was killed{where}"
    num_folders = len(leftovers.folders)
    removed = f"; {num_folders} unfinished folder{'s are' if num_folders > 1 else ' is'} removed" * bool(num_folders)
    yield f"{who}{removed}. What it finished is in the cache."


def interrupted(signal_number: int, paths: RunPaths) -> Outcome:
    """Returns what came of a run that SIGINT or SIGTERM ended."""
    if signal_number == signal.SIGTERM:
        return Outcome(ExitCode.TERMINATED, f"TERMINATED; {serving(paths)}")
    return Outcome(ExitCode.INTERRUPTED, f"INTERRUPTED; {serving(paths)}")


def judge(run: "LocalRun", paths: RunPaths, terminal: Terminal) -> Outcome:
    """Returns what came of a run whose components all ran."""
    from components.pusher.versions import served_versions

    verdict = load_verdict(run.output_dir("Evaluator", "blessing"))
    infra_refusals = _infra_refusals(run, terminal)
    if not verdict.blessed and not run.has_pushed and not (run.force_push and infra_refusals):
        return Outcome(ExitCode.MODEL_REFUSED, f"NOT PUSHED: {verdict}; {serving(paths, verdict)}")
    if refusals := infra_refusals or [run.push_refusal] * bool(run.push_refusal):
        return _refused(ExitCode.INFRA_REFUSED, "NOT PUSHED", refusals, paths, terminal)
    pushed_dir = run.output_dir("Pusher", "pushed_model")
    is_served = int(Path(pushed_dir).name) in served_versions(paths.serving_model_dir)
    unserved = "" if is_served else f", which waits for `sluice versions promote`; {serving(paths)}"
    if run.is_unchanged:
        where = serving(paths) if is_served else f"this model is version {Path(pushed_dir).name}"
        return Outcome(ExitCode.PUSHED, f"NOTHING TO DO: {where} ({verdict}){unserved}")
    how = "PUSHED" if verdict.blessed else "PUSHED BY FORCE, against the verdict"
    return Outcome(ExitCode.PUSHED, f"{how}: {verdict}; {shown(pushed_dir)}{unserved}")


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


def _refused(exit_code: ExitCode, how: str, refusals: Sequence[str], paths: RunPaths, terminal: Terminal) -> Outcome:
    """Prints every refusal; the verdict has the first, and how many there are beside it."""
    for refusal in refusals:
        terminal.print(f"  - {refusal}", "red")
    first, *others = refusals
    more = f" (and {len(others)} more, above)" * bool(others)
    return Outcome(exit_code, f"{how}: {first.rstrip('.')}{more}; {serving(paths)}", tuple(refusals))


def explain(err: BaseException, run: "LocalRun | None", paths: RunPaths, terminal: Terminal) -> Outcome:
    """Returns what came of a run that an error ended."""
    if isinstance(err, DataRefusedError):
        if err.report:  # ExampleGen has none
            write_whole(paths.gate_file, err.report)
        refusals = str(err).replace(f"{Path.cwd()}{os.sep}", "").removesuffix(err.advice).splitlines()
        outcome = _refused(ExitCode.DATA_REFUSED, "DATA REFUSED", refusals, paths, terminal)
        if err.advice:
            terminal.print(f"  {err.advice}")
        return outcome
    with contextlib.suppress(KeyError):
        if run and (refusals := _infra_refusals(run, terminal)):  # so that Evaluator could not load the model either
            return _refused(ExitCode.INFRA_REFUSED, "NOT PUSHED", refusals, paths, terminal)
    if isinstance(err, MetadataError | NoSpaceError):
        return Outcome(ExitCode.FAILED, f"FAILED: {str(err).rstrip('.')}; {serving(paths)}")
    where = run.components[-1].component if run and run.components else "before the first component"
    message = " ".join("".join(traceback.format_exception_only(err)).split())[:_LONGEST_MESSAGE].rstrip(". ")
    if is_full(err):
        message = full_disk(paths.root)
    pushed = f"; pushed before that: {shown(run.output_dir('Pusher', 'pushed_model'))}" if _has_pushed(run) else ""
    return Outcome(ExitCode.FAILED, f"FAILED: {where}: {message}{pushed or f'; {serving(paths)}'}")


def _has_pushed(run: "LocalRun | None") -> TypeGuard["LocalRun"]:
    return run is not None and run.push_outcome == "pushed"


def serving(paths: RunPaths, verdict: Verdict | None = None) -> str:
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
