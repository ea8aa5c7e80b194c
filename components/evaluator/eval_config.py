"""Says in TFMA's words what is measured and which bounds hold. Runs at compile time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow_model_analysis as tfma

from schema import FeatureRoles, transformed_name

EXAMPLE_COUNT = "example_count"
METRIC_CLASSES = {  # the name in a config: the class of Keras or TFMA
    "accuracy": "SparseCategoricalAccuracy",
    "loss": "SparseCategoricalCrossentropy",
}


@dataclass(frozen=True)
class Threshold:
    """Bounds that the value of a metric over the whole eval split must hold.

    Attributes:
        metric: A key of `METRIC_CLASSES`.
        lower_bound: The lowest value that passes, if any.
        upper_bound: The highest value that passes, if any.
    """

    metric: str
    lower_bound: float | None = None
    upper_bound: float | None = None


def make_eval_config(roles: FeatureRoles, thresholds: Sequence[Threshold]) -> tfma.EvalConfig:
    """Makes the config of an evaluation of `serving_default`'s probabilities.

    Args:
        roles: Names the label.
        thresholds: At most one per metric. Every known metric is measured, bounded or not.

    Raises:
        ValueError: If there is no threshold.
    """
    if not thresholds:
        raise ValueError("No threshold: nothing could earn a push. Set evaluator.thresholds.")
    bounds = {threshold.metric: _value_threshold(threshold) for threshold in thresholds}
    metrics = [
        tfma.MetricConfig(
            class_name=class_name,
            config=json.dumps({"name": name}),
            threshold=bounds.get(name),
        )
        for name, class_name in METRIC_CLASSES.items()
    ]
    metrics.append(tfma.MetricConfig(class_name="ExampleCount", config=json.dumps({"name": EXAMPLE_COUNT})))
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default",
                preprocessing_function_names=["transform_features"],
                label_key=transformed_name(roles.label),
                prediction_key="probabilities",
            )
        ],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
    )


def _value_threshold(threshold: Threshold) -> tfma.MetricThreshold:
    bounds = {
        "lower_bound": threshold.lower_bound,
        "upper_bound": threshold.upper_bound,
    }
    return tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(
            **{name: {"value": bound} for name, bound in bounds.items() if bound is not None}
        )
    )
