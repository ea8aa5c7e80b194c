"""What a run shows: a live line per component, then tables and the verdict. Imports neither TensorFlow nor TFX."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from components.evaluator.verdict import BROKEN, HELD, NOT_JUDGED, VERDICT_FILE, Judgement, Verdict, percentage
from pipeline.config import EpochFigures
from pipeline.run_record import ComponentRun, ExitCode, RunRecord

_PIPE_WIDTH = 110
_WIDE = 84  # a narrower terminal has no room for artifacts and the published trace
_STATE_STYLES = {"done": "green", "cached": "dim", "failed": "bold red", "skipped": "dim", "not run": "dim"} | {
    HELD: "green", BROKEN: "bold red", NOT_JUDGED: "dim",
}  # fmt: skip
_MOST_RULES = 20
_WITHOUT_SECONDS = ("cached", "skipped", "not run")
_MEASURES = {"jensen_shannon": "Jensen-Shannon", "l_infinity": "L-infinity"}
_VERDICT_STYLES = {ExitCode.PUSHED: "bold green"}


def shown(path: str | Path, *folders: Path) -> str:
    """Returns how a path is shown: relative to the first of `folders` and the working directory that it lies below."""
    path = Path(path).absolute()
    for folder in (*folders, Path.cwd()):
        if path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return str(path)


def printable(text: str) -> str:
    """Returns a text whose unprintable characters, such as a data file's control codes, are escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Lets the run go on when nobody reads its output any more, as in `sluice run | head -2`."""
        self.file = io.StringIO()


