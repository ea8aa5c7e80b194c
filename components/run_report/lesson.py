"""What compile decided: the optimizer, the loss and the metrics in force, and what another choice would change.

Tied to the numbers of the run that is told. Facts in, words out.
"""

import itertools
import math
from collections.abc import Iterator

from components.run_report.facts import DecisionFacts, Facts, LessonFacts, QuestionFacts
from components.run_report.facts_of_model import EpochFacts, ModelFacts, TrainingFacts
from components.run_report.facts_of_rows import RowFacts

_OPTIMIZERS = {  # by Keras' class: what its step depends on
    "SGD": "the gradient alone, or with momentum a running mean of it; one learning rate for every weight",
    "RMSprop": "the gradient, divided by the root of a running mean of its squares, so each weight has its own step",
    "Adagrad": "the gradient, divided by the root of the sum of all its squares so far: steps only ever shrink",
    "Adadelta": "the gradient, scaled by running means of its squares and of the squares of earlier steps",
    "Adam": "a running mean of the gradient, divided by the root of a running mean of its squares: each weight has its "
    "own step, of about the learning rate at first",
    "AdamW": "what Adam's depends on, and it shrinks every weight a little at each step (weight decay)",
    "Adamax": "a running mean of the gradient, divided by the largest gradient of late",
    "Nadam": "what Adam's depends on, with a look ahead along the running mean (Nesterov)",
    "Ftrl": "the gradient and a penalty that holds rarely used weights at 0",
    "Lion": "only the sign of a running mean of the gradient: every weight moves equally far",
}
_METRICS = {
    "accuracy": (
        "the share of rows whose most probable class is the label",
        "how sure the model is does not enter: 0.34, 0.33, 0.33 counts as much as 0.98, 0.01, 0.01",
    ),
    "top_2_accuracy": (
        "the share of rows whose label is among the two most probable classes",
        "it is never below accuracy, and of two classes it is always 1",
    ),
    "cross_entropy": (
        "the mean of -ln p of the label's class, whatever loss is trained with",
        "it tells how sure the model is, which accuracy does not, and one confident mistake can dominate it",
    ),
}
_CROSS_ENTROPY = "SparseCategoricalCrossentropy"
_FOCAL = "sparse_categorical_focal_crossentropy"
_MOST_QUESTIONS = 3


def make_lesson(facts: Facts, losses_by_reading: tuple[float, float] | None) -> LessonFacts | None:
    """Returns the lesson of a run; None if the module file has not described what it compiled.

    Args:
        facts: With the model's, and the training's and the row's where there are any.
        losses_by_reading: Cross-entropy of the recorded rows, of their logits and of the same read as probabilities.
    """
    model = facts["model"]
    if model is None:
        return None
    decisions = [_optimizer(model, facts["training"]), _loss(model, losses_by_reading), _metrics(model)]
    questions = [*_questions(facts, model)][:_MOST_QUESTIONS]
    return {"decisions": decisions, "questions": questions}


def _optimizer(model: ModelFacts, training: TrainingFacts | None) -> DecisionFacts:
    name, settings = model["optimizer"], model["optimizer_settings"]
    rate = settings.get("learning_rate")
    in_force = f"{name}, learning rate {rate:g}" if isinstance(rate, int | float) else name
    decides = f"How the {model['parameters']} weights move after each batch"
    if name in _OPTIMIZERS:
        decides += f": a step depends on {_OPTIMIZERS[name]}"
    if training and training["steps_per_epoch"]:
        steps = training["steps_per_epoch"] * len(training["epochs"])
        decides += f". There were {steps} steps, {training['steps_per_epoch']} in each epoch"
    otherwise = []
    if name != "SGD":
        otherwise.append("With SGD every weight would have the same learning rate, which must be found by trying.")
    if name not in ("Adam", "AdamW"):
        otherwise.append("With Adam each weight would have a step of its own; 0.001 to 0.01 is often good enough.")
    otherwise.append(
        "With ten times the learning rate the loss tends to jump about or to diverge; with a tenth of it, as many "
        "epochs end further from the minimum."
    )
    return {"argument": "optimizer", "in_force": in_force, "decides": f"{decides}.", "otherwise": otherwise}


