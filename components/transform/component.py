"""Transform in the DAG. Runs at compile time."""

import dataclasses

from tfx import types
from tfx.components import Transform

from components.source_digest import source_digest
from schema import FeatureRoles


def create_transform(
    examples: types.BaseChannel,
    schema: types.BaseChannel,
    *,
    module_file: str,
    roles: FeatureRoles,
) -> Transform:
    """Creates the node that scales the features.

    Args:
        examples: Raw Examples; the analysis runs over the split `train` alone, the transformation over every split.
        schema: The curated Schema.
        module_file: Python file with `preprocessing_fn(inputs, custom_config)`.
        roles: Reaches `preprocessing_fn` as `custom_config["roles"]`.

    Returns:
        A node with the outputs `transform_graph` (TransformGraph) and `transformed_examples` (Examples).
    """
    return Transform(
        examples=examples,
        schema=schema,
        module_file=module_file,
        # Statistics of the transformed data would cost two more passes, and nothing reads them.
        disable_statistics=True,
        custom_config={
            "roles": dataclasses.asdict(roles),
            "source_digest": source_digest(module_file),
        },
    )
