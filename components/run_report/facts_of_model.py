"""The part of `facts.json` that tells of the model, how it was trained and how good it is. Imports no TensorFlow."""

from typing import Any

from typing_extensions import TypedDict


class LayerFacts(TypedDict):
    """A layer of the network."""

    name: str
    kind: str
    shape: str  # of its output
    parameters: int
    activation: str


class ModelFacts(TypedDict):
    """The network as it was built and compiled."""

    layers: list[LayerFacts]
    parameters: int
    optimizer: str  # class
    optimizer_settings: dict[str, Any]
    loss: str  # class or function
    from_logits: bool | None  # None if the loss has no such argument
    metrics: list[str]
    bytes: int | None  # of the exported model
    digest: str  # of its manifest
    code_digest: str
    schema_digest: str


class EpochFacts(TypedDict):
    """An epoch."""

    epoch: int
    seconds: float
    figures: dict[str, float]  # by the names that Keras logs
    kept: bool | None  # whether its weights are; None if those of the last epoch are
    published: dict[str, float]  # loss and accuracy of an earlier trace
    observation: str  # computed of the numbers


class TrainingFacts(TypedDict):
    """The training."""

    epochs: list[EpochFacts]
    summary: str
    rows: int | None
    steps_per_epoch: int | None
    tuned: str  # hyperparameters that tuning found, in words; empty if none did
    start: str  # where training started; empty if from new weights as ever


class MetricFacts(TypedDict):
    """A metric over the whole split that decides."""

    name: str
    candidate: float | None
    baseline: float | None
    interval: list[float] | None  # of the candidate, at 95 % or at the rule's confidence


class RuleFacts(TypedDict):
    """A rule and how the candidate stood to it."""

    rule: str
    where: str  # slice, in words; empty for the whole split
    state: str  # held, broken or not judged
    sentence: str
    value: float | None
    interval: list[float] | None
    confidence: float | None
    bound: str  # `>= 0.9`, `change >= -0.02`
    baseline: float | None
    rows: int


class ClassFacts(TypedDict):
    """Scores of a class by the confusion matrix, with Wilson's interval at 95 % where rows count alike."""

    name: str
    rows: float
    precision: float | None
    recall: float | None
    f1: float | None
    recall_interval: list[float] | None
    precision_interval: list[float] | None


class SliceFacts(TypedDict):
    """A slice of the split that decides."""

    slice: str  # in words
    rows: int
    accuracy: float | None
    interval: list[float] | None
    loss: float | None
    baseline_accuracy: float | None


class CalibrationBinFacts(TypedDict):
    """Rows whose highest probability lies in a bin."""

    confidence: float  # mean
    accuracy: float
    rows: float


class EvaluationFacts(TypedDict):
    """What the Evaluator measured and decided."""

    blessed: bool
    sentence: str
    notes: list[str]
    split: str
    rows: int
    weight: str
    rules: list[RuleFacts]
    metrics: list[MetricFacts]
    classes: list[str]
    confusion: list[list[float]] | None  # row: the label, column: the prediction
    per_class: list[ClassFacts]
    slices: list[SliceFacts]
    calibration: list[CalibrationBinFacts]
    calibration_error: float | None
    baseline_version: int | None


class InfraFacts(TypedDict):
    """What InfraValidator found: `components/infra_validator/report.py`."""

    reasons: list[str]
    sentence: str
    rows: int
    largest_differences: dict[str, float]
    latency_millis: dict[str, dict[str, float]]
    load_secs: float
    peak_rss_mib: float
