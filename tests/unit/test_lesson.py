"""The lesson: what it says is in force, and that its numbers are right."""

import json
import math
import re

import keras
import numpy as np
import pytest

from components.run_report.lesson import make_lesson
from components.trainer.description import write_description
from components.trainer.model import LOSSES, METRICS, build_model


def decisions(facts, losses=None):
    return {each["argument"]: each for each in make_lesson(facts, losses)["decisions"]}


@pytest.fixture
def facts(report_facts):
    return report_facts.make_facts()


def described(tmp_path, **settings):
    model = build_model(["a_xf", "b_xf"], 3, hidden_units=[4], **settings)
    write_description(model, str(tmp_path))
    return json.loads((tmp_path / "model.json").read_text())


@pytest.mark.parametrize(
    "optimizer", ["adam", "sgd", "rmsprop", "adagrad", "adadelta", "adamw", "adamax", "nadam", "ftrl", "lion"]
)
def test_every_optimizer_of_keras_is_explained(facts, tmp_path, optimizer):
    facts["model"] |= described(tmp_path, optimizer=optimizer, learning_rate=0.05)
    told = decisions(facts)["optimizer"]
    assert told["in_force"] == f"{type(keras.optimizers.get(optimizer)).__name__}, learning rate 0.05"
    assert "a step depends on" in told["decides"]


def test_unknown_optimizer_is_not_made_up(facts):
    facts["model"] |= {"optimizer": "Mine", "optimizer_settings": {}}
    told = decisions(facts)["optimizer"]
    assert told["in_force"] == "Mine"
    assert "depends on" not in told["decides"]


@pytest.mark.parametrize(("loss", "in_force"), [
    ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy(from_logits=True)"),
    ("sparse_categorical_focal_crossentropy", "sparse_categorical_focal_crossentropy"),
])  # fmt: skip
def test_every_loss_of_the_config_is_explained(facts, tmp_path, loss, in_force):
    assert loss in LOSSES
    facts["model"] |= described(tmp_path, loss=loss)
    told = decisions(facts, (0.25, 4.5))["loss"]
    assert told["in_force"] == in_force
    both = any("a loss of 4.500, not 0.250" in each for each in told["otherwise"])
    assert both == (loss == "sparse_categorical_crossentropy")


def test_every_metric_of_the_config_is_explained(facts, tmp_path):
    facts["model"] |= described(tmp_path, metrics=tuple(METRICS))
    told = decisions(facts)["metrics"]
    assert told["in_force"] == ", ".join(METRICS)
    assert all(f"{name} is " in told["decides"] for name in METRICS)
    facts["model"]["metrics"] = []
    assert decisions(facts)["metrics"]["in_force"] == "none"


def test_steps_are_those_of_the_run(facts):
    per_epoch, epochs = facts["training"]["steps_per_epoch"], len(facts["training"]["epochs"])
    assert (
        f"There were {per_epoch * epochs} steps, {per_epoch} in each epoch" in decisions(facts)["optimizer"]["decides"]
    )


def test_questions_are_three_and_their_numbers_are_right(facts):
    facts["model"] |= {"loss": "SparseCategoricalCrossentropy", "from_logits": True}
    facts["row"] |= {"logits": [2.0, 1.0, -1.0], "classes": ["a", "b", "c"], "label": "b"}
    questions = make_lesson(facts, None)["questions"]
    assert len(questions) == 3
    assert f"ln 3 = {math.log(3):.3f}" in questions[0]["answer"]
    share = np.exp(1.0) / np.exp([2.0, 1.0, -1.0]).sum()
    assert f"{share:.4f}; -ln {share:.4f} = {-math.log(share):.3f}" in questions[1]["answer"]


@pytest.mark.parametrize(("logits", "cost"), [([1000.0, -1000.0], "more than 700"), ([-1000.0, 1000.0], "0.000")])
def test_logits_of_any_size_have_a_cost(facts, logits, cost):
    facts["row"] |= {"logits": logits, "classes": ["a", "b"], "label": "b"}
    (answer,) = [each["answer"] for each in make_lesson(facts, None)["questions"] if "softmax" in each["answer"]]
    assert answer.rstrip(".").endswith(cost)
    assert not re.search("nan|inf", answer)


@pytest.mark.parametrize("part", ["row", "training"])
def test_lesson_without_a_part_asks_about_the_others(facts, part):
    facts[part] = None
    lesson = make_lesson(facts, None)
    assert len(lesson["decisions"]) == 3
    assert lesson["questions"]


def test_there_is_no_lesson_of_a_network_that_was_not_described(facts):
    facts["model"] = None
    assert make_lesson(facts, None) is None
