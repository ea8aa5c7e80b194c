"""Holds what TFMA measured to the rules. Runs in the Evaluator's process."""

import math
from collections.abc import Callable, Iterator, Sequence

from components.evaluator import EXAMPLE_COUNT
from components.evaluator.measurement import Measurement, Metrics
from components.evaluator.rules import Rule
from components.evaluator.verdict import BROKEN, HELD, NOT_JUDGED, Judgement, compare

IntervalOf = Callable[[Rule, str], tuple[float, float] | None]


def judge(
    rules: Sequence[Rule],
    candidate: Measurement,
    baseline: Measurement | None,
    *,
    no_baseline: str,
    interval_of: IntervalOf,
) -> list[Judgement]:
    """Judges every rule.

    Args:
        rules: With the bounds of this run.
        candidate: What was measured of the candidate.
        baseline: The same of the version that is served.
        no_baseline: Why there is none.
        interval_of: Gives the interval of a rule with a confidence in a slice, `""` for the whole split.
    """
    return [
        _judge(rule, where, metrics, _same_slice(rule, where, baseline), no_baseline, interval_of)
        for rule in rules
        for where, metrics in _slices(rule, candidate)
    ]


def _slices(rule: Rule, measured: Measurement) -> Iterator[tuple[str, Metrics]]:
    if not rule.slice.feature:
        yield "", measured.whole
        return
    found = {value: metrics for (key, value), metrics in measured.slices.items() if key == rule.slice.key and value}
    for value in rule.slice.values or sorted(found, key=_slice_order):
        yield value, found.get(value, {})


def _judge(
    rule: Rule,
    where: str,
    metrics: Metrics,
    baseline: Metrics | None,
    no_baseline: str,
    interval_of: IntervalOf,
) -> Judgement:
    num_rows = int(metrics.get(EXAMPLE_COUNT, 0))
    value = _number(metrics.get(rule.score.name))
    before = _number((baseline or {}).get(rule.score.name))
    judgement = Judgement(rule, BROKEN, num_rows, value, before, where=where)

    def not_judged(reason: str) -> Judgement:
        return Judgement(rule, NOT_JUDGED, num_rows, value, before, where=where, reason=reason)

    if where and num_rows < rule.min_rows:
        return not_judged(f"fewer than {rule.min_rows} rows")
    if rule.is_change and baseline is None:
        return not_judged(no_baseline)
    if value is None:
        return judgement
    number = judgement.change if rule.is_change else value
    interval = interval_of(rule, where) if rule.confidence else None
    ends = [number, *(interval or ([math.nan] if rule.confidence else []))]
    held = all(compare(end, rule.comparison, rule.value) for end in ends)
    return Judgement(rule, HELD if held else BROKEN, num_rows, value, before, interval, where)


def _same_slice(rule: Rule, where: str, measured: Measurement | None) -> Metrics | None:
    if measured is None or not where:
        return measured.whole if measured else None
    return measured.slices.get((rule.slice.key, where), {})


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _slice_order(name: str) -> tuple[float, str]:
    """Sorts numbers and buckets by where they begin, and all else by name."""
    try:
        return (-math.inf if name.startswith("< ") else float(name.removeprefix(">= ").split(" to ")[0])), name
    except ValueError:
        return math.inf, name
