"""Decides what each column of a table becomes, and why. Runs in `sluice init`."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.init.decision import (
    CATEGORICAL,
    ID,
    IGNORED,
    LABEL,
    NUMERIC,
    WEIGHT,
    Decision,
    InitError,
    required,
    short,
)
from pipeline.init.labels import decide_label
from pipeline.init.leaks import leak, renames
from pipeline.init.profiles import BOOLEAN, MOST_DISTINCT, NUMBER, OTHER, TEXT, TIME, WHOLE, Profile
from schema.roles import ID_TAG, RESERVED, SERVING, WEIGHT_TAG

_MOST_LISTED = 100  # categories that the schema lists
_FREE_TEXT_CHARACTERS = 40
_ID_NAME = re.compile(
    r"(^|[_\W])(id|uuid|guid|key|index|idx|row|number|no|nr)$|^unnamed: 0$|^__index_level_\d+__$", re.IGNORECASE
)
_CODE_NAME = re.compile(
    r"(^|[_\W])(code|zip|zipcode|postcode|postal|plz|type|category|class|region|cluster)$", re.IGNORECASE
)


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
    decisions = [Decision(label, LABEL, *decide_label(label))]
    for profile in profiles:
        if profile is label:
            continue
        decision = _asked_for(profile, wishes) or _left_out(profile, label) or _feature(profile)
        if decision.role in (NUMERIC, CATEGORICAL):
            decision.warning = decision.warning or leak(profile, label)
        decisions.append(decision)
    if not any(each.role in (NUMERIC, CATEGORICAL) for each in decisions):
        raise InitError("no column is left to predict the label from.")
    order = {profile.name: index for index, profile in enumerate(profiles)}
    return sorted(decisions, key=lambda each: order[each.profile.name])


def _asked_for(profile: Profile, wishes: Wishes) -> Decision | None:
    if profile.name in wishes.ignored:
        return Decision(profile, IGNORED, "as you asked")
    if profile.name in wishes.ids:
        return Decision(profile, ID, "as you asked", _id(profile))
    if profile.name == wishes.weight:
        if profile.kind not in (WHOLE, NUMBER) or profile.num_missing or profile.minimum < 0:
            raise InitError(f"the weight '{profile.name}' must be a number of at least 0 in every row.")
        feature = required(schema_pb2.Feature(name=profile.name, not_in_environment=[SERVING]))
        feature.annotation.tag.append(WEIGHT_TAG)
        feature.type = schema_pb2.INT if profile.kind == WHOLE else schema_pb2.FLOAT
        (feature.int_domain if profile.kind == WHOLE else feature.float_domain).min = 0
        return Decision(profile, WEIGHT, "as you asked", feature)
    return None


def _left_out(profile: Profile, label: Profile) -> Decision | None:
    if not profile.kind:
        return Decision(profile, IGNORED, "has no value in any row")
    if profile.name in RESERVED:
        return Decision(profile, IGNORED, "has the name of an input of the served model; rename it to train on it")
    if profile.kind == OTHER:
        return Decision(profile, IGNORED, "holds lists or structures, which is no feature")
    if profile.num_distinct == 1 and not profile.num_missing:
        return Decision(profile, IGNORED, f"is constant: {short(next(iter(profile.counts)))}")
    if profile.kind == TIME:
        return Decision(profile, IGNORED, "is a date or time; derive numbers of it, or split by it")
    if _is_id(profile):
        return Decision(profile, ID, "has another value in every row", _id(profile))
    if profile.kind == TEXT and _mean_length(profile) > _FREE_TEXT_CHARACTERS and not profile.has_few_values:
        return Decision(profile, IGNORED, "is free text")
    if profile.kind == TEXT and profile.num_distinct > _MOST_LISTED and not profile.has_few_values:
        count = f"more than {MOST_DISTINCT}" if profile.has_more_values else str(profile.num_distinct)
        return Decision(profile, IGNORED, f"has {count} categories in {profile.num_rows} rows: most are too rare")
    if renames(profile, label):
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
        required(feature)
    if profile.kind == BOOLEAN:
        feature.type = schema_pb2.INT
        feature.bool_domain.SetInParent()
        return Decision(profile, CATEGORICAL, "true or false", feature)
    if profile.kind == TEXT:
        return _text_feature(profile, feature)
    if profile.kind == WHOLE and _CODE_NAME.search(profile.name) and profile.has_few_values:
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
    return Decision(profile, CATEGORICAL, f"{count} categories, found by a pass over the data", feature)


def _id(profile: Profile) -> schema_pb2.Feature:
    feature = schema_pb2.Feature(name=profile.name, type=schema_pb2.BYTES)
    feature.presence.min_count = 0
    feature.value_count.min = feature.value_count.max = 1
    feature.annotation.tag.append(ID_TAG)
    feature.type = {WHOLE: schema_pb2.INT, NUMBER: schema_pb2.FLOAT}.get(profile.kind, schema_pb2.BYTES)
    return feature


def _mean_length(profile: Profile) -> float:
    return sum(map(len, profile.counts)) / max(1, profile.num_distinct)