class Terminal:
    """Prints the course of a run to a stream: live where it is a terminal, finished lines alone where it is not."""

    def __init__(self, stream: TextIO, *, name_width: int = 18) -> None:
        self._name_width = name_width
        is_terminal = stream.isatty()
        self._console = _Console(
            file=stream,
            width=None if is_terminal else _PIPE_WIDTH,
            highlight=False,
            markup=False,
        )
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not is_terminal,
            # What libraries print belongs in the log, to which descriptors 1 and 2 already lead.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def print(self, text: str, style: str = "") -> None:
        """Prints a line as it is, however long; what is not printable, as escapes."""
        self._console.print(Text(printable(text), style), soft_wrap=True)

    def start(self, step: str) -> None:
        """Shows a step with its elapsed time, until another starts or ends it."""
        self.stop()
        self._progress.add_task(step)
        self._progress.start()

    def tell(self, progress: str) -> None:
        """Shows how far the step is that is shown, where there is a terminal."""
        for task in self._progress.tasks:
            name = task.description.partition(": ")[0]
            self._progress.update(task.id, description=f"{name}: {progress}")

    def stop(self) -> None:
        """Ends the step that is shown, if any."""
        self._progress.stop()
        for task_id in self._progress.task_ids:
            self._progress.remove_task(task_id)

    def finish_component(self, run: ComponentRun) -> None:
        """Prints the finished line of a component."""
        self.stop()
        self._console.print(_component_line(run, self._name_width))

    def print_components(self, runs: Sequence[ComponentRun], root: Path) -> None:
        """Prints the table of components, with their first output's folder under `root`."""
        table = Table("component", "state", box=box.SIMPLE_HEAD)
        table.add_column("seconds", justify="right")
        table.add_column("rows", justify="right")
        if self._console.width >= _WIDE:
            table.add_column(f"artifact in {shown(root)}", overflow="fold")
        for run in runs:
            artifacts = [shown(artifact, root) for artifact in run.outputs.values()]
            row: list[str | Text] = [run.component, Text(run.state, _STATE_STYLES[run.state]), f"{run.seconds:.1f}"]
            row += ["" if run.num_rows is None else str(run.num_rows), *artifacts[:1]]
            table.add_row(*row[: len(table.columns)])
        self._console.print(table)

    def print_distances(self, distances: Sequence[Mapping[str, Any]]) -> None:
        """Prints how far features are from others, beside their thresholds."""
        table = Table("feature", "measure", box=box.SIMPLE_HEAD)
        table.add_column("distance", justify="right")
        table.add_column("threshold", justify="right")
        for each in distances:
            style = "yellow" if each["value"] > each["threshold"] else ""
            table.add_row(
                each["feature"],
                _MEASURES[each["measure"]],
                f"{each['value']:.3f}",
                f"{each['threshold']:g}",
                style=style,
            )
        self._console.print(table)

    def print_training_trace(
        self, epochs: Sequence[Mapping[str, float]], published: Sequence[EpochFigures], num_epochs: int
    ) -> None:
        """Prints the figures of each epoch, the published trace's beside them, and whose weights are kept.

        Args:
            epochs: Of the Trainer's trace file; `best` marks the epoch whose weights are kept.
            published: Figures of as many epochs as there are.
            num_epochs: How many there would be had training not stopped early.
        """
        published = published if self._console.width >= _WIDE else ()
        figures = sorted(epochs[0].keys() - {"epoch", "seconds", "best"}, key=_figure_order)
        columns = ["epoch", *figures, "seconds"]
        table = Table(box=box.SIMPLE_HEAD)
        for name in columns + ["published_loss", "published_accuracy"] * bool(published):
            table.add_column(name.replace("_", "\n"), justify="right")
        for index, epoch in enumerate(epochs):
            row = [f"{'* ' * bool(epoch.get('best'))}{epoch['epoch']:.0f}", *(f"{epoch[name]:.4f}" for name in figures)]
            row.append(f"{epoch['seconds']:.2f}")
            if index < len(published):
                row += [
                    f"{published[index].loss:.2f}",
                    f"{published[index].accuracy:.2f}",
                ]
            table.add_row(*row)
        self._console.print(table)
        for best in (epoch for epoch in epochs if epoch.get("best")):
            stopped = f"; training stopped early, after {len(epochs)} of {num_epochs} epochs"
            self.print(f"* The weights of epoch {best['epoch']} are kept{stopped * (len(epochs) < num_epochs)}.")

    def print_judgements(self, verdict: Verdict) -> None:
        """Prints what was measured beside what had to be, refusals first, and why rules were not judged."""
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("rule", overflow="fold")
        columns = ["value", "interval", "bound", ""]
        if self._console.width >= _WIDE:
            columns += ["rows", *["baseline"] * (verdict.baseline.version is not None)]
        for name in columns:
            table.add_column(name, justify="right" if name else "left", no_wrap=True)
        ordered = sorted(verdict.judgements, key=lambda each: (bool(each.where), each.state != BROKEN))
        for each in ordered[:_MOST_RULES]:
            table.add_row(*_rule_row(each)[: len(table.columns)])
        self._console.print(table)
        if (rest := len(ordered) - _MOST_RULES) > 0:
            self.print(f"  and {rest} more in {VERDICT_FILE}")
        for note in verdict.notes:
            self.print(f"Gate    {note}")

    def print_verdict(self, record: RunRecord) -> None:
        """Prints the last line."""
        self.print(record.verdict, _VERDICT_STYLES.get(ExitCode(record.exit_code), "bold red"))


def _figure_order(name: str) -> tuple[bool, bool, str]:
    return name.startswith("val_"), not name.endswith("loss"), name


def _rule_row(each: Judgement) -> list[str | Text]:
    rule, sign = each.rule, "+" if each.rule.is_change else ""
    bound = f"{rule.value:{sign}.6g}" if rule.bound != "relative_change" else f"{100 * rule.value:+.6g}%"
    ends = " to ".join(f"{end:{sign}.3f}" for end in each.interval or ())
    return [
        f"{rule.score}{f', {each.place}' * bool(each.where)}",
        "" if each.value is None else f"{each.value:.4f}",
        f"{percentage(rule.confidence)}: {ends}" if ends else "",
        f"{'change ' * rule.is_change}{rule.comparison} {bound}",
        Text(each.state, _STATE_STYLES[each.state]),
        str(each.num_rows),
        "" if each.baseline is None else f"{each.baseline:.4f}",
    ]


def _component_line(run: ComponentRun, name_width: int) -> Text:
    seconds = f"{run.seconds:7.1f} s" if run.state not in _WITHOUT_SECONDS else " " * 9
    return Text.assemble(f"  {run.component:<{name_width}}{seconds}  ", (run.state, _STATE_STYLES[run.state]))
