"""Rules, their words and their judgement, without TFMA's pipeline."""

import json
import math

import numpy as np
import pytest

from components.baseline import Baseline
from components.evaluator.component import create_evaluator
from components.evaluator.eval_config import bucketed_slices, make_eval_config, set_bounds
from components.evaluator.executor import bounded_rules
from components.evaluator.judge import judge
from components.evaluator.measurement import Measurement
from components.evaluator.rules import Rule, Score, Slice, parse_key
from components.evaluator.verdict import BROKEN, HELD, NOT_JUDGED, Judgement, Verdict, parse_verdict, verdict_text
from schema import FeatureRoles

ROLES = FeatureRoles(numeric=("x",), label="y", class_names=("a", "b"))
ACCURACY, LOSS = Score("accuracy"), Score("loss")
AGE = Slice("age", buckets=(20.0, 50.5))
SEASON = Slice("season")
NOTHING = Baseline(reason="nothing is served yet")


def test_eval_config_measures_accuracy_and_loss_of_the_served_signature_whatever_the_rules():
    config = make_eval_config(ROLES, [])
    (model,) = config.model_specs
    assert (model.signature_name, model.label_key) == ("serving_default", "y_xf")
    names = [json.loads(metric.config)["name"] for spec in config.metrics_specs for metric in spec.metrics]
    assert names == ["accuracy", "loss", "calibration_bins", "confusion_matrix", "example_count"]


def test_only_given_bounds_reach_the_eval_config_each_in_its_slice():
    rules = [Rule(LOSS, "upper_bound", 0.5), Rule(LOSS, "absolute_change", 0.1), Rule(LOSS, "upper_bound", 0.7, AGE)]
    config = make_eval_config(ROLES, rules)
    set_bounds(config, rules)
    metrics = {json.loads(metric.config)["name"]: metric for metric in config.metrics_specs[0].metrics}
    whole, bucket = metrics["loss"].per_slice_thresholds
    assert whole.threshold.value_threshold.upper_bound.value == 0.5
    assert not whole.threshold.value_threshold.HasField("lower_bound")
    assert whole.threshold.change_threshold.absolute.value == 0.1
    assert not whole.slicing_specs[0].feature_keys
    assert bucket.threshold.value_threshold.upper_bound.value == 0.7
    assert bucketed_slices(config) == [AGE]
    assert not metrics["accuracy"].per_slice_thresholds


def test_rules_that_tfma_has_no_words_for_stay_out_of_its_config():
    rules = [
        Rule(LOSS, "upper_bound", 0.5, SEASON, min_rows=30),
        Rule(LOSS, "upper_bound", 0.5, Slice("season", ("1",))),
    ]
    rules.append(Rule(Score("auc", average="weighted"), "lower_bound", 0.5))
    config = make_eval_config(ROLES, rules)
    set_bounds(config, rules)
    metrics = [metric for spec in config.metrics_specs for metric in spec.metrics]
    (only,) = (metric for metric in metrics if metric.per_slice_thresholds)
    assert only.class_name == "ExampleCount"
    assert only.per_slice_thresholds[0].threshold.value_threshold.lower_bound.value == 1


def test_evaluation_without_rule_is_refused():
    with pytest.raises(ValueError, match="No threshold: nothing could earn a push"):
        create_evaluator(None, None, baseline_model=None, roles=ROLES, rules=[], bounds={})


