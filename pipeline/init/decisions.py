"""Decides what each column of a table becomes, and why. Runs in `sluice init`."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.init.profiles import BOOLEAN, MOST_DISTINCT, NUMBER, OTHER, TEXT, TIME, WHOLE, Profile
from schema.roles import ID_TAG, SERVING, WEIGHT_TAG

LABEL, WEIGHT, ID, NUMERIC, CATEGORICAL, IGNORED = "label", "weight", "id", "numeric", "categorical", "left out"
MOST_CLASSES = 1000
_MOST_LISTED = 100  # categories that the schema lists
_FREE_TEXT_CHARACTERS = 40
_SURE = 0.999  # share of rows whose label a column tells by itself
_ID_NAME = re.compile(r"(^|[_\W])(id|uuid|guid|key|index|idx|row|number|no|nr)$|^unnamed: 0$", re.IGNORECASE)
_CODE_NAME = re.compile(
    r"(^|[_\W])(code|zip|zipcode|postcode|postal|plz|type|category|class|region|cluster)$", re.IGNORECASE
)


class InitError(ValueError):
    """A table that no pipeline can be made of; the message has a line for each problem."""


@dataclass
class Decision:
    """What becomes of a column.

    Attributes:
        profile: What it holds.
        role: `label`, `weight`, `id`, `numeric`, `categorical` or `left out`.
        why: In words.
        feature: What the schema says of it; None if it is left out.
        warning: What the user should look at; empty if nothing.
    """

    profile: Profile
    role: str
    why: str
    feature: schema_pb2.Feature | None = None
    warning: str = ""


@dataclass(frozen=True)
class Wishes:
    """What the user has decided already.

    Attributes:
        label: Name of the label.
        ids: Names of columns that identify a row.
        weight: Name of the weight, if there is one.
        ignored: Names of columns to leave out.
    """

    label: str
    ids: Collection[str] = field(default_factory=tuple)
    weight: str | None = None
    ignored: Collection[str] = field(default_factory=tuple)


def decide(profiles: Sequence[Profile], wishes: Wishes) -> list[Decision]:
    """Decides about every column.

    Raises:
        InitError: If the label or the weight cannot be one, or no feature is left.
    """
    by_name = {profile.name: profile for profile in profiles}
    label = by_name[wishes.label]
    decisions = [Decision(label, LABEL, *_label(label))]
    for profile in profiles:
        if profile is label:
            continue
        decision = _asked_for(profile, wishes) or _left_out(profile, label) or _feature(profile)
        if decision.role in (NUMERIC, CATEGORICAL):
            decision.warning = decision.warning or _leak(profile, label)
        decisions.append(decision)
    if not any(each.role in (NUMERIC, CATEGORICAL) for each in decisions):
        raise InitError("no column is left to predict the label from.")
    order = {profile.name: index for index, profile in enumerate(profiles)}
    return sorted(decisions, key=lambda each: order[each.profile.name])


def class_names(label: Profile) -> list[str]:
    """Returns the classes of a label by its value."""
    names = list(label.counts)
    return sorted(names, key=int) if label.kind == WHOLE else sorted(names)


def _label(label: Profile) -> tuple[str, schema_pb2.Feature]:
    problem = ""
    if label.num_missing:
        problem = f"{label.num_missing} of {label.num_rows} rows have none. Remove those rows."
    elif label.kind in (OTHER, TIME):
        problem = f"it is {label.kind}, which cannot be a class."
    elif label.num_distinct < 2:
        problem = f"every row has the same value, {next(iter(label.counts), '')!r}; there is nothing to learn."
    elif label.kind == NUMBER and any(not float(value).is_integer() for value in label.counts):
        problem = "it holds numbers with fractions. This pipeline predicts classes, not quantities."
    elif label.has_more_values or label.num_distinct > min(MOST_CLASSES, label.num_rows // 2):
        problem = f"it has {label.num_distinct} different values in {label.num_rows} rows; classes are fewer."
    if problem:
        raise InitError(f"the label '{label.name}': {problem}")
    feature = _required(schema_pb2.Feature(name=label.name, not_in_environment=[SERVING]))
    count = label.num_distinct
    if label.kind == BOOLEAN:
        feature.type = schema_pb2.BYTES
        feature.bool_domain.true_value, feature.bool_domain.false_value = sorted(label.counts, key=str.lower)[::-1]
        return "2 classes, true and false", feature
    is_whole = label.kind == WHOLE or (label.kind == NUMBER and not label.is_csv)
    if is_whole and {float(value) for value in label.counts} == set(map(float, range(count))):
        feature.type = schema_pb2.INT
        feature.int_domain.min, feature.int_domain.max, feature.int_domain.is_categorical = 0, count - 1, True
        return f"{count} classes, 0 to {count - 1}", feature
    if label.kind == NUMBER and label.is_csv:
        raise InitError(
            f"the label '{label.name}': its classes are written with decimals. Write them as whole numbers."
        )
    feature.type = schema_pb2.BYTES
    feature.string_domain.value.extend(class_names(label))
    return f"{count} classes by name", feature


def _asked_for(profile: Profile, wishes: Wishes) -> Decision | None:
    if profile.name in wishes.ignored:
        return Decision(profile, IGNORED, "as you asked")
    if profile.name in wishes.ids:
        return Decision(profile, ID, "as you asked", _id(profile))
    if profile.name == wishes.weight:
        if profile.kind not in (WHOLE, NUMBER) or profile.num_missing or profile.minimum < 0:
            raise InitError(f"the weight '{profile.name}' must be a number of at least 0 in every row.")
        feature = _required(schema_pb2.Feature(name=profile.name, not_in_environment=[SERVING]))
        feature.annotation.tag.append(WEIGHT_TAG)
        feature.type = schema_pb2.INT if profile.kind == WHOLE else schema_pb2.FLOAT
        (feature.int_domain if profile.kind == WHOLE else feature.float_domain).min = 0
        return Decision(profile, WEIGHT, "as you asked", feature)
    return None


def _left_out(profile: Profile, label: Profile) -> Decision | None:
    if not profile.kind:
        return Decision(profile, IGNORED, "has no value in any row")
    if profile.kind == OTHER:
        return Decision(profile, IGNORED, "holds lists or structures, which is no feature")
    if profile.num_distinct == 1 and not profile.num_missing:
        return Decision(profile, IGNORED, f"is constant: {_short(next(iter(profile.counts)))}")
    if profile.kind == TIME:
        return Decision(profile, IGNORED, "is a date or time; derive numbers of it, or split by it")
    if _is_id(profile):
        return Decision(profile, ID, "has another value in every row", _id(profile))
    if profile.kind == TEXT and _mean_length(profile) > _FREE_TEXT_CHARACTERS and not _has_few_values(profile):
        return Decision(profile, IGNORED, "is free text")
    if _renames(profile, label):
        return Decision(profile, IGNORED, f"is '{label.name}' under another name")
    return None


def _is_id(profile: Profile) -> bool:
    if not profile.is_unique or profile.num_missing or profile.num_rows < 20:
        return False
    if profile.kind == TEXT:
        return _mean_length(profile) <= _FREE_TEXT_CHARACTERS
    is_sequence = profile.maximum - profile.minimum == profile.num_rows - 1
    return profile.kind == WHOLE and (is_sequence or bool(_ID_NAME.search(profile.name)))


def _feature(profile: Profile) -> Decision:
    feature = schema_pb2.Feature(name=profile.name)
    if profile.num_missing:
        feature.presence.min_count = 0
        feature.value_count.min = feature.value_count.max = 1
    else:
        _required(feature)
    if profile.kind == BOOLEAN:
        feature.type = schema_pb2.INT
        feature.bool_domain.SetInParent()
        return Decision(profile, CATEGORICAL, "true or false", feature)
    if profile.kind == TEXT:
        return _text_feature(profile, feature)
    if profile.kind == WHOLE and _CODE_NAME.search(profile.name) and _has_few_values(profile):
        feature.type = schema_pb2.INT
        feature.int_domain.is_categorical = True
        return Decision(profile, CATEGORICAL, "whole numbers that its name calls a code", feature)
    if profile.kind == WHOLE:
        feature.type = schema_pb2.INT
    else:
        feature.type = schema_pb2.FLOAT
        feature.float_domain.disallow_nan = feature.float_domain.disallow_inf = True
    why = f"{profile.kind}s from {profile.minimum:g} to {profile.maximum:g}"
    warning = ""
    if profile.kind == WHOLE and _ID_NAME.search(profile.name):
        warning = "its name is that of an id; if it is one, give --id"
    return Decision(profile, NUMERIC, why, feature, warning)


def _text_feature(profile: Profile, feature: schema_pb2.Feature) -> Decision:
    feature.type = schema_pb2.BYTES
    count = f"more than {MOST_DISTINCT}" if profile.has_more_values else str(profile.num_distinct)
    if profile.num_distinct <= _MOST_LISTED:
        feature.string_domain.value.extend(sorted(profile.counts))
        feature.distribution_constraints.min_domain_mass = 0.9
        return Decision(profile, CATEGORICAL, f"{count} categories, listed in the schema", feature)
    warning = "" if _has_few_values(profile) else f"{count} categories in {profile.num_rows} rows: most are too rare"
    return Decision(profile, CATEGORICAL, f"{count} categories, found by a pass over the data", feature, warning)


def _id(profile: Profile) -> schema_pb2.Feature:
    feature = schema_pb2.Feature(name=profile.name, type=schema_pb2.BYTES)
    feature.presence.min_count = 0
    feature.value_count.min = feature.value_count.max = 1
    feature.annotation.tag.append(ID_TAG)
    feature.type = {WHOLE: schema_pb2.INT, NUMBER: schema_pb2.FLOAT}.get(profile.kind, schema_pb2.BYTES)
    return feature


def _required(feature: schema_pb2.Feature) -> schema_pb2.Feature:
    feature.presence.min_fraction, feature.presence.min_count = 1.0, 1
    feature.shape.dim.add(size=1)
    return feature


def _has_few_values(profile: Profile) -> bool:
    return not profile.has_more_values and profile.num_distinct <= profile.num_rows / 5


def _mean_length(profile: Profile) -> float:
    return sum(map(len, profile.counts)) / max(1, profile.num_distinct)


def _renames(profile: Profile, label: Profile) -> bool:
    """Whether each value stands for one class and each class for one value."""
    if profile.num_distinct != label.num_distinct or profile.num_missing:
        return False
    pairs = set(zip(profile.sample, label.sample, strict=True))
    return len(pairs) == label.num_distinct == len({one for one, _ in pairs}) == len({other for _, other in pairs})


def _leak(profile: Profile, label: Profile) -> str:
    """Returns a warning if a column tells the label by itself, by its values or by ranges of its numbers."""
    pairs = [pair for pair in zip(profile.sample, label.sample, strict=True) if None not in pair]
    if len(pairs) < 100:
        return ""
    told = _told_by_value(pairs) if _has_few_values(profile) else 0.0
    if profile.kind in (WHOLE, NUMBER):
        told = max(told, _told_by_range([(float(value or 0), str(name)) for value, name in pairs], label.num_distinct))
    if told < _SURE:
        return ""
    return f"tells '{label.name}' by itself; if it is known only afterwards, give --ignore"


def _told_by_value(pairs: Sequence[tuple[str | None, str | None]]) -> float:
    by_value: dict[str | None, Counter[str | None]] = defaultdict(Counter)
    for value, name in pairs:
        by_value[value][name] += 1
    return sum(max(counts.values()) for counts in by_value.values()) / len(pairs)


def _told_by_range(pairs: Sequence[tuple[float, str]], num_classes: int) -> float:
    """Returns 1 if each class has a range of numbers of its own."""
    names = [name for _, name in sorted(pairs)]
    return float(sum(one != other for one, other in itertools.pairwise(names)) < num_classes)


def warnings(decisions: Sequence[Decision]) -> Iterator[str]:
    """Yields what a user should look at, beside the warnings of single columns."""
    for decision in decisions:
        if decision.warning:
            yield f"{decision.profile.name}: {decision.warning}."
        if decision.role == LABEL:
            counts = decision.profile.counts
            rarest, most = min(counts.values()), max(counts.values())
            if most >= 5 * rarest:
                name = min(counts, key=lambda value: counts[value])
                sizes = f"class {_short(name)} has {rarest} rows, the largest {most}"
                yield f"{decision.profile.name}: {sizes}; training balances them."
            if rarest < 10:
                yield f"{decision.profile.name}: a class has {rarest} rows, too few to judge a model by."


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:30] + "...")
