"""The epochs of a run as tables and curves. Imported where the page is rendered."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from components.run_report import wording
from components.run_report.facts_of_model import EpochFacts, EvaluationFacts, TrainingFacts
from components.run_report.plots import Curve, draw_calibration, draw_curves

_FIRST = ("loss", "accuracy")
_MOST_PLOTS = 4
_MOST_EPOCHS = 20
_MOST_COLUMNS = 10
_SERIES = (("", "train", "series-1", "-"), ("val_", "validation", "series-2", "--"))


class Plot(NamedTuple):
    """A plot, its title and its legend: words, and the colour and style of their line."""

    title: str
    legend: list[tuple[str, str, str]]
    svg: Markup


class Training(NamedTuple):
    """What the templates show of the epochs."""

    columns: list[str]  # names of the figures
    published: list[str]  # those of the earlier trace
    shown: list[EpochFacts]
    folded: list[EpochFacts]  # all of them, if there are more than are shown
    plots: list[Plot]


def view_training(training: TrainingFacts) -> Training:
    """Chooses what is shown of the epochs, and draws their curves."""
    epochs = training["epochs"]
    columns = _names(each["figures"] for each in epochs)
    shown = _notable(epochs) if len(epochs) > _MOST_EPOCHS else epochs
    return Training(
        columns[:_MOST_COLUMNS],
        _names(each["published"] for each in epochs)[:_MOST_COLUMNS],
        shown,
        epochs if len(shown) < len(epochs) else [],
        list(_plots(epochs, columns)),
    )


def view_calibration(evaluation: EvaluationFacts) -> Markup:
    """Draws how far confidence can be trusted."""
    bins = evaluation["calibration"]
    error = evaluation["calibration_error"]
    alt = f"Calibration in {len(bins)} bins: " + ", ".join(
        f"{wording.share(each['accuracy'])} right at confidence {each['confidence']:.2f}" for each in bins[:20]
    )
    return draw_calibration(
        "calibration", bins, alt=alt + (f"; expected error {error:.4f}" if error is not None else "")
    )


def _names(figures: Iterator[dict[str, float]]) -> list[str]:
    """Returns the names of figures: each beside the one of the validation, loss and accuracy first."""
    names = list(dict.fromkeys(name for each in figures for name in each))
    order = {name: index for index, name in enumerate(_FIRST)}
    bases = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    bases.sort(key=lambda base: order.get(base, len(order)))
    return [name for base in bases for name in (base, f"val_{base}") if name in names]


def _notable(epochs: Sequence[EpochFacts]) -> list[EpochFacts]:
    """Returns the first ten epochs, the last five and the one that is kept."""
    last = len(epochs) - 5
    return [each for index, each in enumerate(epochs) if index < 10 or index >= last or each["kept"]]


def _plots(epochs: Sequence[EpochFacts], columns: Sequence[str]) -> Iterator[Plot]:
    kept = next((each["epoch"] for each in epochs if each["kept"]), None)
    bases = list(dict.fromkeys(name.removeprefix("val_") for name in columns))
    for index, base in enumerate(bases[:_MOST_PLOTS]):
        curves, legend = [], []
        for prefix, word, colour, style in _SERIES:
            if prefix + base in columns:
                curves.append(Curve([each["figures"].get(prefix + base) for each in epochs], colour, style))
                legend.append((word, colour, style))
        if any(base in each["published"] for each in epochs):
            curves.append(Curve([each["published"].get(base) for each in epochs], "series-3", ":"))
            legend.append(("published", "series-3", ":"))
        numbers = [each["epoch"] for each in epochs]
        alt = _alt(base, numbers, curves, legend)
        if kept is not None:
            alt += f"; the weights of epoch {kept} are kept"
            legend.append((f"epoch {kept} is kept", "ink", ":"))
        svg = draw_curves(f"curve{index}", numbers, curves, kept=kept, alt=alt)
        yield Plot(base, legend, svg)


def _alt(base: str, epochs: Sequence[int], curves: Sequence[Curve], legend: Sequence[tuple[str, str, str]]) -> str:
    parts = []
    for curve, (word, _, _) in zip(curves, legend, strict=True):
        present = [(each, epoch) for each, epoch in zip(curve.numbers, epochs, strict=True) if each is not None]
        if present:
            (first, _), (last, _), (least, at) = present[0], present[-1], min(present)
            ends = f"{wording.figure(first)} to {wording.figure(last)}"
            parts.append(f"{word} {ends}, lowest {wording.figure(least)} in epoch {at}")
    return f"{wording.clean(base)} over {len(epochs)} epochs: {'; '.join(parts)}"
