"""The plots of a run's page, as SVG without any text of the data. Imported where the page is rendered.

matplotlib draws in colours that nothing else has, which become the page's own, so that one drawing is right in light
and in dark.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_INCHES = (3.7, 2.3)  # about 350 CSS pixels wide
_COLOURS = {"ink": "#010203", "line": "#020304", "series-1": "#030405", "series-2": "#040506", "series-3": "#050607"}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sluice",
    "font.size": 9.5,
    "path.simplify_threshold": 0.5,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_MOST_MARKED = 30  # points of a curve


class Curve(NamedTuple):
    """Numbers by epoch; None where there is none."""

    numbers: Sequence[float | None]
    colour: str
    style: str = "-"


def draw_curves(name: str, epochs: Sequence[int], curves: Sequence[Curve], *, kept: int | None, alt: str) -> Markup:
    """Draws figures against epochs.

    Args:
        name: Of the plot, one word that no other plot of the page has.
        epochs: Numbers of the epochs.
        curves: Their figures.
        kept: Epoch whose weights are kept, if that is told.
        alt: What there is to see, in words.
    """
    figure, axes = _new_plot()
    for curve in curves:
        points = [(epoch, each) for epoch, each in zip(epochs, curve.numbers, strict=True) if each is not None]
        marker = "o" if len(points) <= _MOST_MARKED else ""
        axes.plot(
            *zip(*points, strict=True) if points else ((), ()), curve.style, marker=marker, color=_COLOURS[curve.colour]
        )
    for line in axes.lines:
        line.set(markersize=3.5, linewidth=1.6)
    if kept is not None:
        axes.axvline(kept, color=_COLOURS["ink"], linewidth=0.8, linestyle=(0, (2, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch")
    return _to_svg(figure, name, alt)


def draw_calibration(name: str, bins: Sequence[Mapping[str, Any]], *, alt: str) -> Markup:
    """Draws the share of right predictions against the mean confidence of each bin; a point's area tells its rows.

    Args:
        name: Of the plot, one word that no other plot of the page has.
        bins: With `confidence`, `accuracy` and `rows`.
        alt: What there is to see, in words.
    """
    figure, axes = _new_plot()
    axes.plot((0, 1), (0, 1), color=_COLOURS["ink"], linewidth=0.8, linestyle=(0, (2, 2)))
    most = max((each["rows"] for each in bins), default=1.0) or 1.0
    confidences, accuracies = [each["confidence"] for each in bins], [each["accuracy"] for each in bins]
    axes.plot(confidences, accuracies, color=_COLOURS["series-1"], linewidth=1.2)
    areas = [12 + 120 * each["rows"] / most for each in bins]
    axes.scatter(confidences, accuracies, s=areas, color=_COLOURS["series-1"], linewidths=0)
    lowest = min([*confidences, *accuracies, 0.9])
    axes.set(xlim=(max(lowest - 0.08, 0), 1.03), ylim=(max(lowest - 0.08, 0), 1.04))
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    return _to_svg(figure, name, alt)


def _new_plot() -> tuple[Figure, Axes]:
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_COLOURS["line"])
    axes.tick_params(color=_COLOURS["line"], labelcolor=_COLOURS["ink"], length=3)
    axes.grid(axis="y", color=_COLOURS["line"], linewidth=0.6)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_COLOURS["ink"])
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def _to_svg(figure: Figure, name: str, alt: str) -> Markup:
    buffer = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    text = buffer.getvalue()
    view_box = re.search(r'viewBox="[^"]*"', text)
    inner = text[text.index(">", text.index("<svg")) + 1 :]
    inner = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = re.sub(r" font-family: [^;\"]*;", "", inner).replace("xlink:href", "href")
    for word, colour in _COLOURS.items():
        inner = inner.replace(colour, f"var(--{word})")
    attributes = f'class="plot" role="img" aria-label="{escape(alt)}" {view_box[0] if view_box else ""}'
    return Markup(f"<svg {attributes}>{_own_ids(inner, name)}")


def _own_ids(inner: str, name: str) -> str:
    """Keeps the ids that are referred to, with the plot's name, and drops all others."""
    used = {*re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', inner)}
    names = {first or second for first, second in used}
    inner = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in names else "", inner)
    return inner.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-").replace("\n", " ")
