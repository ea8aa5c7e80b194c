import json

import pytest

from components.evaluator.component import create_evaluator
from components.evaluator.eval_config import METRIC_CLASSES, make_eval_config
from components.evaluator.executor import set_bounds
from components.evaluator.verdict import Rule, Verdict
from schema import FeatureRoles

ROLES = FeatureRoles(numeric=("x",), label="y", class_names=("a", "b"))


def test_eval_config_measures_every_metric_of_the_served_signature():
    config = make_eval_config(ROLES)
    (model,) = config.model_specs
    assert (model.signature_name, model.label_key) == ("serving_default", "y_xf")
    names = [json.loads(metric.config)["name"] for metric in config.metrics_specs[0].metrics]
    assert names == [*METRIC_CLASSES, "example_count"]


def test_only_given_bounds_reach_the_eval_config():
    config = make_eval_config(ROLES)
    set_bounds(config, {"loss_upper_bound": 0.5, "accuracy_lower_bound": None})
    metrics = {json.loads(metric.config)["name"]: metric for metric in config.metrics_specs[0].metrics}
    bounds = metrics["loss"].threshold.value_threshold
    assert bounds.upper_bound.value == 0.5
    assert not bounds.HasField("lower_bound")
    assert not metrics["accuracy"].HasField("threshold")


def test_evaluation_without_threshold_is_refused():
    with pytest.raises(ValueError, match="No threshold: nothing could earn a push"):
        create_evaluator(None, None, roles=ROLES, bounds={})


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule("accuracy", 0.9538, ">=", 0.9), "accuracy 0.954 >= 0.900"),
        (Rule("accuracy", 0.812, ">=", 0.85), "accuracy 0.812 < 0.850"),
        (Rule("loss", 0.4, "<=", 0.35), "loss 0.400 > 0.350"),
        (Rule("accuracy", 0.94996, ">=", 0.95), "accuracy 0.94996 < 0.95000"),
        (Rule("accuracy", 0.95, ">=", 0.95), "accuracy 0.950 >= 0.950"),
        (Rule("loss", float("nan"), "<=", 0.35), "loss nan > 0.350"),
    ],
)
def test_rule_says_value_and_bound_apart(rule, text):
    assert str(rule) == text


def test_nan_never_passes():
    assert not Rule("accuracy", float("nan"), ">=", 0.0).passed
    assert not Rule("loss", float("nan"), "<=", 9.0).passed


def test_verdict_of_a_refused_model_names_what_failed():
    rules = (Rule("accuracy", 0.95, ">=", 0.9), Rule("loss", 0.5, "<=", 0.35))
    assert str(Verdict(blessed=False, rules=rules, num_rows=331)) == "loss 0.500 > 0.350 on 331 eval rows"


def test_verdict_of_a_blessed_model_names_every_rule():
    rules = (Rule("accuracy", 0.95, ">=", 0.9), Rule("loss", 0.3, "<=", 0.35))
    text = "accuracy 0.950 >= 0.900, loss 0.300 <= 0.350 on 331 eval rows"
    assert str(Verdict(blessed=True, rules=rules, num_rows=331)) == text
