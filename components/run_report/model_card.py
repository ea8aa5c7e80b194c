"""The model card, `MODEL_CARD.md` beside a pushed model. Runs in Pusher's process."""

import re
from typing import Any

import jinja2

from components.run_report.facts import Facts

_LONGEST = 200
_SPECIAL = re.compile(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w)|(?<=\bhttp):|(?<=\bhttps):|(?<=\bwww)\.|^[#+\->=])")
_NUMBERED = re.compile(r"^(\d+)([.)])")  # would begin a list
_HTML = {r"&(?=#?\w+;)": "&amp;", r"<(?=[A-Za-z/!?])": "&lt;"}


def render_model_card(facts: Facts, *, date: str) -> str:
    """Returns the card as Markdown (Mitchell et al. 2019, Model Cards for Model Reporting).

    Args:
        facts: Of the run; what it does not have is left out.
        date: Of the card, ISO 8601.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("components.run_report", "."),
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # of Markdown nothing knows how; every value goes through `text`
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(text=_text, figure=_figure, interval=_interval)
    template = environment.get_template("model_card.md.j2")
    return template.render(facts=facts, card=facts["card"], date=date, caveats=_caveats(facts))


def _text(value: Any) -> str:
    """Returns a text of which Markdown and HTML take nothing for their own, in one line that is not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
    for pattern, entity in _HTML.items():
        line = re.sub(pattern, entity, line)
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(ends: list[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _caveats(facts: Facts) -> list[str]:
    """Returns what the numbers themselves warn of."""
    found = []
    if data := facts["data"]:
        found += data["warnings"]
        for each in data["splits"]:
            shares = [count / each["rows"] for count in (each["classes"] or {}).values()] if each["rows"] else []
            if shares and each["name"] == "train" and max(shares) > 0.8:
                found.append(f"{max(shares):.0%} of the rows to train on are of one class.")
        for feature in data["features"]:
            total = feature["rows"] + feature["missing"]
            if feature["kind"] in ("numeric", "categorical") and feature["missing"] > total / 10:
                share = feature["missing"] / total
                found.append(f"{feature['name']} is missing in {share:.0%} of the rows to train on.")
    if evaluation := facts["evaluation"]:
        found += [note for note in evaluation["notes"] if "not judged" in note]
        if evaluation["rows"] < 1000:
            found.append(f"It was measured on {evaluation['rows']} rows; the intervals say how far that carries.")
    return found
