"""Decides what kind of label a column is. Runs in `sluice init`."""

from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.init.decision import InitError, required
from pipeline.init.profiles import BOOLEAN, NUMBER, OTHER, TIME, WHOLE, Profile
from schema.roles import SERVING

MOST_CLASSES = 1000


def class_names(label: Profile) -> list[str]:
    """Returns the classes of a label by its value."""
    names = list(label.counts)
    return sorted(names, key=int) if label.kind == WHOLE else sorted(names)


def decide_label(label: Profile) -> tuple[str, schema_pb2.Feature]:
    """Returns what kind of label a column is, in words, and what the schema says of it.

    Raises:
        InitError: If it can be none.
    """
    if problem := _problem(label):
        raise InitError(f"the label '{label.name}': {problem}")
    feature = required(schema_pb2.Feature(name=label.name, not_in_environment=[SERVING]))
    count = label.num_distinct
    if label.kind == BOOLEAN:
        feature.type = schema_pb2.BYTES
        spellings = {value.lower(): value for value, _ in sorted(label.counts.items(), key=lambda each: each[1])}
        feature.bool_domain.true_value, feature.bool_domain.false_value = spellings["true"], spellings["false"]
        return "2 classes, true and false", feature
    is_whole = label.kind == WHOLE or (label.kind == NUMBER and not label.is_csv)
    if is_whole and {float(value) for value in label.counts} == set(map(float, range(count))):
        feature.type = schema_pb2.INT
        feature.int_domain.min, feature.int_domain.max, feature.int_domain.is_categorical = 0, count - 1, True
        return f"{count} classes, 0 to {count - 1}", feature
    if label.kind == NUMBER:
        raise InitError(
            f"the label '{label.name}': its classes are written with decimals. Write them as whole numbers."
        )
    feature.type = schema_pb2.BYTES
    feature.string_domain.value.extend(class_names(label))
    return f"{count} classes by name", feature


def _problem(label: Profile) -> str:
    if label.taken_for_missing:
        words = ", ".join(sorted(label.taken_for_missing))
        return f"its class {words} stands for a missing value among the numbers of another column. Change one of them."
    if label.num_missing:
        return f"{label.num_missing} of {label.num_rows} rows have none. Remove those rows."
    if label.kind in (OTHER, TIME):
        return f"it is {label.kind}, which cannot be a class."
    if len({value.lower() if label.kind == BOOLEAN else value for value in label.counts}) < 2:
        return f"every row has the same value, {next(iter(label.counts), '')!r}; there is nothing to learn."
    if label.kind == NUMBER and any(not float(value).is_integer() for value in label.counts):
        return "it holds numbers with fractions. This pipeline predicts classes, not quantities."
    if label.has_more_values or label.num_distinct > max(2, min(MOST_CLASSES, label.num_rows // 2)):
        return f"it has {label.num_distinct} different values in {label.num_rows} rows; classes are fewer."
    return ""
