"""Why a model was blessed or refused: typed, in words, and as `verdict.json` beside the blessing.

Runs in the Evaluator's and Pusher's process and in `sluice run`; imports neither TensorFlow nor TFX.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.baseline import Baseline
from components.evaluator.rules import Rule

VERDICT_FILE = "verdict.json"
HELD, BROKEN, NOT_JUDGED = "held", "broken", "not judged"
_FORMAT = 1
_MOST_TOLD = 4
_OPPOSITE = {">=": "<", "<=": ">"}


@dataclass(frozen=True)
class Judgement:
    """How a model stood to one rule, on the whole eval split or in one slice.

    Attributes:
        rule: The rule.
        state: `held`, `broken` or `not judged`.
        num_rows: Rows that it was judged on.
        value: What was measured; None if it could not be.
        baseline: The same of the version that is served; None if there is none.
        interval: Of the value or, for a change, of the change; None if the rule has no confidence.
        where: The slice: a value of the rule's feature, or a bucket; empty for the whole split.
        reason: Why it was not judged.
    """

    rule: Rule
    state: str
    num_rows: int
    value: float | None = None
    baseline: float | None = None
    interval: tuple[float, float] | None = None
    where: str = ""
    reason: str = ""

    @property
    def change(self) -> float:
        """The change from the served version, as the rule's bound has it; NaN without both values, or from 0."""
        if self.value is None or self.baseline is None:
            return math.nan
        difference = self.value - self.baseline
        if self.rule.bound == "relative_change":
            return math.nan if math.isclose(self.baseline, 0.0) else difference / self.baseline
        return difference

    @property
    def place(self) -> str:
        """Where it was judged, such as `season is 3` or `age >= 50`; empty for the whole split."""
        is_open = self.where.startswith(("< ", ">= "))
        return f"{self.rule.slice.feature} {'' if is_open else 'is '}{self.where}" if self.where else ""

    @property
    def subject(self) -> str:
        """What was measured and where, such as `recall of flush where season is 3 (41 rows)`."""
        return f"{self.rule.score} where {self.place} ({_rows(self.num_rows)})" if self.where else str(self.rule.score)

    def __str__(self) -> str:
        if self.state == NOT_JUDGED:
            return f"{'the change of ' * self.rule.is_change}{self.subject} is not judged: {self.reason}"
        if self.value is None:
            return f"{self.subject} cannot be measured"
        if self.rule.is_change:
            return self._change_sentence()
        return f"{self.subject} {self._comparison(self.value, self.rule.value)}"

    def _change_sentence(self) -> str:
        if self.baseline is None or math.isnan(self.change):
            return f"{self.subject} {self.value:.3f} has no {self.rule.bound.replace('_', ' ')} from 0"
        percent = self.rule.bound == "relative_change"
        change = self._comparison(self.change, self.rule.value, sign="+", percent=percent)
        return f"{self.subject} {self.value:.3f} against the baseline's {self.baseline:.3f}: change {change}"

    def _comparison(self, number: float, bound: float, *, sign: str = "", percent: bool = False) -> str:
        """Puts a number, its interval and the bound beside each other, with decimals that tell them apart."""
        ends = self.interval or ()
        # As few decimals as tell the numbers from the bound, never "0.950 < 0.950", and the bound as it was given.
        exact = next((n for n in range(3, 7) if float(f"{bound:.{n}f}") == bound), 6)
        apart = (n for n in range(exact, 17) if all(f"{x:.{n}f}" != f"{bound:.{n}f}" for x in (number, *ends)))
        decimals = next(apart, exact)

        def shown(value: float) -> str:
            return f"{value:{sign}.{decimals - 2}%}" if percent else f"{value:{sign}.{decimals}f}"

        interval = f" ({percentage(self.rule.confidence)}: {' to '.join(map(shown, ends))})" if ends else ""
        holds = compare(number, self.rule.comparison, bound)
        comparison = self.rule.comparison if holds else _OPPOSITE[self.rule.comparison]
        if holds and self.state == BROKEN:
            comparison = f"is not surely {comparison}"
        return f"{shown(number)}{interval} {comparison} {shown(bound)}"


