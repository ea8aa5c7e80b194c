"""The Evaluator's executor: TFX's own, with bounds that may change from run to run. Runs in the Evaluator's process."""

import json
from collections.abc import Mapping
from typing import Any

from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import executor as stock
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

from components.evaluator import bound_name


class Executor(stock.Executor):
    """Puts the bounds of the execution properties into the eval config, then evaluates and decides as TFX does."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates; the outputs `evaluation` and `blessing` are the stock Evaluator's."""
        eval_config = config_pb2.EvalConfig()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.EVAL_CONFIG_KEY], eval_config)
        set_bounds(eval_config, exec_properties)
        properties = {standard_component_specs.EVAL_CONFIG_KEY: proto_utils.proto_to_json(eval_config)}
        super().Do(input_dict, output_dict, exec_properties | properties)


def set_bounds(eval_config: config_pb2.EvalConfig, bounds: Mapping[str, Any]) -> None:
    """Sets the bounds of every metric of `eval_config` that `bounds` has, by `bound_name`."""
    for metric in (metric for spec in eval_config.metrics_specs for metric in spec.metrics):
        for bound in ("lower_bound", "upper_bound"):
            value = bounds.get(bound_name(json.loads(metric.config)["name"], bound))
            if value is not None:
                getattr(metric.threshold.value_threshold, bound).value = value
