"""What a row is: the schema file and the role of each feature. Runs anywhere; imports neither TensorFlow nor TFX."""

from schema.roles import (
    FeatureRoles,
    SchemaError,
    categories,
    feature_roles,
    is_categorical,
    is_id,
    is_required,
    is_served,
    load_schema,
    missing_name,
    transformed_name,
    used_features,
)

__all__ = [
    "FeatureRoles",
    "SchemaError",
    "categories",
    "feature_roles",
    "is_categorical",
    "is_id",
    "is_required",
    "is_served",
    "load_schema",
    "missing_name",
    "transformed_name",
    "used_features",
]
