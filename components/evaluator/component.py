"""Evaluator in the DAG. Runs at compile time."""

import json
from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.evaluator import bound_name, executor
from components.evaluator.eval_config import METRIC_CLASSES, make_eval_config
from schema import FeatureRoles


class _EvaluatorSpec(standard_component_specs.EvaluatorSpec):
    PARAMETERS = {
        **standard_component_specs.EvaluatorSpec.PARAMETERS,
        **{
            bound_name(metric, bound): component_spec.ExecutionParameter(type=float, optional=True)
            for metric in METRIC_CLASSES
            for bound in ("lower_bound", "upper_bound")
        },
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """TFX's Evaluator whose bounds are execution properties, so that a run can be given others."""

    SPEC_CLASS = _EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)


def create_evaluator(
    examples: types.BaseChannel,
    model: types.BaseChannel,
    *,
    roles: FeatureRoles,
    bounds: Mapping[str, float | RuntimeParameter],
) -> Evaluator:
    """Creates the node that blesses `model` if it holds every bound on the split `eval`.

    Args:
        examples: Raw Examples, label included.
        model: The candidate Model.
        roles: Names the label.
        bounds: At least one, by `bound_name`; without any, TFX would neither bless nor refuse.

    Returns:
        A node with the outputs `evaluation` (ModelEvaluation) and `blessing` (ModelBlessing).

    Raises:
        ValueError: If there is no bound.
    """
    if not bounds:
        raise ValueError("No threshold: nothing could earn a push. Set evaluator.thresholds.")
    spec = _EvaluatorSpec(
        examples=examples,
        model=model,
        example_splits=json.dumps(["eval"]),
        eval_config=make_eval_config(roles),
        evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
        blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        **bounds,
    )
    return Evaluator(spec)
