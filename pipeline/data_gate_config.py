"""The config of DataGate. Runs at compile time; imports neither TensorFlow nor TFX."""

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from components.data_gate import DEFAULT_THRESHOLD
from pipeline.config_errors import choices
from pipeline.config_file import Count, Number, Section, absolute_path

Distance = Annotated[Number, Field(ge=0, le=1)]
Severity = Literal["fail", "warn", "ignore"]
# A comparison with other data has a severity of its own.
_ANOMALIES = [
    name for name in anomalies_pb2.AnomalyInfo.Type.DESCRIPTOR.values_by_name if not name.startswith("COMPARATOR_")
]


def _existing_or_remote_file(path: str) -> str:
    if "://" not in path and not os.path.isfile(path):
        raise ValueError(f"there is no local file {path}.")
    return path


def _known_anomaly(name: str) -> str:
    if name not in _ANOMALIES:
        raise ValueError(f"'{name}' is not an anomaly. {_expected(name.upper(), _ANOMALIES)}")
    return name


def _expected(name: str, names: Sequence[str]) -> str:
    return choices(name, names).strip()  # in the line of the problem, as there may be others


class RuleConfig(Section):
    """Which anomalies have a severity of their own."""

    feature: str | None = Field(None, description="Of which feature; null means any.")
    anomaly: Annotated[str, AfterValidator(_known_anomaly)] | None = Field(
        None, description="TFDV's name of the anomaly; null means any."
    )
    split: Literal["train", "eval", "test"] | None = Field(None, description="In which split; null means any.")
    severity: Severity = Field(description="What comes of them.")

    @model_validator(mode="after")
    def _names_something(self) -> "RuleConfig":
        if self.feature is None and self.anomaly is None:
            raise ValueError("names no anomaly. Give feature, anomaly or both.")
        return self


class MinRowsConfig(Section):
    """Fewest rows of each split."""

    train: Count = Field(1, ge=1, description="Of the split that is trained on.")
    eval: Count = Field(1, ge=1, description="Of the split that validates, and decides if there is no `test`.")
    test: Count = Field(1, ge=1, description="Of the split that decides, if there is one.")


class MinRowsPerClassConfig(Section):
    """Fewest rows of each class in each split; 0 checks nothing."""

    train: Count = Field(1, ge=0, description="Of the split that is trained on.")
    eval: Count = Field(0, ge=0, description="Of the split that validates, and decides if there is no `test`.")
    test: Count = Field(0, ge=0, description="Of the split that decides, if there is one.")


class DriftConfig(Section):
    """The rows to train on against those of the version that is served."""

    severity: Severity = Field("warn", description="Of a distance beyond its threshold; `ignore` measures none.")
    threshold: Distance = Field(
        DEFAULT_THRESHOLD, description="Largest distance that passes: Jensen-Shannon divergence or L-infinity norm."
    )
    thresholds: dict[str, Distance] = Field({}, description="Of some features, by name.")


class SkewConfig(DriftConfig):
    """The rows to train on against logged requests."""

    requests: Annotated[str, BeforeValidator(absolute_path), AfterValidator(_existing_or_remote_file)] = Field(
        description="File of them: TFRecord of PredictionLog, .jsonl of REST bodies, or .csv."
    )


class DataGateConfig(Section):
    """What data must be like to be trained on."""

    severity: Severity = Field("fail", description="Of every anomaly that no rule names.")
    rules: tuple[RuleConfig, ...] = Field(
        (), description="Severities of some anomalies; the last that names one decides."
    )
    min_rows: MinRowsConfig = Field(MinRowsConfig(), description="Fewest rows of each split.")
    min_rows_per_class: MinRowsPerClassConfig = Field(
        MinRowsPerClassConfig(), description="Fewest rows of each class in each split; 0 checks nothing."
    )

    drift: DriftConfig | None = Field(DriftConfig(), description="Comparison with what is served; null for none.")
    skew: SkewConfig | None = Field(None, description="Comparison with logged requests; null for none.")

    def check(self, schema: schema_pb2.Schema, label_key: str) -> None:
        """Raises ValueError, with a line for each problem, if the schema has not what the section names."""
        features = {feature.name: feature for feature in schema.feature}
        named = {f"rules[{index}].feature": rule.feature for index, rule in enumerate(self.rules) if rule.feature}
        for section, comparison in (("drift", self.drift), ("skew", self.skew)):
            named |= {f"{section}.thresholds.{name}": name for name in (comparison.thresholds if comparison else ())}
        problems = [
            f"{key}: '{name}' is not a feature of the schema. {_expected(name, list(features))}"
            for key, name in named.items()
            if name not in features
        ]
        lowest = self.min_rows_per_class
        label = features.get(label_key)
        is_counted = label and (label.int_domain.is_categorical or label.type == schema_pb2.BYTES)
        if label and max(lowest.train, lowest.eval, lowest.test) and not is_counted:
            problems.append(
                f"min_rows_per_class: the rows of a class are counted only if the label '{label_key}' has "
                "is_categorical: true in its int_domain of the schema; else set {train: 0, eval: 0, test: 0}."
            )
        if problems:
            raise ValueError("\n".join(problems))

    def settings(self, label_key: str) -> dict[str, Any]:
        """Returns what DataGate reads, as JSON values."""
        settings = self.model_dump(mode="json", exclude={"skew": {"requests"}})  # which is a parameter
        return {**settings, "label": label_key}