def test_bound_of_a_run_that_is_no_number_is_refused():
    rule = {"score": {"metric": "loss"}, "bound": "upper_bound", "value": None,
            "slice": {"feature": "", "values": [], "buckets": []}}  # fmt: skip
    assert bounded_rules([rule], {"loss_upper_bound": 1})[0].value == 1.0
    with pytest.raises(ValueError, match="loss_upper_bound must be a number"):
        bounded_rules([rule], {"loss_upper_bound": math.nan})


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (Rule(ACCURACY, "lower_bound", 0), "accuracy_lower_bound"),
        (Rule(Score("recall", "not spam"), "lower_bound", 0), "recall_not_spam_lower_bound"),
        (Rule(Score("f1", average="macro"), "relative_change", 0), "f1_macro_relative_change"),
        (Rule(LOSS, "upper_bound", 0, Slice("season", ("1", "2"))), "loss_season_1_2_upper_bound"),
        (Rule(Score("recall", "été"), "lower_bound", 0), "recall_t_lower_bound_8a03ff89"),
    ],
)
def test_every_rule_has_a_parameter_name(rule, name):
    assert rule.name == name


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        (19.9, "< 20"),
        (20, "20 to 50.5"),
        (50.49, "20 to 50.5"),
        (50.5, ">= 50.5"),
        (math.inf, ">= 50.5"),
        (math.nan, ""),
    ],
)
def test_every_value_falls_into_one_bucket(value, bucket):
    assert AGE.bucket(value) == bucket


def test_buckets_of_near_edges_have_names_of_their_own():
    where = Slice("id", buckets=(12345671.5, 12345672.5))
    assert [where.bucket(value) for value in (0, 12345672, 12345673)] == [
        "< 12345671.5", "12345671.5 to 12345672.5", ">= 12345672.5",
    ]  # fmt: skip


@pytest.mark.parametrize("where", [AGE, Slice("a in buckets", buckets=(0.1, 1e-9 + 2))])
def test_slice_key_tells_its_buckets(where):
    assert parse_key(where.key) == where


@pytest.mark.parametrize("key", ["age", "age in buckets of wood"])
def test_other_features_are_no_buckets(key):
    assert parse_key(key) is None


def judgement(rule, state=HELD, **values):
    return Judgement(rule, state, **{"num_rows": 331, **values})


@pytest.mark.parametrize(
    ("judged", "text"),
    [
        (judgement(Rule(ACCURACY, "lower_bound", 0.9), value=0.9538), "accuracy 0.954 >= 0.900"),
        (judgement(Rule(ACCURACY, "lower_bound", 0.85), BROKEN, value=0.812), "accuracy 0.812 < 0.850"),
        (judgement(Rule(LOSS, "upper_bound", 0.35), BROKEN, value=0.4), "loss 0.400 > 0.350"),
        (judgement(Rule(ACCURACY, "lower_bound", 0.95), BROKEN, value=0.94996), "accuracy 0.94996 < 0.95000"),
        (judgement(Rule(ACCURACY, "lower_bound", 0.95), value=0.95), "accuracy 0.950 >= 0.950"),
        (judgement(Rule(ACCURACY, "lower_bound", 0.9999), BROKEN, value=0.87), "accuracy 0.8700 < 0.9999"),
        (judgement(Rule(LOSS, "upper_bound", 1 / 3), value=0.3), "loss 0.300000 <= 0.333333"),
        (judgement(Rule(LOSS, "upper_bound", 0.35), BROKEN), "loss cannot be measured"),
        (judgement(Rule(ACCURACY, "lower_bound", 0.9, confidence=0.95), value=0.954, interval=(0.925, 0.972)),
         "accuracy 0.954 (95%: 0.925 to 0.972) >= 0.900"),
        (judgement(Rule(ACCURACY, "lower_bound", 0.94, confidence=0.999), BROKEN, value=0.954, interval=(0.925, 0.972)),
         "accuracy 0.954 (99.9%: 0.925 to 0.972) is not surely >= 0.940"),
        (judgement(Rule(Score("recall", "flush"), "lower_bound", 0.8), BROKEN, value=0.712),
         "recall of flush 0.712 < 0.800"),
        (judgement(Rule(Score("f1", average="macro"), "lower_bound", 0.8), value=0.9), "macro f1 0.900 >= 0.800"),
        (judgement(Rule(ACCURACY, "lower_bound", 0.8, AGE), BROKEN, value=0.7, where=">= 50.5", num_rows=41),
         "accuracy where age >= 50.5 (41 rows) 0.700 < 0.800"),
        (judgement(Rule(ACCURACY, "lower_bound", 0.8, SEASON), NOT_JUDGED, value=1.0, where="3", num_rows=1,
                   reason="fewer than 30 rows"),
         "accuracy where season is 3 (1 row) is not judged: fewer than 30 rows"),
        (judgement(Rule(ACCURACY, "absolute_change", -0.005), BROKEN, value=0.94, baseline=0.95),
         "accuracy 0.940 against the baseline's 0.950: change -0.010 < -0.005"),
        (judgement(Rule(LOSS, "relative_change", 0.1), value=0.21, baseline=0.2),
         "loss 0.210 against the baseline's 0.200: change +5.0% <= +10.0%"),
        (judgement(Rule(LOSS,
         "absolute_change", 0.0, confidence=0.9), BROKEN, value=0.19, baseline=0.2, interval=(-0.03, 0.01)),
         "loss 0.190 against the baseline's 0.200: change -0.010 (90%: -0.030 to +0.010) is not surely <= +0.000"),
        (judgement(Rule(LOSS, "relative_change", 0.1), BROKEN, value=0.21, baseline=0.0),
         "loss 0.210 has no relative change from 0"),
        (judgement(Rule(LOSS, "absolute_change", 0.1), NOT_JUDGED, value=0.2, reason="nothing is served yet"),
         "the change of loss is not judged: nothing is served yet"),
    ],
)  # fmt: skip
def test_judgement_says_value_and_bound_apart(judged, text):
    assert str(judged) == text


