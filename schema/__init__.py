"""What a row is: the schema file and the role of each feature. Runs anywhere; imports neither TensorFlow nor TFX."""

from schema.roles import (
    FeatureRoles,
    SchemaError,
    feature_roles,
    load_schema,
    transformed_name,
)

__all__ = [
    "FeatureRoles",
    "SchemaError",
    "feature_roles",
    "load_schema",
    "transformed_name",
]
