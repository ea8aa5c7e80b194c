"""Says in words what the numbers show: of each epoch, and of each stage of the data flow. Facts in, words out.

Nothing is said that the numbers do not say: each clause has a condition, and most carry the figures that meet it.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

from components.run_report.facts import Facts, StageFacts
from components.run_report.facts_of_model import EpochFacts, EvaluationFacts, ModelFacts, TrainingFacts
from components.run_report.facts_of_rows import DataFacts, FeatureFacts

_STANDSTILL = 0.01  # a relative change below which a loss has not moved
_MOST_CLAUSES = 3


def observe_training(training: TrainingFacts, num_classes: int) -> None:
    """Writes the observation of every epoch and the summary into the facts of a training.

    Args:
        training: As collected.
        num_classes: C; guessing costs a cross-entropy of ln C.
    """
    epochs = training["epochs"]
    for index, epoch in enumerate(epochs):
        clauses = [*_of_epoch(epochs, index, num_classes)][:_MOST_CLAUSES]
        epoch["observation"] = _sentence(clauses)
    training["summary"] = " ".join(map(_sentence, ([each] for each in _of_training(training))))


def flow_of(facts: Facts) -> list[StageFacts]:
    """Returns the stages of the data flow of which there are facts, in their order."""
    data, model, evaluation = facts["data"], facts["model"], facts["evaluation"]
    stages: list[StageFacts] = []
    if data and data["splits"]:
        stages += [_example_gen(data), _data_gate(data)]
        is_refused = any(each["severity"] == "fail" for each in data["findings"])
        if not is_refused and any(each["scaled"] for each in data["features"]):
            stages.append(_transform(data))
    if model:
        stages.append(_trainer(model, facts["training"], data))
    if infra := facts["infra"]:
        reasons = infra["reasons"]
        observation = f"Refused: {reasons[0]}" if reasons else infra["sentence"]
        stages.append(_stage("InfraValidator", f"{infra['rows']} recorded rows", "their logits again", observation))
    if evaluation:
        stages.append(_evaluator(evaluation))
    if facts["run"] and any(each["component"] == "Pusher" for each in facts["run"]["components"]):
        version, serving = facts["run"]["version"], ", ".join(facts["run"]["serving"])
        leaves = f"version {version}" if version else "nothing"
        stages.append(_stage("Pusher", "the candidate", leaves, f"Served now: {serving or 'nothing'}."))
    return stages


def _sentence(clauses: Sequence[str]) -> str:
    text = "; ".join(clauses)
    return text[:1].upper() + text[1:] + "." * bool(text)


def _of_epoch(epochs: Sequence[EpochFacts], index: int, num_classes: int) -> Iterator[str]:
    figures = epochs[index]["figures"]
    before = epochs[index - 1]["figures"] if index else {}
    if epochs[index]["kept"]:
        yield "its weights are kept"
    if (val := _overfitting(epochs, index)) and not any(_overfitting(epochs, i) for i in range(index)):
        yield val
    if "loss" in figures:
        yield _against_guessing(figures, num_classes) if not before else _change_of_loss(figures, before)
    if _has_largest_gain(epochs, index):
        gain = figures["accuracy"] - before["accuracy"]
        yield f"the largest gain in accuracy of all epochs, {gain:+.3f} to {figures['accuracy']:.3f}"
    if _beats_published(epochs, index) and not any(_beats_published(epochs, i) for i in range(index)):
        last = _last_published(epochs)
        yield f"already past the published trace's end ({last['loss']:.2f}, {last['accuracy']:.2f})"
    if before and {"val_loss"} <= figures.keys() & before.keys() and figures["val_loss"] < before["val_loss"]:
        yield f"validation loss follows, {before['val_loss']:.3f} to {figures['val_loss']:.3f}"


def _against_guessing(figures: dict[str, float], num_classes: int) -> str:
    chance = math.log(num_classes)
    share = 1 - figures["loss"] / chance
    compared = f"{share:.0%} below" if share > 0 else f"{-share:.0%} above"
    text = f"loss {figures['loss']:.3f}, {compared} guessing (ln {num_classes} = {chance:.3f})"
    if "accuracy" in figures:
        text += f", accuracy {figures['accuracy']:.3f} where guessing has {1 / num_classes:.3f}"
    return text


def _change_of_loss(figures: dict[str, float], before: dict[str, float]) -> str:
    change = figures["loss"] / before["loss"] - 1 if before.get("loss") else 0.0
    if abs(change) < _STANDSTILL:
        return f"loss stands still at {figures['loss']:.3f} ({change:+.1%})"
    return f"loss {'falls' if change < 0 else 'rises'} by {abs(change):.0%} to {figures['loss']:.3f}"


def _overfitting(epochs: Sequence[EpochFacts], index: int) -> str:
    """Says that validation got worse while training got better; empty if it did not."""
    now, before = epochs[index]["figures"], epochs[index - 1]["figures"] if index else {}
    if not {"loss", "val_loss"} <= now.keys() & before.keys():
        return ""
    if now["loss"] >= before["loss"] or now["val_loss"] <= before["val_loss"] * (1 + _STANDSTILL):
        return ""
    return (
        f"validation loss rises, {before['val_loss']:.3f} to {now['val_loss']:.3f}, while training loss falls: the "
        "first sign of overfitting, or noise of a small split"
    )


def _has_largest_gain(epochs: Sequence[EpochFacts], index: int) -> bool:
    accuracies = [each["figures"].get("accuracy") for each in epochs]
    if index == 0 or len(epochs) < 3 or None in accuracies:
        return False
    gains = [now - before for before, now in itertools.pairwise(accuracies)]  # type: ignore[operator]
    return gains[index - 1] > 0 and gains.index(max(gains)) == index - 1


def _last_published(epochs: Sequence[EpochFacts]) -> dict[str, float]:
    return next((each["published"] for each in reversed(epochs) if each["published"]), {})


def _beats_published(epochs: Sequence[EpochFacts], index: int) -> bool:
    last, figures = _last_published(epochs), epochs[index]["figures"]
    if not {"loss", "accuracy"} <= last.keys() & figures.keys():
        return False
    return figures["loss"] <= last["loss"] and figures["accuracy"] >= last["accuracy"]


def _of_training(training: TrainingFacts) -> Iterator[str]:
    epochs = training["epochs"]
    first, last = epochs[0]["figures"], epochs[-1]["figures"]
    steps = f" of {training['steps_per_epoch']} steps" * bool(training["steps_per_epoch"])
    if "loss" in last and len(epochs) > 1:
        told = [
            f"the {name} from {first[name]:.3f} to {last[name]:.3f}" for name in ("loss", "accuracy") if name in last
        ]
        yield f"in {len(epochs)} epochs{steps} " + " and ".join(told).replace(" from", " went from", 1)
    elif "loss" in last:
        yield f"one epoch{steps}: loss {last['loss']:.3f}"
    losses = [each["figures"].get("val_loss", math.inf) for each in epochs]
    if "val_loss" in last and min(losses) < losses[-1]:
        best = losses.index(min(losses))
        yield f"validation loss was lowest in epoch {epochs[best]['epoch']}, {min(losses):.3f}; it ended at " + (
            f"{losses[-1]:.3f}"
        )
    published = _last_published(epochs)
    if {"loss", "accuracy"} <= published.keys() & last.keys():
        yield (
            f"the published trace ends at loss {published['loss']:.2f} and accuracy {published['accuracy']:.2f}; this "
            f"one at {last['loss']:.2f} and {last['accuracy']:.2f}"
        )


def _stage(stage: str, enters: str, leaves: str, observation: str) -> StageFacts:
    return {"stage": stage, "enters": enters, "leaves": leaves, "observation": observation}


def _inputs(data: DataFacts) -> list[FeatureFacts]:
    return [each for each in data["features"] if each["kind"] in ("numeric", "categorical")]


def _example_gen(data: DataFacts) -> StageFacts:
    total = sum(each["rows"] for each in data["splits"])
    splits = ", ".join(f"{each['name']} {each['rows']} ({each['rows'] / total:.0%})" for each in data["splits"])
    enters = data["input"].split(", ")[0] if data["input"] else "files"
    observation = f"Split by content into {splits}."
    if data["warnings"]:
        observation += f" {_sentence([data['warnings'][0].rstrip('.')])}"
    return _stage("ExampleGen", enters, f"{total} x {len(data['features'])}", observation)


def _data_gate(data: DataFacts) -> StageFacts:
    total = sum(each["rows"] for each in data["splits"])
    findings, missing = data["findings"], sum(bool(each["missing"]) for each in _inputs(data))
    said = [f"{len(findings)} finding{'s' * (len(findings) != 1)}"] if findings else ["nothing contradicts the schema"]
    said.append(f"{missing} of {len(_inputs(data))} features have missing values" if missing else "no value is missing")
    if drifts := [each["drift"] for each in data["features"] if each["drift"]]:
        num_high = sum((drift["value"] or 0) > drift["threshold"] for drift in drifts)
        said.append(f"{num_high} of {len(drifts)} features have drifted")
    is_refused = any(each["severity"] == "fail" for each in findings)
    return _stage("DataGate", f"{total} rows", "nothing" if is_refused else f"{total} rows", _sentence(said))


def _transform(data: DataFacts) -> StageFacts:
    inputs = _inputs(data)
    numeric = [each for each in inputs if each["kind"] == "numeric" and each["minimum"] is not None]
    said = []
    if numeric:
        widest = max(numeric, key=lambda each: (each["maximum"] or 0) - (each["minimum"] or 0))
        said.append(
            f"{len(numeric)} number{'s' * (len(numeric) != 1)} scaled to 0-1; the widest range was "
            f"{widest['minimum']:g} to {widest['maximum']:g} ({widest['name']})"
        )
    if categorical := [each for each in inputs if each["kind"] == "categorical"]:
        said.append(f"{len(categorical)} categorical feature{'s' * (len(categorical) != 1)} became positions")
    rows = data["splits"][0]["rows"]
    return _stage("Transform", f"{rows} x {len(inputs)} raw", f"{rows} x {len(inputs)} scaled", _sentence(said))


def _trainer(model: ModelFacts, training: TrainingFacts | None, data: DataFacts | None) -> StageFacts:
    rows = training["rows"] if training and training["rows"] else "rows"
    width = len(_inputs(data)) if data else 0
    num_classes = model["layers"][-1]["shape"].split(" x ")[-1] if model["layers"] else "C"
    reading = {True: " from logits", False: " from probabilities", None: ""}[model["from_logits"]]
    said = f"{model['optimizer']}, {model['loss']}{reading}, {', '.join(model['metrics'])}"
    observation = _sentence(
        [f"{model['parameters']} parameters in {len(model['layers'])} layers, compiled with {said}"]
    )
    if training and training["summary"]:
        observation += " " + training["summary"].split(". ")[0].rstrip(".") + "."
    return _stage("Trainer", f"{rows} x {width} scaled", f"{rows} x {num_classes} logits", observation)


def _evaluator(evaluation: EvaluationFacts) -> StageFacts:
    classes = len(evaluation["classes"])
    return _stage(
        "Evaluator",
        f"{evaluation['rows']} x {classes} probabilities",
        "blessed" if evaluation["blessed"] else "not blessed",
        _sentence([evaluation["sentence"]]),
    )
