"""Reads why a model was blessed or refused from the Evaluator's artifacts. Runs wherever the artifacts can be read."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import constants
from tfx.dsl.io import fileio

from components.evaluator import EXAMPLE_COUNT


@dataclass(frozen=True)
class Rule:
    """One bound and how the model stood to it.

    Attributes:
        metric: Name of the metric.
        value: Its value over the whole eval split.
        comparison: `>=` or `<=`, what the value had to be to the bound.
        bound: The bound.
    """

    metric: str
    value: float
    comparison: str
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the value holds the bound; a value that is no number never does."""
        return self.value >= self.bound if self.comparison == ">=" else self.value <= self.bound

    def __str__(self) -> str:
        comparison = self.comparison if self.passed else {">=": "<", "<=": ">"}[self.comparison]
        # As few decimals as tell the value from the bound: never "0.950 < 0.950".
        decimals = next(
            (n for n in range(3, 17) if f"{self.value:.{n}f}" != f"{self.bound:.{n}f}"),
            3,
        )
        return f"{self.metric} {self.value:.{decimals}f} {comparison} {self.bound:.{decimals}f}"


@dataclass(frozen=True)
class Verdict:
    """What the Evaluator decided.

    Attributes:
        blessed: Whether the Pusher may push the model.
        rules: Every bound of the evaluation.
        num_rows: Rows of the eval split.
    """

    blessed: bool
    rules: tuple[Rule, ...]
    num_rows: int

    def __str__(self) -> str:
        decisive = [rule for rule in self.rules if rule.passed == self.blessed]
        return f"{', '.join(map(str, decisive or self.rules))} on {self.num_rows} eval rows"


def load_verdict(evaluation_dir: str, blessing_dir: str) -> Verdict:
    """Reads the verdict from the artifacts `evaluation` and `blessing` of one execution of the Evaluator."""
    result = tfma.load_eval_result(evaluation_dir)
    values = _metrics(result)
    rules = [rule for spec in result.config.metrics_specs for metric in spec.metrics for rule in _rules(metric, values)]
    return Verdict(
        blessed=is_blessed(blessing_dir),
        rules=tuple(rules),
        num_rows=int(values[EXAMPLE_COUNT]),
    )


def load_metrics(evaluation_dir: str) -> dict[str, float]:
    """Reads the value of every metric over the whole eval split from the artifact `evaluation`."""
    return _metrics(tfma.load_eval_result(evaluation_dir))


def _metrics(result: tfma.EvalResult) -> dict[str, float]:
    return {
        name: value["doubleValue"]
        for slice_key, outputs in result.slicing_metrics
        if not slice_key
        for name, value in outputs[""][""].items()
    }


def is_blessed(blessing_dir: str) -> bool:
    """Whether the artifact `blessing` lets the model through."""
    return fileio.exists(os.path.join(blessing_dir, constants.BLESSED_FILE_NAME))


def _rules(metric: config_pb2.MetricConfig, values: Mapping[str, float]) -> list[Rule]:
    name = json.loads(metric.config)["name"]
    bounds = metric.threshold.value_threshold
    return [
        Rule(name, values[name], comparison, getattr(bounds, bound).value)
        for bound, comparison in (("lower_bound", ">="), ("upper_bound", "<="))
        if bounds.HasField(bound)
    ]
