"""Renders the page of a run: one HTML file without a script that asks nobody for anything.

Runs in RunReport's process, in `sluice run` and in `sluice report`; imports neither TensorFlow nor TFX. Whatever comes
from facts is escaped, stripped of characters that HTML has no place for, and cut, wherever a template shows it.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from components.run_report import wording
from components.run_report.facts import ComponentFacts, Facts
from components.run_report.facts_of_model import EvaluationFacts, MetricFacts
from components.run_report.facts_of_rows import DataFacts, FeatureFacts, RowFacts
from components.run_report.first_screen import view_gauges, view_outcome, view_step
from components.run_report.shapes import Scale, histogram_path, share_scale, strip
from components.run_report.training_view import view_calibration, view_training
from schema import transformed_name

SECTIONS = {
    "outcome": "Outcome",
    "flow": "Data flow",
    "training": "Training",
    "prediction": "Prediction",
    "data": "Data",
    "evaluation": "Evaluation",
    "run": "Run",
    "card": "Model card",
    "lesson": "What compile decided",
    "problems": "Problems",
}
_FOLDER = Path(__file__).parent
_MOST_CLASSES = 30  # of a confusion matrix
_MOST_CONFUSIONS = 30
_MOST_NUMBERS = 20  # of a layer that has too many for a table


def render_page(facts: Facts) -> str:
    """Returns a run's page, the same text for the same facts."""
    style = Markup((_FOLDER / "page.css").read_text(encoding="utf-8"))
    return (
        _environment().get_template("page.html.j2").render(facts=facts, style=style, sections=SECTIONS, **_views(facts))
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=wording.clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("count", "figure", "statistic", "change", "share", "seconds", "size", "moment", "isolated")
    environment.filters |= {name: getattr(wording, name) for name in names}
    environment.filters["config"] = functools.partial(wording.isolated, most=wording.MOST_CONFIG_CHARACTERS)
    environment.filters["long"] = functools.partial(wording.isolated, most=wording.MOST_SENTENCE_CHARACTERS)
    environment.globals |= {"histogram_path": histogram_path, "strip": strip, "most_probable": _most_probable}
    return environment


def _views(facts: Facts) -> dict[str, Any]:
    """Returns what the templates show beyond the facts themselves; of a part that is None, None."""
    data, row, training, evaluation, run = (
        facts["data"],
        facts["row"],
        facts["training"],
        facts["evaluation"],
        facts["run"],
    )
    return {
        "outcome": view_outcome(facts),
        "gauges": list(view_gauges(facts)),
        "step": view_step(facts),
        "compared": _compared(evaluation) if evaluation else [],
        "stopped_at": _stopped_at(run["components"] if run else []),
        "training": view_training(training) if training else None,
        "drifts": _drifts(data) if data else [],
        "inputs": _inputs(row) if row else [],
        "largest": _largest,
        "confusion": _confusion(evaluation) if evaluation else None,
        "class_scale": _class_scale(evaluation) if evaluation else None,
        "slice_scale": _slice_scale(evaluation) if evaluation else None,
        "calibration": view_calibration(evaluation) if evaluation and evaluation["calibration"] else None,
        "total_secs": _total_secs(run["components"]) if run else 0.0,
    }


def _stopped_at(components: Sequence[ComponentFacts]) -> str:
    return next((each["component"] for each in components if each["state"] == "failed"), "")


def _total_secs(components: Sequence[ComponentFacts]) -> float:
    return max((each["started_secs"] + each["seconds"] for each in components), default=0.0)


def _compared(evaluation: EvaluationFacts) -> list[MetricFacts]:
    return [each for each in evaluation["metrics"] if each["candidate"] is not None and each["baseline"] is not None]


def _drifts(data: DataFacts) -> list[FeatureFacts]:
    """Returns the features that were compared, the one nearest to its threshold (or farthest over it) first."""

    def nearness(feature: FeatureFacts) -> float:
        drift = feature["drift"]
        return drift["value"] / (drift["threshold"] or 1.0) if drift and drift["value"] is not None else -1.0

    return sorted((each for each in data["features"] if each["drift"]), key=nearness, reverse=True)


def _inputs(row: RowFacts) -> list[tuple[str, str, str, float | None]]:
    """Returns name, raw cell, transformed cell and transformed number of each column of the row."""
    raw = {each["name"]: each["text"] for each in row["raw"]}
    transformed = {each["name"]: each["text"] for each in row["transformed"]}
    inputs = {transformed_name(name): name for name in raw} | {name: name for name in raw if name in transformed}
    columns = [
        (inputs.get(name, name), text, row["transformed_numbers"].get(name)) for name, text in transformed.items()
    ]
    used = {name for name, _, _ in columns}
    columns += [(name, "", None) for name in raw if name not in used]
    return [(name, raw.get(name, ""), text, number) for name, text, number in columns]


def _most_probable(row: RowFacts) -> list[int]:
    """Returns the places of the classes, the most probable first."""
    return sorted(range(len(row["probabilities"])), key=lambda index: -row["probabilities"][index])


def _largest(numbers: Sequence[float]) -> list[tuple[int, float]]:
    """Returns the numbers that are farthest from zero, each with its place, counted from 1."""
    places = sorted(range(len(numbers)), key=lambda index: -abs(numbers[index]))[:_MOST_NUMBERS]
    return [(index + 1, numbers[index]) for index in places]


def _confusion(evaluation: EvaluationFacts) -> dict[str, Any] | None:
    """Returns the share of each cell in its row; of many classes, the confusions that are most frequent."""
    matrix, classes = evaluation["confusion"], evaluation["classes"]
    if not matrix:
        return None
    if len(classes) <= _MOST_CLASSES:
        shares = [[each / sum(cells) if sum(cells) else 0.0 for each in cells] for cells in matrix]
        return {"shares": shares, "frequent": []}
    wrong = [
        (each, classes[label], classes[prediction])
        for label, cells in enumerate(matrix)
        for prediction, each in enumerate(cells)
        if each and label != prediction
    ]
    return {"shares": [], "frequent": sorted(wrong, key=lambda each: -each[0])[:_MOST_CONFUSIONS]}


def _class_scale(evaluation: EvaluationFacts) -> Scale:
    numbers: list[float | None] = []
    for each in evaluation["per_class"]:
        numbers += [each["recall"], each["precision"]]
        numbers += (each["recall_interval"] or [])[:1] + (each["precision_interval"] or [])[:1]
    return share_scale(numbers)


def _slice_scale(evaluation: EvaluationFacts) -> Scale:
    numbers: list[float | None] = []
    for each in evaluation["slices"]:
        numbers += [each["accuracy"], each["baseline_accuracy"], *(each["interval"] or [])[:1]]
    return share_scale(numbers)
