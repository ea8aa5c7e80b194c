"""What the report says of epochs and stages: each clause under its condition, with the numbers of the run."""

import math

import pytest

from components.run_report.observations import flow_of, observe_training


def training_of(*epochs, published=(), kept=None, steps=43):
    figures = ("loss", "accuracy", "val_loss", "val_accuracy")
    return {
        "epochs": [
            {
                "epoch": index + 1,
                "seconds": 0.1,
                "figures": {name: value for name, value in zip(figures, epoch, strict=False) if value is not None},
                "kept": None if kept is None else index + 1 == kept,
                "published": dict(zip(("loss", "accuracy"), published[index], strict=True))
                if index < len(published)
                else {},
                "observation": "",
            }
            for index, epoch in enumerate(epochs)
        ],
        "summary": "",
        "rows": 678,
        "steps_per_epoch": steps,
    }


def observed(training, num_classes=3):
    observe_training(training, num_classes)
    return [epoch["observation"] for epoch in training["epochs"]]


@pytest.mark.parametrize(("loss", "words"), [(0.5, "below"), (2.0, "above")])
@pytest.mark.parametrize("num_classes", [2, 3, 50])
def test_first_epoch_is_held_against_guessing(loss, words, num_classes):
    (first,) = observed(training_of((loss, 0.6)), num_classes)
    chance = math.log(num_classes)
    if (loss < chance) == (words == "below"):
        assert f"{abs(1 - loss / chance):.0%} {words} guessing (ln {num_classes} = {chance:.3f})" in first
    assert f"accuracy 0.600 where guessing has {1 / num_classes:.3f}" in first


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (0.8, 0.4, "Loss falls by 50% to 0.400"),
        (0.4, 0.5, "Loss rises by 25% to 0.500"),
        (0.4, 0.398, "Loss stands still at 0.398 (-0.5%)"),
        (0.4, 0.4, "Loss stands still at 0.400 (+0.0%)"),
        (0.0, 0.0, "Loss stands still at 0.000 (+0.0%)"),
    ],
)
def test_change_of_the_loss_is_told(before, now, words):
    assert observed(training_of((before, 0.5), (now, 0.5)))[1].startswith(words)


def test_largest_gain_in_accuracy_is_told_once():
    told = observed(training_of((0.9, 0.5), (0.6, 0.7), (0.5, 0.72), (0.4, 0.92)))
    assert ["largest gain" in each for each in told] == [False, False, False, True]
    assert "the largest gain in accuracy of all epochs, +0.200 to 0.920" in told[3]


def test_validation_that_gets_worse_while_training_gets_better_is_told_at_its_first_epoch():
    told = observed(training_of((0.9, 0.5, 0.8), (0.6, 0.7, 0.5), (0.5, 0.8, 0.6), (0.4, 0.9, 0.7)))
    assert ["overfitting" in each for each in told] == [False, False, True, False]
    assert told[2].startswith("Validation loss rises, 0.500 to 0.600, while training loss falls")
    assert "validation loss follows, 0.800 to 0.500" in told[1]


def test_training_that_got_worse_is_no_overfitting():
    told = observed(training_of((0.5, 0.5, 0.5), (0.6, 0.5, 0.6)))
    assert "overfitting" not in told[1]


def test_epoch_that_is_past_the_published_end_is_told_once():
    published = [(1.2, 0.55), (0.35, 0.9)]
    told = observed(training_of((0.9, 0.8), (0.3, 0.95), (0.2, 0.96), published=published))
    assert ["past the published trace's end (0.35, 0.90)" in each for each in told] == [False, True, False]


def test_epoch_whose_weights_are_kept_is_told():
    told = observed(training_of((0.9, 0.5), (0.6, 0.7), (0.7, 0.6), kept=2))
    assert ["weights are kept" in each for each in told] == [False, True, False]


@pytest.mark.parametrize("epoch", [(0.5,), (None, 0.5), (None, None, 0.4), ()])
def test_missing_figures_are_passed_over(epoch):
    for each in observed(training_of(epoch, epoch)):
        assert not each or each.endswith(".")


def test_summary_has_first_last_lowest_and_published_figures():
    training = training_of(
        (0.9, 0.5, 0.8), (0.6, 0.7, 0.5), (0.5, 0.8, 0.6), published=[(1.2, 0.5), (0.9, 0.6), (0.7, 0.75)]
    )
    observe_training(training, 3)
    assert training["summary"] == (
        "In 3 epochs of 43 steps the loss went from 0.900 to 0.500 and the accuracy from 0.500 to 0.800. Validation "
        "loss was lowest in epoch 2, 0.500; it ended at 0.600. The published trace ends at loss 0.70 and accuracy "
        "0.75; this one at 0.50 and 0.80."
    )


def test_one_epoch_and_many_are_told():
    one, many = training_of((0.5, 0.6), steps=None), training_of(*[(1 / n, 1 - 1 / n) for n in range(1, 301)])
    observe_training(one, 2)
    assert one["summary"] == "One epoch: loss 0.500."
    assert all(each and len(each) < 300 for each in observed(many))


def test_flow_follows_the_rows_from_the_files_to_the_version(report_facts):
    facts = report_facts.make_facts()
    stages = {each["stage"]: each for each in flow_of(facts)}
    assert list(stages) == ["ExampleGen", "DataGate", "Transform", "Trainer", "InfraValidator", "Evaluator", "Pusher"]
    total = sum(split["rows"] for split in facts["data"]["splits"])
    train = facts["data"]["splits"][0]["rows"]
    assert stages["ExampleGen"]["leaves"] == f"{total} x {len(facts['data']['features'])}"
    assert stages["Transform"]["enters"].startswith(f"{train} x ")
    assert str(facts["model"]["parameters"]) in stages["Trainer"]["observation"]
    assert facts["evaluation"]["sentence"][1:] in stages["Evaluator"]["observation"]
    assert stages["Pusher"]["leaves"] == f"version {facts['run']['version']}"


@pytest.mark.parametrize("part", ["run", "data", "model", "training", "evaluation", "infra", "row"])
def test_stage_without_facts_is_left_out(report_facts, part):
    facts = report_facts.make_facts()
    facts[part] = None
    stages = [each["stage"] for each in flow_of(facts)]
    of_part = {"run": {"Pusher"}, "data": {"ExampleGen", "DataGate", "Transform"}, "model": {"Trainer"},
               "evaluation": {"Evaluator"}, "infra": {"InfraValidator"}}.get(part, set())  # fmt: skip
    assert not of_part & set(stages)
    assert len(stages) == 7 - len(of_part)


def test_flow_of_refused_data_ends_at_the_gate(report_facts):
    facts = report_facts.refused_by_data()
    last = flow_of(facts)[-1]
    assert (last["stage"], last["leaves"]) == ("DataGate", "nothing")
    assert "finding" in last["observation"]