def verdict(*judgements, blessed, **values):
    return Verdict(blessed, judgements, num_rows=331, metrics={}, baseline=NOTHING, **values)


def test_verdict_of_a_refused_model_names_what_failed():
    held = judgement(Rule(ACCURACY, "lower_bound", 0.9), value=0.95)
    broken = judgement(Rule(LOSS, "upper_bound", 0.35), BROKEN, value=0.5)
    assert str(verdict(held, broken, blessed=False)) == "loss 0.500 > 0.350 on 331 eval rows"


def test_verdict_of_a_blessed_model_names_every_rule_and_counts_slices():
    held = (
        judgement(Rule(ACCURACY, "lower_bound", 0.9), value=0.95),
        judgement(Rule(LOSS, "upper_bound", 0.35), value=0.3),
    )
    text = "accuracy 0.950 >= 0.900, loss 0.300 <= 0.350 on 331 eval rows"
    assert str(verdict(*held, blessed=True)) == text
    slices = [
        judgement(Rule(ACCURACY, "lower_bound", 0.9, SEASON), value=0.95, where=str(season)) for season in range(3)
    ]
    assert str(verdict(*held, *slices, blessed=True)) == f"{text}; all 3 slices held"


def test_long_verdict_is_shortened():
    broken = [
        judgement(Rule(ACCURACY, "lower_bound", 0.9, SEASON), BROKEN, value=0.5, where=str(n), num_rows=9)
        for n in range(9)
    ]
    assert str(verdict(*broken, blessed=False)).endswith("season is 3 (9 rows) 0.500 < 0.900; and 5 more")


def test_refusal_by_tfma_alone_is_said():
    held = judgement(Rule(ACCURACY, "lower_bound", 0.9), value=0.95)
    assert str(verdict(held, blessed=False)).startswith("TFMA refuses what the rules do not, on 331 eval rows")


def test_notes_say_what_was_not_judged():
    change = judgement(Rule(LOSS, "absolute_change", 0.1), NOT_JUDGED, value=0.2, reason="nothing is served yet")
    small = judgement(
        Rule(LOSS, "upper_bound", 1, AGE), NOT_JUDGED, num_rows=2, where="< 20", reason="fewer than 30 rows"
    )
    assert verdict(change, small, blessed=True).notes == [
        "no baseline: nothing is served yet; 1 change is not judged",
        "loss where age < 20 (2 rows) is not judged: fewer than 30 rows",
    ]


