"""How many values each categorical feature has. Runs at compile time, in Transform's process and in the Trainer's.

Imports neither TensorFlow nor TFX.
"""

import hashlib
import re
from collections.abc import Callable

from tensorflow_metadata.proto.v0 import schema_pb2

from schema import FeatureRoles, categories, used_features

_MISSING, _OUT_OF_VOCABULARY = 1, 1  # values beside the vocabulary's


def domains_of(schema: schema_pb2.Schema, roles: FeatureRoles) -> dict[str, tuple[str, ...]]:
    """Returns the categories of each categorical feature of which the schema lists them; the others need a pass."""
    features = used_features(schema)
    listed = {name: categories(features[name]) for name in roles.categorical}
    return {name: values for name, values in listed.items() if values}


def vocabulary_name(feature: str) -> str:
    """Returns the name of a feature's vocabulary in the transform graph: letters, digits and underscores."""
    digest = hashlib.sha256(feature.encode()).hexdigest()[:8]
    return f"vocabulary_{re.sub(r'[^A-Za-z0-9]', '_', feature)}_{digest}"


def num_categories(
    schema: schema_pb2.Schema, roles: FeatureRoles, vocabulary_size: Callable[[str], int]
) -> dict[str, int]:
    """Returns how many values each categorical feature has once it is transformed.

    Args:
        schema: The curated schema.
        roles: Names the features.
        vocabulary_size: Gives the size of a vocabulary by its name: `TFTransformOutput.vocabulary_size_by_name`.
    """
    domains = domains_of(schema, roles)
    return {
        name: _MISSING + _OUT_OF_VOCABULARY + (len(domains.get(name, ())) or vocabulary_size(vocabulary_name(name)))
        for name in roles.categorical
    }
