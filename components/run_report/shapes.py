"""Small drawings of a run's page that need no plotting library: bars, strips of numbers, points on a scale.

Imported where the page is rendered. Shapes stretch to their place, so that their units are arbitrary; positions on a
scale are percent of its width.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

_MOST_BARS = 128
_NUM_GROUPS = 64
_MOST_BINS = 40
_HEIGHT = 24


class Strip(NamedTuple):
    """Numbers as bars above and below zero: paths in a box of `width` x `height`."""

    positive: Markup
    negative: Markup
    width: int
    height: int
    grouped: int  # how many numbers a bar stands for, the largest of which it shows


class Scale(NamedTuple):
    """A range of numbers that a width stands for."""

    low: float
    high: float

    def place(self, number: float | None) -> str:
        """Returns where a number lies, in percent of the width."""
        if number is None or not self.high > self.low:
            return "0"
        return f"{100 * min(max((number - self.low) / (self.high - self.low), 0), 1):.4g}"


def histogram_path(counts: Sequence[float]) -> Markup:
    """Returns bars in a box of 100 x 24."""
    group = math.ceil(len(counts) / _MOST_BINS) or 1
    sums = [sum(counts[start : start + group]) for start in range(0, len(counts), group)]
    most = max(sums, default=0) or 1
    width = 100 / max(len(sums), 1)
    heights = [max(_HEIGHT * each / most, 0.8) if each > 0 else 0 for each in sums]
    bars = ((index * width, height) for index, height in enumerate(heights) if height)
    return Markup("".join(f"M{x:.4g} {_HEIGHT}v-{height:.3g}h{0.88 * width:.3g}v{height:.3g}z" for x, height in bars))


def strip(numbers: Sequence[float]) -> Strip:
    """Returns bars of numbers, each its own as long as there are few."""
    group = 1 if len(numbers) <= _MOST_BARS else math.ceil(len(numbers) / _NUM_GROUPS)
    bars = [max(numbers[start : start + group], key=abs) for start in range(0, len(numbers), group)]
    above, below = max([*bars, 0.0]), -min([*bars, 0.0])
    unit = _HEIGHT / ((above + below) or 1)
    zero = above * unit

    def path(sign: int) -> Markup:
        heights = ((index, unit * abs(each)) for index, each in enumerate(bars) if each * sign > 0)
        edge = "-" if sign > 0 else ""
        return Markup(
            "".join(f"M{10 * index + 1} {zero:.4g}v{edge}{height:.4g}h8V{zero:.4g}z" for index, height in heights)
        )

    return Strip(path(1), path(-1), 10 * max(len(bars), 1), _HEIGHT, group)


def share_scale(numbers: Iterable[float | None]) -> Scale:
    """Returns a scale for shares, from the tenth below the lowest of them to 1."""
    present = [each for each in numbers if each is not None]
    return Scale(min(math.floor(10 * min(present, default=0.0)) / 10, 0.9), 1.0)


def zoomed_scale(numbers: Iterable[float | None], *, is_share: bool) -> Scale:
    """Returns a scale that shows numbers with some room to both sides."""
    present = [each for each in numbers if each is not None]
    low, high = min(present, default=0.0), max(present, default=1.0)
    room = 0.3 * max(high - low, 0.02 * abs(high), 1e-9)
    scale = Scale(low - room if low < 0 else max(low - room, 0), high + room)
    return Scale(scale.low, min(scale.high, 1)) if is_share else scale