def test_verdict_survives_its_file():
    judged = judgement(
        Rule(ACCURACY, "lower_bound", 0.9, AGE, 30, 0.95), BROKEN, value=0.9, interval=(0.8, 0.95), where="< 20"
    )
    original = Verdict(False, (judged,), 331, {"accuracy": 0.9, "loss": math.nan}, Baseline(7, "abc"))
    text = verdict_text(original)
    read = parse_verdict(text)
    assert (read.judgements, read.baseline, str(read)) == (original.judgements, original.baseline, str(original))
    assert math.isnan(read.metrics["loss"])
    assert json.loads(text)["judgements"][0]["sentence"] == str(judged)


CANDIDATE = Measurement(
    {"accuracy": 0.9, "loss": 0.3, "example_count": 100},
    {("season", "1"): {"accuracy": 0.8, "loss": 0.4, "example_count": 40},
     ("season", "10"): {"accuracy": 0.2, "example_count": 5}},
)  # fmt: skip
BASELINE = Measurement({"accuracy": 0.88, "loss": 0.0}, {("season", "1"): {"accuracy": 0.9}})


def judged(rule, *, baseline=BASELINE, candidate=CANDIDATE, interval=None):
    return judge(
        [rule], candidate, baseline, no_baseline="nothing is served yet", interval_of=lambda rule, where: interval
    )


@pytest.mark.parametrize(
    ("rule", "states"),
    [
        (Rule(ACCURACY, "lower_bound", 0.9), [HELD]),
        (Rule(ACCURACY, "lower_bound", np.nextafter(0.9, 1)), [BROKEN]),
        (Rule(ACCURACY, "upper_bound", 0.9), [HELD]),
        (Rule(ACCURACY, "absolute_change", 0.01), [HELD]),
        (Rule(ACCURACY, "absolute_change", 0.03), [BROKEN]),
        (Rule(ACCURACY, "relative_change", 0.02), [HELD]),
        (Rule(ACCURACY, "relative_change", 0.03), [BROKEN]),
        (Rule(LOSS, "absolute_change", 0.3), [HELD]),
        (Rule(LOSS, "relative_change", 99.0), [BROKEN]),  # from 0
        (Rule(ACCURACY, "lower_bound", 0.7, SEASON), [HELD, BROKEN]),
        (Rule(ACCURACY, "lower_bound", 0.7, SEASON, min_rows=6), [HELD, NOT_JUDGED]),
        (Rule(ACCURACY, "lower_bound", 0.7, Slice("season", ("1",))), [HELD]),
        (Rule(ACCURACY, "lower_bound", 0.7, Slice("season", ("4",))), [NOT_JUDGED]),
        (Rule(ACCURACY, "absolute_change", -0.05, SEASON, min_rows=6), [BROKEN, NOT_JUDGED]),
        (Rule(Score("f1", average="macro"), "lower_bound", 0.0), [BROKEN]),  # not measured
    ],
)
def test_rule_is_judged_where_it_applies(rule, states):
    assert [each.state for each in judged(rule)] == states


def test_change_without_a_baseline_is_not_judged():
    (each,) = judged(Rule(ACCURACY, "absolute_change", 0.0), baseline=None)
    assert (each.state, each.reason) == (NOT_JUDGED, "nothing is served yet")


@pytest.mark.parametrize(("interval", "state"), [((0.86, 0.95), HELD), ((0.84, 0.95), BROKEN), (None, BROKEN)])
def test_whole_interval_must_hold_the_bound(interval, state):
    (each,) = judged(Rule(ACCURACY, "lower_bound", 0.85, confidence=0.95), interval=interval)
    assert each.state == state


def test_nan_never_passes():
    candidate = Measurement({"accuracy": math.nan, "loss": math.nan, "example_count": 10}, {})
    for rule in (Rule(ACCURACY, "lower_bound", 0.0), Rule(LOSS, "upper_bound", 9.0)):
        (each,) = judged(rule, candidate=candidate)
        assert (each.state, str(each)) == (BROKEN, f"{rule.score} cannot be measured")
