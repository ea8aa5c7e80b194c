"""Evaluator in the DAG. Runs at compile time."""

from collections.abc import Sequence

from tfx import types
from tfx.components import Evaluator

from components.evaluator.eval_config import Threshold, make_eval_config
from schema import FeatureRoles


def create_evaluator(
    examples: types.BaseChannel,
    model: types.BaseChannel,
    *,
    roles: FeatureRoles,
    thresholds: Sequence[Threshold],
) -> Evaluator:
    """Creates the node that blesses `model` if it meets every threshold on the split `eval`.

    Args:
        examples: Raw Examples, label included.
        model: The candidate Model.
        roles: Names the label.
        thresholds: At least one; without any, TFX would neither bless nor refuse.

    Returns:
        A node with the outputs `evaluation` (ModelEvaluation) and `blessing` (ModelBlessing).
    """
    return Evaluator(
        examples=examples,
        model=model,
        example_splits=["eval"],
        eval_config=make_eval_config(roles, thresholds),
    )