@dataclass(frozen=True)
class Verdict:
    """What the Evaluator decided.

    Attributes:
        blessed: Whether the Pusher may push the model.
        judgements: Of every rule and slice.
        num_rows: Rows of the split that decides.
        metrics: Every metric of the candidate over the whole split, by name.
        baseline: What it was compared with.
        split: Name of the split that decides.
        weight: Name of the weight by which its rows count; empty if all count alike.
    """

    blessed: bool
    judgements: tuple[Judgement, ...]
    num_rows: int
    metrics: dict[str, float]
    baseline: Baseline
    split: str = "eval"
    weight: str = ""

    def __str__(self) -> str:
        decisive = [each for each in self.judgements if each.state == (HELD if self.blessed else BROKEN)]
        whole = [str(each) for each in decisive if not each.where]
        slices = [str(each) for each in decisive if each.where]
        if self.blessed and slices:
            slices = [f"all {len(slices)} slices held" if len(slices) > 1 else "1 slice held"]
        told = [", ".join(_shortened(whole)) + f" on {self._rows}"] * bool(whole) + _shortened(slices)
        return "; ".join(told) or f"TFMA refuses what the rules do not, on {self._rows}; its validation says why"

    @property
    def _rows(self) -> str:
        return f"{self.num_rows} {self.split} rows" + f" weighted by {self.weight}" * bool(self.weight)

    @property
    def served_score(self) -> str:
        """The served version's value of what decided, on the same rows; empty if it was not compared."""
        told = sorted(self.judgements, key=lambda each: (each.state != BROKEN, bool(each.where)))
        first = next((each for each in told if each.baseline is not None and not each.where), None)
        return f"{first.rule.score} {first.baseline:.3f}" if first else ""

    @property
    def notes(self) -> list[str]:
        """What the candidate was compared with, and what was not judged, in words."""
        if self.baseline.version is not None:
            compared = f"the baseline is version {self.baseline.version}"
        else:
            skipped = sum(each.rule.is_change and each.state == NOT_JUDGED for each in self.judgements)
            count = f"; {skipped} change{'s are' if skipped > 1 else ' is'} not judged" if skipped else ""
            compared = f"no baseline: {self.baseline.reason}{count}"
        small = [each for each in self.judgements if each.state == NOT_JUDGED and not each.rule.is_change]
        return [compared, *_shortened(list(map(str, small)))]


def percentage(share: float | None) -> str:
    """Returns a share in percent, as short as it can be."""
    return f"{100 * (share or 0):.6g}%"


def compare(number: float, comparison: str, bound: float) -> bool:
    """Whether a number holds a bound; one that is no number never does."""
    return number >= bound if comparison == ">=" else number <= bound


def verdict_text(verdict: Verdict) -> str:
    """Returns the content of `verdict.json`; numbers that JSON lacks become null."""
    rules = [{**dataclasses.asdict(each), "name": each.rule.name, "sentence": str(each)} for each in verdict.judgements]
    values = {"format": _FORMAT, "sentence": str(verdict), **dataclasses.asdict(verdict), "judgements": rules}
    return json.dumps(_finite(values), indent=1, allow_nan=False) + "\n"


def parse_verdict(text: str | bytes) -> Verdict:
    """Returns the verdict of which a text is the `verdict.json`."""
    values = json.loads(text)
    return Verdict(
        blessed=values["blessed"],
        judgements=tuple(map(_judgement, values["judgements"])),
        num_rows=values["num_rows"],
        metrics={name: math.nan if value is None else value for name, value in values["metrics"].items()},
        baseline=Baseline(**values["baseline"]),
        split=values["split"],
        weight=values["weight"],
    )


def _judgement(values: dict[str, Any]) -> Judgement:
    interval = values["interval"] and tuple(values["interval"])
    fields = {field.name: values[field.name] for field in dataclasses.fields(Judgement)}
    return Judgement(**{**fields, "rule": Rule.from_json(values["rule"]), "interval": interval})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shortened(sentences: Sequence[str]) -> list[str]:
    rest = len(sentences) - _MOST_TOLD
    return [*sentences[:_MOST_TOLD], *([f"and {rest} more"] if rest > 0 else [])]


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
