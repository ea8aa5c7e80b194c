"""The section of the config that says what a model must reach. Imports neither TensorFlow nor TFX."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from tensorflow_metadata.proto.v0 import schema_pb2

from components.evaluator.rules import BOUNDS, CHANGE_BOUNDS, METRICS, VALUE_BOUNDS, Rule, Score, Slice
from pipeline.config_file import Count, Executor, Number, Section, as_text

GateMetric = Literal[
    "accuracy", "balanced_accuracy", "loss", "auc", "precision", "recall", "f1", "matthews_correlation",
    "calibration_error",
]  # fmt: skip
_TYPE_NAMES = schema_pb2.FeatureType.Name


class SliceConfig(Section):
    """Rows by the value of a feature, in each of which a bound must hold."""

    feature: str = Field(min_length=1, description="Name of the feature in the schema; the label is one.")
    values: tuple[Annotated[str, BeforeValidator(as_text)], ...] = Field(
        (), description="Those that are judged; [] judges each that occurs."
    )
    buckets: tuple[Number, ...] = Field(
        (), description="Edges between buckets of a numeric feature, ascending: [10, 20] makes three."
    )

    @model_validator(mode="after")
    def _is_of_values_or_buckets(self) -> "SliceConfig":
        if self.values and self.buckets:
            raise ValueError("has values and buckets. Give one of them.")
        if sorted(set(self.buckets)) != list(self.buckets):
            raise ValueError(f"buckets must ascend. Received: {', '.join(f'{edge:g}' for edge in self.buckets)}.")
        if len(set(self.values)) < len(self.values):
            raise ValueError("names a value twice.")
        return self


class ThresholdConfig(Section):
    """Bounds on one metric, over the eval split or in each slice of it."""

    metric: GateMetric = Field(description="What is measured; loss is the cross-entropy, in nats.")
    class_name: str | None = Field(None, description="The class that it is of: precision, recall, f1 and auc.")
    average: Literal["macro", "weighted"] | None = Field(
        None, description="Or their average over the classes: each counts alike, or by its rows."
    )
    slice: SliceConfig | None = Field(None, description="Where it must hold, slice by slice; null is the whole split.")
    min_rows: Count = Field(30, ge=1, description="A slice with fewer rows is not judged, which is said.")
    lower_bound: Number | None = Field(None, description="The lowest value that passes.")
    upper_bound: Number | None = Field(None, description="The highest value that passes.")
    absolute_change: Number | None = Field(
        None, description="The worst change from the served version that passes: -0.01 of accuracy, 0.01 of loss."
    )
    relative_change: Number | None = Field(None, description="The same as a share of the served version's value.")
    confidence: Annotated[Number, Field(ge=0.5, lt=1)] | None = Field(
        None, description="At which the bounds must hold, such as 0.95; null looks at the value alone."
    )

    @model_validator(mode="after")
    def _is_of_a_class_or_of_all(self) -> "ThresholdConfig":
        given = [name for name in ("class_name", "average") if getattr(self, name)]
        if not METRICS[self.metric].is_of_a_class and given:
            raise ValueError(f"{self.metric} is of all classes; leave out {' and '.join(given)}.")
        if METRICS[self.metric].is_of_a_class and len(given) != 1:
            raise ValueError(f"{self.metric} is of one class or an average of all. Give class_name or average.")
        return self

    @model_validator(mode="after")
    def _has_bounds_that_can_be_met(self) -> "ThresholdConfig":
        if all(getattr(self, bound) is None for bound in BOUNDS):
            raise ValueError(f"has no bound. Give {', '.join(BOUNDS[:-1])} or {BOUNDS[-1]}.")
        if self.lower_bound is not None and self.upper_bound is not None and self.lower_bound > self.upper_bound:
            raise ValueError("nothing passes: lower_bound is above upper_bound.")
        metric = METRICS[self.metric]
        for bound in VALUE_BOUNDS:
            value = getattr(self, bound)
            if value is not None and not metric.lowest <= value <= metric.highest:
                raise ValueError(
                    f"{self.metric} lies between {metric.lowest:g} and {metric.highest:g}; the bound is {value:g}."
                )
        if "min_rows" in self.model_fields_set and not self.slice:
            raise ValueError("min_rows is of slices; data_gate.min_rows is of the whole split.")
        return self

    def rules(self) -> list[Rule]:
        """Returns a rule for each bound."""
        where = self.slice or SliceConfig.model_construct(feature="", values=(), buckets=())
        return [
            Rule(
                Score(self.metric, self.class_name or "", self.average or ""),
                bound,
                getattr(self, bound),
                Slice(where.feature, where.values, where.buckets),
                self.min_rows if self.slice else 1,
                self.confidence,
            )
            for bound in BOUNDS
            if getattr(self, bound) is not None
        ]


class EvaluatorConfig(Section):
    """What a model must reach to be pushed."""

    executor: Executor = Field("columnar", description="Measures in memory; or `stock`, TFMA on Beam, row by row.")
    baseline: Literal["served", "none"] = Field(
        "served", description="With which a candidate is compared: the version that is served, or nothing."
    )
    thresholds: tuple[ThresholdConfig, ...] = Field(min_length=1, description="Bounds that must all hold.")

    @model_validator(mode="after")
    def _rules_are_distinct_and_decide(self) -> "EvaluatorConfig":
        rules = self.rules()
        names = [rule.name for rule in rules]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"thresholds set {', '.join(repeated)} more than once. Keep one of each.")
        if self.baseline == "none" and any(rule.is_change for rule in rules):
            raise ValueError(f"baseline is none, with which {' and '.join(CHANGE_BOUNDS)} have nothing to compare.")
        if all(rule.is_change or rule.slice.feature for rule in rules):
            raise ValueError(
                "nothing decides on a first run: no threshold has a lower_bound or upper_bound on the whole split."
            )
        return self

    def rules(self) -> list[Rule]:
        """Returns every rule, in the order of the thresholds."""
        return [rule for threshold in self.thresholds for rule in threshold.rules()]

    def bounds(self) -> dict[str, float]:
        """Returns the value of every rule by its name, such as `accuracy_lower_bound`."""
        return {rule.name: rule.value for rule in self.rules()}


def check_rules(rules: Sequence[Rule], schema: schema_pb2.Schema, class_names: Sequence[str]) -> None:
    """Checks that rules speak of classes and features that exist.

    Raises:
        ValueError: If one does not; the message lists every problem.
    """
    features = {feature.name: feature for feature in schema.feature}
    problems = dict.fromkeys(
        f"thresholds: '{rule.score.class_name}' is no class. Expected one of: {', '.join(class_names)}."
        for rule in rules
        if rule.score.class_name and rule.score.class_name not in class_names
    )
    for rule in rules:
        if not rule.slice.feature:
            continue
        feature = features.get(rule.slice.feature)
        if feature is None:
            problem = f"'{rule.slice.feature}' is no feature of the schema. Expected one of: {', '.join(features)}."
        elif feature.type == schema_pb2.FLOAT and not rule.slice.buckets:
            problem = f"'{feature.name}' is FLOAT, of which each value would be a slice. Give buckets."
        elif feature.type == schema_pb2.INT and not all(map(_is_whole, rule.slice.values)):
            problem = f"'{feature.name}' is INT, of which {', '.join(rule.slice.values)} are not all values."
        elif feature.type == schema_pb2.BYTES and rule.slice.buckets:
            problem = f"'{feature.name}' is {_TYPE_NAMES(feature.type)}; only numbers fall into buckets."
        else:
            continue
        problems[f"thresholds: slice.feature: {problem}"] = None
    if problems:
        raise ValueError("\n".join(problems))


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and str(int(text)) == text
