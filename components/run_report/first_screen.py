"""What the first screen of a run's page says: the outcome, each rule on its scale, what to do next.

Imported where the page is rendered.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from components.run_report import wording
from components.run_report.facts import Facts
from components.run_report.facts_of_model import RuleFacts
from components.run_report.shapes import Scale, zoomed_scale

_OUTCOMES = {  # word, tone and sentence if there is no better one
    "pushed": ("Pushed", "good", "The model has passed every gate and is served."),
    "nothing to do": ("Nothing to do", "good", "Nothing has changed; serving stays as it is."),
    "model refused": ("Model refused", "bad", "The model is not good enough and was not pushed."),
    "data refused": ("Data refused", "bad", "The data are not fit to train on; no model was trained."),
    "infra refused": (
        "Infra refused",
        "bad",
        "The exported model does not answer as the trained one; it was not pushed.",
    ),
    "failed": ("Failed", "bad", "A component failed."),
    "interrupted": ("Interrupted", "warn", "The run was stopped before its end."),
}
_BOUND = re.compile(r"(change )?(>=|<=|>|<) ([-+]?[\d.]+(?:e[-+]?\d+)?)(%?)")
_MOST_GAUGES = 4
_DEFAULT_ROOT = "output"  # of `sluice run`


class Outcome(NamedTuple):
    """The outcome of a run: its word, its tone (good, bad, warn or open) and the sentence that tells it."""

    word: str
    tone: str
    sentence: str


class Gauge(NamedTuple):
    """A rule of the whole split: its value, interval and bound on a scale."""

    rule: RuleFacts
    bound: float
    scale: Scale
    alt: str


class Step(NamedTuple):
    """What to do next, and the command for it; empty if there is none."""

    sentence: str
    command: str


def view_outcome(facts: Facts) -> Outcome:
    """Returns the outcome; of a run in a container that was judged before its end, what the Evaluator decided."""
    if run := facts["run"]:
        word, tone, sentence = _OUTCOMES.get(run["outcome"], (run["outcome"] or "Ended", "open", ""))
        said, _, rest = run["verdict"].partition(": ")
        return Outcome(word, tone, rest if said.lower() == word.lower() else run["verdict"] or sentence)
    if evaluation := facts["evaluation"]:
        word, tone = ("Blessed", "good") if evaluation["blessed"] else ("Not blessed", "bad")
        return Outcome(word, tone, evaluation["sentence"])
    return Outcome("Not judged", "open", "No Evaluator has judged a model, and how the run ended is not known here.")


def view_gauges(facts: Facts) -> Iterator[Gauge]:
    """Yields the rules on the whole split that can be drawn."""
    rules = facts["evaluation"]["rules"] if facts["evaluation"] else []
    whole = [(rule, bound) for rule in rules if not rule["where"] and (bound := effective_bound(rule)) is not None]
    for rule, bound in whole[:_MOST_GAUGES]:
        interval = rule["interval"] or []
        numbers = [rule["value"], bound, rule["baseline"], *interval]
        scale = zoomed_scale(numbers, is_share=len(interval) == 2 and all((n or 0) <= 1 for n in numbers))
        words = [f"{wording.clean(rule['rule'])}: {wording.figure(rule['value'])}", f"bound {rule['bound']}"]
        words += [f"interval {wording.figure(interval[0])} to {wording.figure(interval[1])}"] if interval else []
        words += [rule["state"]]
        yield Gauge(rule, bound, scale, wording.clean(", ".join(words)))


def effective_bound(rule: RuleFacts) -> float | None:
    """Returns the number that a rule's value must not pass; None without a value, or a baseline that it is held to."""
    found = _BOUND.fullmatch(rule["bound"])
    if found is None or rule["value"] is None:
        return None
    is_change, _, number, percent = found.groups()
    if not is_change:
        return float(number)
    if rule["baseline"] is None:
        return None
    return rule["baseline"] * (1 + float(number) / 100) if percent else rule["baseline"] + float(number)


def view_step(facts: Facts) -> Step | None:
    """Returns what to do about a run that has not pushed; None if there is nothing to do."""
    run = facts["run"]
    if run is None:
        return None
    config_file, root = run["config_file"], run["log_file"].rpartition("/logs/")[0]
    options = [] if root in ("", _DEFAULT_ROOT) else ["--root", root]
    again = wording.command("sluice", "run", *filter(None, [config_file]), *options)
    failed = next((each["component"] for each in run["components"] if each["state"] == "failed"), "")
    match run["outcome"]:
        case "model refused":
            config = ["--config", config_file] if config_file else []
            compared = wording.command("sluice", "compare", "served", run["run_id"], *config, *options)
            compared = compared if run["serving"] else again
            return Step(
                "See which rule was broken under Evaluation, and how the run differs from the served one:", compared
            )
        case "data refused":
            has_findings = facts["data"] is not None and facts["data"]["findings"]
            where = "the findings under Data say" if has_findings else "the verdict says"
            return Step(f"Correct the rows or the schema, as {where}, and run again:", again)
        case "infra refused":
            return Step("Correct the export, as the reasons under Run say, and run again:", again)
        case "failed":
            line = wording.command("less", run["log_file"]) if run["log_file"] else again
            return Step(f"{failed or 'A component'} failed. Its error stands at the end of the log:", line)
        case "interrupted":
            return Step("What is done is kept. Go on with:", again)
    return None
