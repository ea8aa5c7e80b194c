"""Reads a schema and decides each feature's role. Runs at compile time, in Transform's process and in the Trainer's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

SERVING = "SERVING"
RESERVED = ("examples",)  # what `serving_default` takes; TFMA would give it the feature instead
ID_TAG, WEIGHT_TAG = "id", "weight"  # annotation { tag: "id" }
_TYPE_NAMES = schema_pb2.FeatureType.Name
_MOST_LISTED = 1000  # integers of a domain; of a wider one the vocabulary is what the training split holds
# Transform leaves features of any other stage out (tensorflow_transform.tf_metadata.schema_utils).
_USED_STAGES = (schema_pb2.UNKNOWN_STAGE, schema_pb2.BETA, schema_pb2.PRODUCTION)


class SchemaError(ValueError):
    """A schema that cannot be read or that describes no classification problem."""


@dataclass(frozen=True)
class FeatureRoles:
    """Which feature plays which role; each tuple is in the schema's order.

    Attributes:
        numeric: Names of the features that are scaled to 0-1.
        label: Name of the label: an integer from 0 to `len(class_names) - 1`, or the name of a class.
        class_names: Name of each class, by label value.
        categorical: Names of the features whose values are categories: text, booleans and categorical integers.
        ids: Names of the columns that identify a row and that no model sees.
        weight: Name of the column that says how much a row counts; None if all count alike.
        optional: Those of the features that may be missing in a row.
        has_text_label: Whether the label is the name of a class.
    """

    numeric: tuple[str, ...]
    label: str
    class_names: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    weight: str | None = None
    optional: tuple[str, ...] = ()
    has_text_label: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """What the model takes: the numeric features, then the categorical ones."""
        return self.numeric + self.categorical

    def model_inputs(self, transformed: Iterable[str]) -> list[str]:
        """Returns which of the transformed features the model takes: all but label and weight, the raw ones' first."""
        left_out = {transformed_name(self.label), transformed_name(self.weight or self.label)}
        names = set(transformed) - left_out
        first = [name for name in map(transformed_name, self.features) if name in names]
        return first + sorted(names - set(first))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "FeatureRoles":
        """Returns the roles of which `values` are the fields, their tuples as JSON's lists."""
        fields: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**fields)


def transformed_name(feature: str) -> str:
    """Returns the name of `feature` after Transform, as TFX's examples name it."""
    return f"{feature}_xf"


def missing_name(feature: str) -> str:
    """Returns the name, after Transform, of what says whether `feature` was missing."""
    return f"{feature}_missing_xf"


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


def used_features(schema: schema_pb2.Schema) -> dict[str, schema_pb2.Feature]:
    """Returns the features that are in use, by name, each with its own copy of a string_domain that features share.

    Those that are deprecated or only planned are not in use.
    """
    shared = {domain.name: domain for domain in schema.string_domain}
    features = {}
    for feature in schema.feature:
        if feature.lifecycle_stage in _USED_STAGES:
            features[feature.name] = copy = schema_pb2.Feature()
            copy.CopyFrom(feature)
            if feature.HasField("domain") and feature.domain in shared:
                copy.string_domain.CopyFrom(shared[feature.domain])
    return features


def is_id(feature: schema_pb2.Feature) -> bool:
    """Whether a feature identifies a row, which no model sees."""
    return ID_TAG in feature.annotation.tag


def is_served(feature: schema_pb2.Feature) -> bool:
    """Whether a request may carry a feature."""
    return SERVING not in feature.not_in_environment


def is_required(feature: schema_pb2.Feature) -> bool:
    """Whether a feature has one value in every row; otherwise it may be missing."""
    return feature.HasField("shape")


def is_categorical(feature: schema_pb2.Feature) -> bool:
    """Whether a feature's values are categories."""
    is_category = feature.int_domain.is_categorical or feature.HasField("bool_domain")
    return feature.type == schema_pb2.BYTES or (feature.type == schema_pb2.INT and is_category)


def categories(feature: schema_pb2.Feature) -> tuple[str, ...]:
    """Returns the categories that the domain of a feature in use lists, as text and in its order; none without one."""
    if feature.type == schema_pb2.BYTES:
        if feature.HasField("bool_domain"):
            return (feature.bool_domain.false_value or "false", feature.bool_domain.true_value or "true")
        return tuple(feature.string_domain.value)
    if feature.HasField("bool_domain"):
        return ("0", "1")
    bounds = feature.int_domain
    if bounds.HasField("min") and bounds.HasField("max") and 0 <= bounds.max - bounds.min < _MOST_LISTED:
        return tuple(map(str, range(bounds.min, bounds.max + 1)))
    return ()


