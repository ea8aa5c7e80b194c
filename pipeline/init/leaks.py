"""Finds columns that tell the label by themselves. Runs in `sluice init`."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

from pipeline.init.profiles import NUMBER, WHOLE, Profile

_SURE = 0.999  # share of rows whose label a column tells by itself


def renames(profile: Profile, label: Profile) -> bool:
    """Whether each value stands for one class and each class for one value."""
    if profile.num_distinct != label.num_distinct or profile.num_missing:
        return False
    pairs = set(zip(profile.sample, label.sample, strict=True))
    return len(pairs) == label.num_distinct == len({one for one, _ in pairs}) == len({other for _, other in pairs})


def leak(profile: Profile, label: Profile) -> str:
    """Returns a warning if a column tells the label by itself, by its values or by ranges of its numbers."""
    pairs = [pair for pair in zip(profile.sample, label.sample, strict=True) if None not in pair]
    if len(pairs) < 100:
        return ""
    told = _told_by_value(pairs) if profile.has_few_values else 0.0
    if profile.kind in (WHOLE, NUMBER):
        told = max(told, _told_by_range([(float(value or 0), str(name)) for value, name in pairs], label.num_distinct))
    if told < _SURE:
        return ""
    return f"tells '{label.name}' by itself; if it is known only afterwards, give --ignore"


def _told_by_value(pairs: Sequence[tuple[str | None, str | None]]) -> float:
    by_value: dict[str | None, Counter[str | None]] = defaultdict(Counter)
    for value, name in pairs:
        by_value[value][name] += 1
    return sum(max(counts.values()) for counts in by_value.values()) / len(pairs)


def _told_by_range(pairs: Sequence[tuple[float, str]], num_classes: int) -> float:
    """Returns 1 if each class has a range of numbers of its own."""
    names = [name for _, name in sorted(pairs)]
    return float(sum(one != other for one, other in itertools.pairwise(names)) < num_classes)
