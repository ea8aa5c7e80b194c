"""What a model must reach: metrics, the rules that hold them to bounds, and where these apply. Imports no TensorFlow.

Runs at compile time and in the Evaluator's process.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Metric:
    """What may be known of a metric before it is measured.

    Attributes:
        higher_is_better: Whether it is; else lower is.
        lowest: Its lowest possible value.
        highest: Its highest.
        is_of_a_class: Whether it is measured of one class, or of all and then averaged.
        denominator: Of which rows it is a share, so that a Wilson interval fits: all, those `predicted` as the class or
            those that are `actually` of it; empty if it is no share of rows.
    """

    higher_is_better: bool = True
    lowest: float = 0.0
    highest: float = 1.0
    is_of_a_class: bool = False
    denominator: str = ""


METRICS = {
    "accuracy": Metric(denominator="all"),
    "balanced_accuracy": Metric(),
    "loss": Metric(higher_is_better=False, highest=float("inf")),
    "auc": Metric(is_of_a_class=True),
    "precision": Metric(is_of_a_class=True, denominator="predicted"),
    "recall": Metric(is_of_a_class=True, denominator="actual"),
    "f1": Metric(is_of_a_class=True),
    "matthews_correlation": Metric(lowest=-1.0),
    "calibration_error": Metric(higher_is_better=False),
}
VALUE_BOUNDS = ("lower_bound", "upper_bound")
CHANGE_BOUNDS = ("absolute_change", "relative_change")
BOUNDS = (*VALUE_BOUNDS, *CHANGE_BOUNDS)
_BUCKETS = " in buckets "


@dataclass(frozen=True)
class Score:
    """A metric of this problem: of all classes, of one, or averaged over them.

    Attributes:
        metric: A key of `METRICS`.
        class_name: The class that it is of; empty if it is of all.
        average: `macro` (every class counts alike) or `weighted` (by its rows); empty if it is no average.
    """

    metric: str
    class_name: str = ""
    average: str = ""

    @property
    def name(self) -> str:
        """Its name in the artifacts, such as `f1_macro` or `recall_flush`."""
        return "_".join(filter(None, (self.metric, self.average, self.class_name)))

    def __str__(self) -> str:
        if self.class_name:
            return f"{self.metric} of {self.class_name}"
        return " ".join(filter(None, (self.average, self.metric)))


@dataclass(frozen=True)
class Slice:
    """Rows of the eval split by the value of a feature, or by the bucket that it falls into.

    Attributes:
        feature: Name of the raw feature; empty for the whole split.
        values: Those that are judged; empty for each that occurs.
        buckets: Edges between buckets, ascending, each the first value of the upper bucket; empty for single values.
    """

    feature: str = ""
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """The feature's name in TFMA's slice keys, from which `parse_key` reads the buckets."""
        edges = ", ".join(map(_shortest, self.buckets))
        return f"{self.feature}{_BUCKETS}{edges}" if self.buckets else self.feature

    def bucket(self, value: float) -> str:
        """Returns the name of the bucket that a value falls into; one that is no number falls into none."""
        if value != value:
            return ""
        below = [edge for edge in self.buckets if edge <= value]
        above = [edge for edge in self.buckets if edge > value]
        if not below:
            return f"< {_shortest(above[0])}"
        low = _shortest(below[-1])
        return f"{low} to {_shortest(above[0])}" if above else f">= {low}"


def _shortest(edge: float) -> str:
    """Returns the shortest text that is this number and no other."""
    return repr(float(edge)).removesuffix(".0")


def parse_key(key: str) -> Slice | None:
    """Returns the slice whose `key` has buckets, or None if it has none."""
    feature, separator, edges = key.rpartition(_BUCKETS)
    try:
        return Slice(feature, buckets=tuple(map(float, edges.split(", ")))) if separator else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Rule:
    """One bound that a model must hold.

    Attributes:
        score: What is measured.
        bound: One of `BOUNDS`. Changes are from the model that is served to the candidate, relative ones as a share.
        value: Of the bound.
        slice: Where it must hold: in each slice alone.
        min_rows: Rows that a slice must have to be judged.
        confidence: At which the whole interval must hold the bound, such as 0.95; None if the value alone decides.
    """

    score: Score
    bound: str
    value: float
    slice: Slice = field(default_factory=Slice)
    min_rows: int = 1
    confidence: float | None = None

    @property
    def name(self) -> str:
        """The parameter that holds its value, such as `accuracy_lower_bound` or `recall_flush_gate_lower_bound`."""
        words = (self.score.name, self.slice.feature, *self.slice.values, self.bound)
        text = "_".join(filter(None, words))
        # Names of classes and features may be in any script, those of a backend's parameters may not.
        return re.sub("[^0-9A-Za-z]+", "_", text if text.isascii() else f"{text}_{zlib.crc32(text.encode()):08x}")

    @property
    def comparison(self) -> str:
        """`>=` or `<=`: what the value must be to the bound."""
        if self.bound in CHANGE_BOUNDS:
            return ">=" if METRICS[self.score.metric].higher_is_better else "<="
        return ">=" if self.bound == "lower_bound" else "<="

    @property
    def is_change(self) -> bool:
        """Whether it compares the candidate with the model that is served."""
        return self.bound in CHANGE_BOUNDS

    @property
    def is_stock(self) -> bool:
        """Whether TFMA can hold it: it knows no least size of a slice, no list of values, and finds no weighted auc."""
        is_weighted_auc = (self.score.metric, self.score.average) == ("auc", "weighted")
        return self.min_rows <= 1 and not self.slice.values and not is_weighted_auc

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Rule":
        """Returns the rule of which `values` are the fields, as JSON has them."""
        part = values["slice"]
        where = Slice(part["feature"], tuple(part["values"]), tuple(part["buckets"]))
        return cls(**{**values, "score": Score(**values["score"]), "slice": where})
