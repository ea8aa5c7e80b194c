"""Says in TFMA's words what is measured and what must hold. Runs at compile time and in the Evaluator's process."""

import json
from collections.abc import Iterable, Iterator, Sequence

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import CALIBRATION_BINS, CONFUSION_MATRIX, EXAMPLE_COUNT
from components.evaluator.rules import METRICS, Rule, Score, Slice, parse_key
from schema import FeatureRoles, transformed_name

_ALWAYS = (Score("accuracy"), Score("loss"))
_MOST_CLASSES = 50  # of a confusion matrix, of which there is one per slice
_METRICS_MODULE = "components.evaluator.metrics"


def make_eval_config(roles: FeatureRoles, rules: Sequence[Rule]) -> config_pb2.EvalConfig:
    """Makes the config of an evaluation of `serving_default`'s probabilities, with no bound yet.

    Args:
        roles: Names the label, its classes and the weight.
        rules: Whose scores are measured, on the whole split and in the rules' slices; accuracy, loss, calibration and,
            up to 50 classes, the confusion matrix always are.
    """
    found = measured_scores(rules)
    metrics = [_metric(score, roles) for score in found if score.metric != "auc"] + list(
        _arrays(len(roles.class_names))
    )
    count = config_pb2.MetricConfig(class_name="ExampleCount", config=json.dumps({"name": EXAMPLE_COUNT}))
    slices = dict.fromkeys(rule.slice.key for rule in rules if rule.slice.feature)
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="serving_default",
                preprocessing_function_names=["transform_features"],
                label_key=transformed_name(roles.label),
                example_weight_key=transformed_name(roles.weight) if roles.weight else "",
                prediction_key="probabilities",
            )
        ],
        slicing_specs=list(map(_slicing_spec, ["", *slices])),
        metrics_specs=[
            config_pb2.MetricsSpec(metrics=metrics),
            # Rows are counted as rows, whatever their weight.
            config_pb2.MetricsSpec(metrics=[count], example_weights=config_pb2.ExampleWeightOptions(unweighted=True)),
            *(_auc(score, roles) for score in found if score.metric == "auc"),
        ],
    )


def measured_scores(rules: Iterable[Rule]) -> list[Score]:
    """Returns every score that is measured for rules."""
    return list(dict.fromkeys([*_ALWAYS, *(rule.score for rule in rules)]))


def set_bounds(eval_config: config_pb2.EvalConfig, rules: Iterable[Rule]) -> None:
    """Sets every bound that TFMA has a word for, and that there are rows: without any it would not decide."""
    metrics = {
        json.loads(metric.config)["name"]: metric for spec in eval_config.metrics_specs for metric in spec.metrics
    }
    _threshold(metrics[EXAMPLE_COUNT], Slice()).value_threshold.lower_bound.value = 1
    for rule in rules:
        if rule.is_stock:
            _set_bound(_threshold(metrics[rule.score.name], rule.slice), rule)


def bucketed_slices(eval_config: config_pb2.EvalConfig) -> list[Slice]:
    """Returns the slices of an eval config that are buckets of a feature's values."""
    parsed = (parse_key(key) for spec in eval_config.slicing_specs for key in spec.feature_keys)
    return [each for each in parsed if each]


def _metric(score: Score, roles: FeatureRoles) -> config_pb2.MetricConfig:
    config: dict[str, object] = {"name": score.name}
    if score.metric == "loss":
        return config_pb2.MetricConfig(class_name="SparseCategoricalCrossentropy", config=json.dumps(config))
    if score.metric == "auc":
        return config_pb2.MetricConfig(class_name="AUC", config=json.dumps(config))
    class_name = "CalibrationError" if score.metric == "calibration_error" else "ConfusionMatrixScore"
    if class_name == "ConfusionMatrixScore":
        config |= {"metric": score.metric, "class_names": roles.class_names}
        config |= {"class_name": score.class_name, "average": score.average}
    return config_pb2.MetricConfig(class_name=class_name, module=_METRICS_MODULE, config=json.dumps(config))


def _arrays(num_classes: int) -> Iterator[config_pb2.MetricConfig]:
    """Yields what no rule asks for, but the report shows."""
    config: dict[str, object] = {"name": CALIBRATION_BINS}
    yield config_pb2.MetricConfig(class_name="CalibrationBins", module=_METRICS_MODULE, config=json.dumps(config))
    if num_classes <= _MOST_CLASSES:
        config = {"name": CONFUSION_MATRIX, "num_classes": num_classes}
        yield config_pb2.MetricConfig(class_name="ConfusionMatrix", module=_METRICS_MODULE, config=json.dumps(config))


def _auc(score: Score, roles: FeatureRoles) -> config_pb2.MetricsSpec:
    """Returns the area under the curve of a class against all others, or of each and their average."""
    spec = config_pb2.MetricsSpec(metrics=[_metric(score, roles)])
    if score.class_name:
        spec.binarize.class_ids.values.append(roles.class_names.index(score.class_name))
        return spec
    class_ids = range(len(roles.class_names))
    spec.binarize.class_ids.values.extend(class_ids)
    spec.aggregate.class_weights.update(dict.fromkeys(class_ids, 1.0))
    if score.average == "weighted":
        spec.aggregate.weighted_macro_average = True
    else:
        spec.aggregate.macro_average = True
    return spec


def _slicing_spec(key: str) -> config_pb2.SlicingSpec:
    return config_pb2.SlicingSpec(feature_keys=[key] if key else [])


def _threshold(metric: config_pb2.MetricConfig, where: Slice) -> config_pb2.MetricThreshold:
    """Returns the threshold of a slice; what stands in `metric.threshold` would have to hold in every slice."""
    spec = _slicing_spec(where.key)
    for known in metric.per_slice_thresholds:
        if known.slicing_specs[0] == spec:
            return known.threshold
    return metric.per_slice_thresholds.add(slicing_specs=[spec]).threshold


def _set_bound(threshold: config_pb2.MetricThreshold, rule: Rule) -> None:
    if not rule.is_change:
        getattr(threshold.value_threshold, rule.bound).value = rule.value
        return
    higher_is_better = METRICS[rule.score.metric].higher_is_better
    direction = "HIGHER_IS_BETTER" if higher_is_better else "LOWER_IS_BETTER"
    threshold.change_threshold.direction = config_pb2.MetricDirection.Value(direction)
    getattr(threshold.change_threshold, rule.bound.removesuffix("_change")).value = rule.value
