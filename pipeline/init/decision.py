"""What becomes of a column. Runs in `sluice init`."""

from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.init.profiles import Profile

LABEL, WEIGHT, ID, NUMERIC, CATEGORICAL, IGNORED = "label", "weight", "id", "numeric", "categorical", "left out"


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


def required(feature: schema_pb2.Feature) -> schema_pb2.Feature:
    """Makes a feature one that every row must have."""
    feature.presence.min_fraction, feature.presence.min_count = 1.0, 1
    feature.shape.dim.add(size=1)
    return feature


def short(text: str) -> str:
    """Returns a value as it is shown."""
    return repr(text if len(text) <= 30 else text[:30] + "...")