def _loss(model: ModelFacts, losses_by_reading: tuple[float, float] | None) -> DecisionFacts:
    name, from_logits = model["loss"], model["from_logits"]
    in_force = name + (f"(from_logits={from_logits})" if from_logits is not None else "")
    decides = "Which number training makes small, and so what the network's last layer means"
    otherwise = []
    if name == _CROSS_ENTROPY:
        decides += ". It is the mean of -ln p of each row's own class, and labels are integers"
        if from_logits:
            decides += ". from_logits=True: the last layer gives any numbers, and the softmax is part of the loss"
    elif name == _FOCAL:
        decides += ". It is cross-entropy in which rows that are already right with certainty count little"
        otherwise.append("Cross-entropy would let every row count; its probabilities are usually better calibrated.")
    if name == _CROSS_ENTROPY and losses_by_reading:
        as_logits, as_probabilities = losses_by_reading
        otherwise.append(
            f"With from_logits=False the same logits would be read as probabilities: the recorded rows would have a "
            f"loss of {as_probabilities:.3f}, not {as_logits:.3f}, and training would follow it."
        )
    if name == _CROSS_ENTROPY:
        otherwise.append("CategoricalCrossentropy is the same number for labels that are one-hot vectors.")
    return {"argument": "loss", "in_force": in_force, "decides": f"{decides}.", "otherwise": otherwise}


def _metrics(model: ModelFacts) -> DecisionFacts:
    known = [name for name in model["metrics"] if name in _METRICS]
    decides = "What is reported beside the loss; no weight moves for it"
    said = [f"{name} is {_METRICS[name][0]}" for name in known]
    otherwise = [f"{name}: {_METRICS[name][1]}." for name in known]
    otherwise += [f"{name} would add {about[0]}." for name, about in _METRICS.items() if name not in model["metrics"]]
    return {
        "argument": "metrics",
        "in_force": ", ".join(model["metrics"]) or "none",
        "decides": "; ".join([decides, *said]) + ".",
        "otherwise": otherwise,
    }


def _questions(facts: Facts, model: ModelFacts) -> Iterator[QuestionFacts]:
    row, training = facts["row"], facts["training"]
    first = training["epochs"][0]["figures"] if training else {}
    num_classes = len(row["classes"]) if row else 0
    if num_classes > 1 and "loss" in first and model["loss"] == _CROSS_ENTROPY:
        chance = math.log(num_classes)
        yield {
            "question": f"The first epoch's loss is {first['loss']:.3f}. What would a model have that gives every "
            f"one of the {num_classes} classes the same probability?",
            "answer": f"-ln(1/{num_classes}) = ln {num_classes} = {chance:.3f} for every row. The first epoch is "
            f"{abs(first['loss'] - chance):.3f} {'below' if first['loss'] < chance else 'above'} that.",
        }
    if row and row["label"] in row["classes"]:
        yield _softmax_question(row)
    if training and (pair := _disagreement(training["epochs"])):
        yield _disagreement_question(*pair)
    if training and len(training["epochs"]) > 1 and "loss" in first:
        last = training["epochs"][-1]["figures"]
        yield {
            "question": f"The loss fell from {first['loss']:.3f} to {last['loss']:.3f}. Did the optimizer look at the "
            "accuracy for that?",
            "answer": "No. Accuracy changes in jumps and has no gradient; the optimizer followed the loss alone, and "
            "accuracy is only reported.",
        }


def _softmax_question(row: RowFacts) -> QuestionFacts:
    index = row["classes"].index(row["label"])
    largest = max(row["logits"])
    powers = [math.exp(each - largest) for each in row["logits"]]
    probability = powers[index] / sum(powers)
    logits = ", ".join(f"{each:.2f}" for each in row["logits"][:5]) + ", ..." * (len(row["logits"]) > 5)
    cost = f"{-math.log(probability):.3f}" if probability > 0 else "more than 700"
    return {
        "question": f"The row that is followed has the logits {logits} and the label {row['label']}. What does it add "
        "to the loss?",
        "answer": f"The softmax gives {row['label']} e^{row['logits'][index]:.2f} of the sum of all e^logit, "
        f"{probability:.4f}; -ln {probability:.4f} = {cost}.",
    }


def _disagreement(epochs: list[EpochFacts]) -> tuple[EpochFacts, EpochFacts] | None:
    """Returns the first two epochs between which validation loss and accuracy disagree on which is better."""
    for before, now in itertools.pairwise(epochs):
        a, b = before["figures"], now["figures"]
        if {"val_loss", "val_accuracy"} <= a.keys() & b.keys():
            better_loss, better_accuracy = b["val_loss"] < a["val_loss"], b["val_accuracy"] > a["val_accuracy"]
            if better_loss != better_accuracy and b["val_accuracy"] != a["val_accuracy"]:
                return before, now
    return None


def _disagreement_question(before: EpochFacts, now: EpochFacts) -> QuestionFacts:
    a, b = before["figures"], now["figures"]
    return {
        "question": f"From epoch {before['epoch']} to {now['epoch']} the validation loss went from "
        f"{a['val_loss']:.3f} to {b['val_loss']:.3f} and the validation accuracy from {a['val_accuracy']:.3f} to "
        f"{b['val_accuracy']:.3f}. Which of the two did training look at?",
        "answer": "At neither: no weight moves for validation rows. They disagree because accuracy only asks which "
        "class is most probable, and the loss how probable the right one is.",
    }
