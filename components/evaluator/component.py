"""Evaluator in the DAG. Runs at compile time."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.evaluator import executor
from components.evaluator.eval_config import make_eval_config
from components.evaluator.rules import Rule
from components.source_digest import source_digest
from schema import FeatureRoles


class Evaluator(base_beam_component.BaseBeamComponent):
    """TFX's Evaluator with rules in place of thresholds; their bounds are execution properties, one for each."""

    SPEC_CLASS = standard_component_specs.EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)


def create_evaluator(
    examples: types.BaseChannel,
    model: types.BaseChannel,
    *,
    baseline_model: types.BaseChannel,
    roles: FeatureRoles,
    rules: Sequence[Rule],
    bounds: Mapping[str, float | RuntimeParameter],
    split: str = "eval",
    executor_name: str = "columnar",
) -> Evaluator:
    """Creates the node that blesses `model` if it holds every rule on a split.

    Args:
        examples: Raw Examples, label included.
        model: The candidate Model.
        baseline_model: The Model that is served, of Baseline.
        roles: Names the label, its classes and the weight.
        rules: At least one that can always be judged; without any, TFX would neither bless nor refuse.
        bounds: The value of each rule, by `Rule.name`.
        split: Name of the split.
        executor_name: `columnar`, in memory, or `stock`, by TFMA on Beam.

    Returns:
        A node with the outputs `evaluation` (ModelEvaluation) and `blessing` (ModelBlessing), the latter with
        `verdict.json`.

    Raises:
        ValueError: If there is no rule.
    """
    if not rules:
        raise ValueError("No threshold: nothing could earn a push. Set evaluator.thresholds.")
    custom = {
        "rules": [dataclasses.asdict(rule) | {"value": None} for rule in rules],
        "roles": dataclasses.asdict(roles),
        "executor": executor_name,
        "source_digest": source_digest(executor.__file__),
    }
    spec = _spec_class(bounds)(
        examples=examples,
        model=model,
        baseline_model=baseline_model,
        example_splits=json.dumps([split]),
        eval_config=make_eval_config(roles, rules),
        evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
        blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        **{executor.RULES: json.dumps(custom)},
        **bounds,
    )
    return Evaluator(spec)


def _spec_class(bounds: Mapping[str, float | RuntimeParameter]) -> type[component_spec.ComponentSpec]:
    """Returns the stock Evaluator's spec with a parameter for each bound; a run may be given others."""
    stock = standard_component_specs.EvaluatorSpec
    parameters = {name: component_spec.ExecutionParameter(type=float) for name in bounds}
    rules = {executor.RULES: component_spec.ExecutionParameter(type=str)}
    return type("EvaluatorSpec", (stock,), {"PARAMETERS": {**stock.PARAMETERS, **rules, **parameters}})
