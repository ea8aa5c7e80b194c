"""Says in TFMA's words what is measured and which bounds hold. Runs at compile time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import EXAMPLE_COUNT
from schema import FeatureRoles, transformed_name

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


def make_eval_config(roles: FeatureRoles, thresholds: Sequence[Threshold]) -> config_pb2.EvalConfig:
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
        config_pb2.MetricConfig(
            class_name=class_name,
            config=json.dumps({"name": name}),
            threshold=bounds.get(name),
        )
        for name, class_name in METRIC_CLASSES.items()
    ]
    metrics.append(config_pb2.MetricConfig(class_name="ExampleCount", config=json.dumps({"name": EXAMPLE_COUNT})))
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="serving_default",
                preprocessing_function_names=["transform_features"],
                label_key=transformed_name(roles.label),
                prediction_key="probabilities",
            )
        ],
        slicing_specs=[config_pb2.SlicingSpec()],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


def _value_threshold(threshold: Threshold) -> config_pb2.MetricThreshold:
    bounds = {
        "lower_bound": threshold.lower_bound,
        "upper_bound": threshold.upper_bound,
    }
    return config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(
            **{name: {"value": bound} for name, bound in bounds.items() if bound is not None}
        )
    )