def feature_roles(schema: schema_pb2.Schema, label_key: str, class_names: Sequence[str] | None = None) -> FeatureRoles:
    """Gives every feature of a schema its role.

    Text, booleans (`bool_domain`) and integers with `int_domain { is_categorical: true }` are categorical, other
    numbers numeric; `annotation { tag: "id" }` and `annotation { tag: "weight" }` mark ids and the weight.

    Args:
        schema: The curated schema.
        label_key: Name of the label: an INT feature whose domain starts at 0, or a BYTES feature whose string_domain
            names the classes; not in the SERVING environment.
        class_names: Name of each class of an INT label; "0", "1", ... where there is none.

    Raises:
        SchemaError: If the label or another feature cannot play its role; the message lists every problem.
    """
    names = [feature.name for feature in schema.feature]
    features = used_features(schema)
    if label_key not in features:
        raise SchemaError(f"the label '{label_key}' is not a feature of the schema. Features: {', '.join(features)}.")
    label = features.pop(label_key)
    ids = [feature for feature in features.values() if is_id(feature)]
    weights = [feature for feature in features.values() if WEIGHT_TAG in feature.annotation.tag]
    inputs = [feature for feature in features.values() if feature not in ids and feature not in weights]
    categorical = [feature.name for feature in inputs if is_categorical(feature)]

    known = categories(label) if label.type == schema_pb2.BYTES else ()
    problems = [*_label_problems(label, known), *_class_name_problems(label, known, class_names)]
    problems += [problem for feature in inputs for problem in _feature_problems(feature)]
    problems += [problem for feature in weights for problem in _weight_problems(feature)]
    problems += _name_problems([feature for feature in inputs if feature.name not in categorical], inputs)
    if len(weights) > 1:
        problems.append(f"more than one weight: {', '.join(feature.name for feature in weights)}.")
    if not inputs:
        problems.append("the schema has no feature beside the label.")
    problems += [f"the schema has '{name}' twice." for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise SchemaError("\n".join(problems))
    return FeatureRoles(
        numeric=tuple(feature.name for feature in inputs if feature.name not in categorical),
        label=label_key,
        class_names=tuple(known or class_names or map(str, range(label.int_domain.max + 1))),
        categorical=tuple(categorical),
        ids=tuple(feature.name for feature in ids),
        weight=weights[0].name if weights else None,
        optional=tuple(feature.name for feature in inputs if not is_required(feature)),
        has_text_label=bool(known),
    )


def _label_problems(label: schema_pb2.Feature, known: Sequence[str]) -> list[str]:
    problems = []
    if label.type not in (schema_pb2.INT, schema_pb2.BYTES):
        problems.append(f"the label '{label.name}' is {_TYPE_NAMES(label.type)}; it must be INT or BYTES.")
    if label.type == schema_pb2.BYTES and len(set(known)) < 2:
        problems.append(f"the label '{label.name}' needs a string_domain that names at least two classes.")
    domain = label.int_domain
    if label.type != schema_pb2.BYTES and (not label.HasField("int_domain") or domain.min != 0 or domain.max < 1):
        problems.append(
            f"the label '{label.name}' needs an int_domain with min 0 and max (number of classes - 1), at least 1."
        )
    if not _has_one_value(label):
        problems.append(_one_value(label))
    if is_served(label):
        problems.append(_not_served(label, "label"))
    return problems


def _class_name_problems(
    label: schema_pb2.Feature, known: Sequence[str], class_names: Sequence[str] | None
) -> list[str]:
    if class_names is None:
        return []
    if known:
        return [f"the label '{label.name}' is text, whose string_domain names the classes. Leave class_names out."]
    problems = []
    num_classes = label.int_domain.max + 1
    if label.HasField("int_domain") and len(class_names) != num_classes:
        problems.append(
            f"{len(class_names)} class names for the {num_classes} values of the label '{label.name}': "
            f"{', '.join(class_names)}."
        )
    if len(set(class_names)) < len(class_names):
        problems.append(f"two classes of the label '{label.name}' have one name: {', '.join(class_names)}.")
    return problems


def _feature_problems(feature: schema_pb2.Feature) -> list[str]:
    if feature.type not in (schema_pb2.INT, schema_pb2.FLOAT, schema_pb2.BYTES):
        return [f"feature '{feature.name}' is {_TYPE_NAMES(feature.type)}; it must be INT, FLOAT or BYTES."]
    if not is_served(feature):
        return [f"feature '{feature.name}' is not in the environment {SERVING}, so no request could carry it."]
    if _has_one_value(feature) or _may_be_missing(feature):
        return []
    return [
        f"{_one_value(feature)[:-1]}, or, if it may be missing: presence {{ min_count: 1 }}, "
        "value_count { min: 1 max: 1 } and no shape."
    ]


def _name_problems(numeric: Sequence[schema_pb2.Feature], inputs: Sequence[schema_pb2.Feature]) -> list[str]:
    """Says which features have names that the served model or Transform gives to something else."""
    names = {transformed_name(feature.name): feature.name for feature in inputs}
    taken = {missing_name(feature.name): feature.name for feature in numeric if not is_required(feature)}
    return [
        f"feature '{feature.name}' has the name of an input of the served model. Rename it."
        for feature in inputs
        if feature.name in RESERVED
    ] + [
        f"feature '{names[name]}' has the name of what says whether '{taken[name]}' is missing. Rename it."
        for name in sorted(names.keys() & taken.keys())
    ]


def _weight_problems(feature: schema_pb2.Feature) -> list[str]:
    problems = [] if _has_one_value(feature) else [_one_value(feature)]
    domain = feature.float_domain if feature.type == schema_pb2.FLOAT else feature.int_domain
    if feature.type not in (schema_pb2.INT, schema_pb2.FLOAT) or not domain.HasField("min") or domain.min < 0:
        problems.append(f"the weight '{feature.name}' must be INT or FLOAT with a domain whose min is at least 0.")
    if is_served(feature):
        problems.append(_not_served(feature, "weight"))
    return problems


def _has_one_value(feature: schema_pb2.Feature) -> bool:
    return [dim.size for dim in feature.shape.dim] == [1] and feature.presence.min_fraction == 1.0


def _may_be_missing(feature: schema_pb2.Feature) -> bool:
    return not feature.HasField("shape") and feature.value_count.max == 1 and feature.presence.min_fraction < 1.0


def _one_value(feature: schema_pb2.Feature) -> str:
    return (
        f"'{feature.name}' must be in every row with one value: presence {{ min_fraction: 1.0 }} "
        "and shape { dim { size: 1 } }."
    )


def _not_served(feature: schema_pb2.Feature, role: str) -> str:
    return f"the {role} '{feature.name}' must say not_in_environment: \"{SERVING}\", because requests carry no {role}."
