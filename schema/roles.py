"""Reads a schema and decides each feature's role. Runs at compile time, in Transform's process and in the Trainer's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

SERVING = "SERVING"
_TYPE_NAMES = schema_pb2.FeatureType.Name
# Transform leaves features of any other stage out (tensorflow_transform.tf_metadata.schema_utils).
_USED_STAGES = (schema_pb2.UNKNOWN_STAGE, schema_pb2.BETA, schema_pb2.PRODUCTION)


class SchemaError(ValueError):
    """A schema that cannot be read or that describes no classification problem."""


@dataclass(frozen=True)
class FeatureRoles:
    """Which feature plays which role.

    Attributes:
        numeric: Names of the numeric features, in the schema's order.
        label: Name of the label, whose values are 0 to `len(class_names) - 1`.
        class_names: Name of each class, by label value.
    """

    numeric: tuple[str, ...]
    label: str
    class_names: tuple[str, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "FeatureRoles":
        """Returns the roles of which `values` are the fields, their tuples as JSON's lists."""
        return cls(numeric=tuple(values["numeric"]), label=values["label"], class_names=tuple(values["class_names"]))


def transformed_name(feature: str) -> str:
    """Returns the name of `feature` after Transform, as TFX's examples name it."""
    return f"{feature}_xf"


def load_schema(schema_file: str) -> schema_pb2.Schema:
    """Reads a schema in text format.

    Args:
        schema_file: A local `schema.pbtxt`.

    Raises:
        SchemaError: If the file cannot be read, is no schema, or has no feature.
    """
    schema = schema_pb2.Schema()
    try:
        text_format.Parse(Path(schema_file).read_text(encoding="utf-8"), schema)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as err:
        raise SchemaError(f"{schema_file} is not a readable schema in text format: {err}") from err
    if not schema.feature:
        raise SchemaError(f"{schema_file} has no feature.")
    return schema


def feature_roles(schema: schema_pb2.Schema, label_key: str, class_names: Sequence[str] | None = None) -> FeatureRoles:
    """Gives every feature of a schema its role.

    Args:
        schema: The curated schema.
        label_key: Name of the label: an INT feature whose domain starts at 0, not in the SERVING environment.
        class_names: Name of each class; "0", "1", ... where there is none.

    Raises:
        SchemaError: If the label or another feature cannot play its role; the message lists every problem.
    """
    names = [feature.name for feature in schema.feature]
    features = {feature.name: feature for feature in schema.feature if feature.lifecycle_stage in _USED_STAGES}
    if label_key not in features:
        raise SchemaError(f"the label '{label_key}' is not a feature of the schema. Features: {', '.join(features)}.")
    label = features.pop(label_key)
    problems = _label_problems(label) + [
        problem for feature in features.values() for problem in _numeric_problems(feature)
    ]
    if not features:
        problems.append("the schema has no feature beside the label.")
    num_classes = label.int_domain.max + 1
    problems += [f"the schema has '{name}' twice." for name in sorted(set(names)) if names.count(name) > 1]
    if label.HasField("int_domain") and class_names is not None and len(class_names) != num_classes:
        problems.append(
            f"{len(class_names)} class names for the {num_classes} values of the label '{label_key}': "
            f"{', '.join(class_names)}."
        )
    if class_names is not None and len(set(class_names)) < len(class_names):
        problems.append(f"two classes of the label '{label_key}' have one name: {', '.join(class_names)}.")
    if problems:
        raise SchemaError("\n".join(problems))
    return FeatureRoles(
        numeric=tuple(features),
        label=label_key,
        class_names=tuple(class_names or map(str, range(num_classes))),
    )


def _label_problems(label: schema_pb2.Feature) -> list[str]:
    problems = []
    if label.type != schema_pb2.INT:
        problems.append(f"the label '{label.name}' is {_TYPE_NAMES(label.type)}; it must be INT.")
    domain = label.int_domain
    if not label.HasField("int_domain") or domain.min != 0 or domain.max < 1:
        problems.append(
            f"the label '{label.name}' needs an int_domain with min 0 and max (number of classes - 1), at least 1."
        )
    problems += _one_value_problems(label)
    if SERVING not in label.not_in_environment:
        problems.append(
            f"the label '{label.name}' must say not_in_environment: \"{SERVING}\", because requests carry no label."
        )
    return problems


def _numeric_problems(feature: schema_pb2.Feature) -> list[str]:
    problems = []
    if feature.type not in (schema_pb2.INT, schema_pb2.FLOAT):
        problems.append(
            f"feature '{feature.name}' is {_TYPE_NAMES(feature.type)}; only INT and FLOAT features are supported."
        )
    return problems + _one_value_problems(feature)


def _one_value_problems(feature: schema_pb2.Feature) -> list[str]:
    if [dim.size for dim in feature.shape.dim] == [1] and feature.presence.min_fraction == 1.0:
        return []
    return [
        f"'{feature.name}' must be in every row with one value: presence {{ min_fraction: 1.0 }} "
        "and shape { dim { size: 1 } }."
    ]
