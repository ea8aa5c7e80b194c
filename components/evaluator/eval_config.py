"""Says in TFMA's words what is measured. Runs at compile time."""

import json

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import EXAMPLE_COUNT
from schema import FeatureRoles, transformed_name

METRIC_CLASSES = {  # the name in a config: the class of Keras or TFMA
    "accuracy": "SparseCategoricalAccuracy",
    "loss": "SparseCategoricalCrossentropy",
}


def make_eval_config(roles: FeatureRoles) -> config_pb2.EvalConfig:
    """Makes the config of an evaluation of `serving_default`'s probabilities: every known metric, and no bound yet."""
    metrics = [
        config_pb2.MetricConfig(class_name=class_name, config=json.dumps({"name": name}))
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
