"""What the report of a real run tells, held against the artifacts and against the served model."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.evaluator.verdict_file import load_verdict
from components.model_manifest import check_companions, read_manifest
from components.run_report.facts import load_facts

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def facts(reference):
    return load_facts(reference.report_dir / "facts.json")


@pytest.fixture(scope="module")
def model_dir(reference):
    return str(reference.root / "serving_model" / "reference" / str(reference.versions[0]))


def outputs(run):
    return {each["component"]: each["outputs"] for each in run.record["components"]}


def test_first_run_is_told_whole(reference, facts):
    assert facts["problems"] == []
    assert facts["run"]["outcome"] == "pushed"
    assert facts["run"]["verdict"] == reference.last_line
    assert facts["run"]["version"] == str(reference.versions[0])
    assert [each["component"] for each in facts["run"]["components"]] == list(reference.states)
    assert {"data", "schema", "code", "model"} == facts["digests"].keys()
    assert facts["data"]["drift_note"] == "nothing is served yet"
    assert [each["stage"] for each in facts["flow"]] == [
        "ExampleGen", "DataGate", "Transform", "Trainer", "InfraValidator", "Evaluator", "Pusher",
    ]  # fmt: skip
    assert facts["flow"][0]["leaves"] == "1000 x 11"
    assert (facts["flow"][2]["enters"], facts["flow"][3]["leaves"]) == ("678 x 10 raw", "678 x 3 logits")


def test_components_are_told_one_after_the_other(facts):
    ends = 0.0
    for each in facts["run"]["components"]:
        assert each["started_secs"] >= ends - 0.05
        ends = each["started_secs"] + each["seconds"]
    assert ends <= facts["run"]["seconds"] + 0.1


def test_epochs_are_the_trainers(reference, facts):
    assert [each["figures"]["loss"] for each in facts["training"]["epochs"]] == [
        each["loss"] for each in reference.trace
    ]
    assert all(each["observation"] for each in facts["training"]["epochs"])


def test_model_is_told_as_it_was_compiled(facts):
    model = facts["model"]
    assert (model["optimizer"], model["optimizer_settings"]["learning_rate"]) == ("Adam", 0.01)
    assert (model["loss"], model["from_logits"], model["metrics"]) == (
        "SparseCategoricalCrossentropy",
        True,
        ["accuracy"],
    )
    assert [(each["name"], each["parameters"]) for each in model["layers"]] == [
        ("features", 0), ("hidden_0", 10 * 64 + 64), ("logits", 64 * 3 + 3),
    ]  # fmt: skip


def test_evaluation_is_the_evaluators(reference, facts):
    told, verdict = facts["evaluation"], load_verdict(outputs(reference)["Evaluator"]["blessing"])
    confusion = np.array(told["confusion"])
    assert confusion.sum() == verdict.num_rows == told["rows"]
    np.testing.assert_allclose(np.trace(confusion) / confusion.sum(), verdict.metrics["accuracy"], rtol=1e-12)
    assert {each["name"]: each["candidate"] for each in told["metrics"]} == pytest.approx(
        {name: value for name, value in verdict.metrics.items() if name != "example_count"}
    )
    assert sum(each["rows"] for each in told["calibration"]) == verdict.num_rows
    for each, row in zip(told["per_class"], confusion, strict=True):
        assert each["rows"] == row.sum()
        low, high = each["recall_interval"]
        assert low < each["recall"] < high


def test_model_card_lies_beside_the_pushed_model(facts, model_dir):
    check_companions(model_dir, read_manifest(model_dir))
    card = Path(model_dir, "MODEL_CARD.md").read_text()
    assert "Proposes what a sluice gate should do" in card
    for digest in facts["digests"].values():
        assert digest in card
    accuracy = next(each for each in facts["evaluation"]["metrics"] if each["name"] == "accuracy")
    low, high = accuracy["interval"]
    assert f"| accuracy | {accuracy['candidate']:.4g} | {low:.3f} to {high:.3f} |" in card


def test_followed_row_is_answered_alike_by_the_serving_signature(facts, model_dir):
    row, model = facts["row"], tf.saved_model.load(model_dir)
    label = row["raw"][-1]
    assert label["name"] == "gate_action"
    answer = model.signatures["serving_features"](
        **{each["name"]: tf.constant([[float(each["text"])]]) for each in row["raw"][:-1]}
    )
    np.testing.assert_allclose(answer["logits"].numpy()[0], row["logits"], atol=1e-6)
    np.testing.assert_allclose(answer["probabilities"].numpy()[0], row["probabilities"], atol=1e-6)
    assert answer["predicted_class"].numpy()[0, 0].decode() == row["predicted"]
    assert row["label"] == row["classes"][int(label["text"])]


def test_layers_of_the_followed_row_are_what_the_exported_weights_give(facts, model_dir):
    row = facts["row"]
    model = tf.saved_model.load(model_dir)
    variables = model.signatures["layer_outputs"].variables
    weights = {variable.name.removesuffix(":0"): variable.numpy() for variable in variables}
    layers = {each["name"]: np.array(each["numbers"]) for each in row["layers"]}
    ranges = {each["name"]: (each["minimum"], each["maximum"]) for each in facts["data"]["features"]}
    scaled = []
    for each in row["raw"][:-1]:
        low, high = ranges[each["name"]]
        scaled.append((float(each["text"]) - low) / (high - low))
    np.testing.assert_allclose(list(row["transformed_numbers"].values()), scaled, atol=1e-6)
    np.testing.assert_allclose(layers["features"], scaled, atol=1e-6)
    hidden = np.maximum(0, layers["features"] @ weights["hidden_0/kernel"] + weights["hidden_0/bias"])
    np.testing.assert_allclose(layers["hidden_0"], hidden, atol=1e-5)
    logits = hidden @ weights["logits/kernel"] + weights["logits/bias"]
    np.testing.assert_allclose(layers["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(row["logits"], layers["logits"], atol=1e-6)
    powers = np.exp(logits - logits.max())
    np.testing.assert_allclose(row["probabilities"], powers / powers.sum(), atol=1e-6)


def test_damaged_facts_in_the_cache_are_collected_again(sluice):
    before = sluice()
    file = Path(outputs(before)["RunReport"]["report"], "facts.json")
    text = file.read_text()
    file.write_text("{")
    again = sluice()
    file.write_text(text)
    assert outputs(again)["RunReport"] == outputs(before)["RunReport"]
    assert again.facts["problems"] == []
    assert again.facts["row"] == before.facts["row"]
