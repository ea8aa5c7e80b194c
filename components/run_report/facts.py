"""What a report is made of, and nothing else: the content of `facts.json`, as JSON has it.

Imported where facts are collected, shown and compared; imports neither TensorFlow nor TFX. What a run does not have, as
one that was refused has no model, is None. A change that a reader of the file could trip over raises `FORMAT`.
"""

import json
from pathlib import Path
from typing import Any, TypedDict

FORMAT = 1


class ComponentFacts(TypedDict):
    """A component of a run."""

    component: str
    state: str  # done, cached or failed
    started_secs: float  # after the run began
    seconds: float
    rows: int | None
    artifact: str  # folder of its first output, under the root; empty if it has none


class RunFacts(TypedDict):
    """What only the one who runs a pipeline knows: of a compiled run it is not there."""

    run_id: str
    started: str  # ISO 8601, UTC
    seconds: float
    exit_code: int  # as of `sluice run`
    outcome: str  # pushed, nothing to do, model refused, data refused, infra refused, failed or interrupted
    verdict: str  # the last line on the terminal
    version: str  # which this run pushed or found pushed; empty if none
    serving: list[str]  # versions that are served after the run
    config_file: str
    config: str  # as YAML, without the webhook's address
    log_file: str
    tensorboard: str  # the command that shows the Trainer's logs; empty if there are none
    components: list[ComponentFacts]


class HistogramFacts(TypedDict):
    """Counts of numbers between edges, of which there is one more."""

    edges: list[float]
    counts: list[float]


class CountFacts(TypedDict):
    """How often a value occurs."""

    value: str
    count: float


class DriftFacts(TypedDict):
    """How far a feature's values are from those of the version that was served."""

    measure: str
    value: float | None
    threshold: float
    note: str


class FeatureFacts(TypedDict):
    """A column of the train split. What a kind has no word for is None or empty."""

    name: str
    kind: str  # numeric, categorical, label, id, weight or unused
    rows: int  # that have a value
    missing: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std_dev: float | None
    num_unique: int | None  # of text
    top: list[CountFacts]  # the most frequent values of text and of categories
    raw: HistogramFacts | None  # before Transform
    scaled: HistogramFacts | None  # after it, of the first rows (`DataFacts.scaled_rows`)
    drift: DriftFacts | None


class SplitFacts(TypedDict):
    """A split of the rows."""

    name: str
    rows: int
    classes: dict[str, int] | None  # rows of each class, by its name


class FindingFacts(TypedDict):
    """What DataGate found: `components/data_gate/findings.py`."""

    severity: str
    split: str
    feature: str
    sentence: str


class DataFacts(TypedDict):
    """The rows."""

    input: str  # how much was read, in words; empty if the stock ExampleGen read it
    warnings: list[str]
    splits: list[SplitFacts]
    features: list[FeatureFacts]
    scaled_rows: int  # of which `FeatureFacts.scaled` is
    findings: list[FindingFacts]
    drift_against: str  # with what they were compared; empty if with nothing
    drift_note: str
    skew_against: str
    skew: dict[str, DriftFacts]  # by feature


class StageFacts(TypedDict):
    """A step of the data flow."""

    stage: str  # its component
    enters: str  # shape, such as `1000 x 10`, and of what
    leaves: str
    observation: str  # computed of the numbers


class CellFacts(TypedDict):
    """A value of the row that is followed."""

    name: str
    text: str


class LayerOutputFacts(TypedDict):
    """What a layer of the served graph makes of the row."""

    name: str
    kind: str  # class of the layer, and its activation: `Dense + relu`
    numbers: list[float]


class RowFacts(TypedDict):
    """One real row on its way through the served graph."""

    chosen: str  # how it was chosen, in words
    raw: list[CellFacts]  # every column that the file has
    transformed: list[CellFacts]  # what the network takes, by feature
    transformed_numbers: dict[str, float]
    layers: list[LayerOutputFacts]  # in order, from the features that are concatenated to the logits
    logits: list[float]
    probabilities: list[float]
    classes: list[str]
    predicted: str
    label: str


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


class ChangeFacts(TypedDict):
    """Something that is not as in the version that was served before."""

    what: str
    before: str
    now: str


class CardFacts(TypedDict):
    """What the config says of the model's use."""

    description: str
    intended_use: list[str]
    limitations: list[str]
    owners: list[str]
    license: str


class DecisionFacts(TypedDict):
    """What an argument of `compile` decides."""

    argument: str  # optimizer, loss or metrics
    in_force: str
    decides: str
    otherwise: list[str]  # what another choice would change


class QuestionFacts(TypedDict):
    """A question about this run's numbers."""

    question: str
    answer: str


class LessonFacts(TypedDict):
    """What compile decided."""

    decisions: list[DecisionFacts]
    questions: list[QuestionFacts]


class Facts(TypedDict):
    """A run."""

    format: int
    pipeline: str
    versions: dict[str, str]  # of Python and the libraries that matter
    digests: dict[str, str]  # of the data, the schema, the code, the model
    artifacts: dict[str, str]  # folder of each artifact that there is
    run: RunFacts | None
    flow: list[StageFacts]
    data: DataFacts | None
    row: RowFacts | None
    model: ModelFacts | None
    training: TrainingFacts | None
    evaluation: EvaluationFacts | None
    infra: InfraFacts | None
    changes: list[ChangeFacts]  # since the version that was served; empty too if none was
    card: CardFacts | None
    lesson: LessonFacts | None
    problems: list[str]  # what could not be read, and why


def empty_facts(pipeline: str) -> Facts:
    """Returns the facts of a run of which nothing is known but its pipeline's name."""
    return {
        "format": FORMAT,
        "pipeline": pipeline,
        "versions": {},
        "digests": {},
        "artifacts": {},
        "run": None,
        "flow": [],
        "data": None,
        "row": None,
        "model": None,
        "training": None,
        "evaluation": None,
        "infra": None,
        "changes": [],
        "card": None,
        "lesson": None,
        "problems": [],
    }


def facts_text(facts: Facts) -> str:
    """Returns the content of `facts.json`.

    Raises:
        ValueError: If a number is not finite; JSON has no word for it, and the field is None then.
    """
    return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_facts(file: Path) -> Facts:
    """Reads `facts.json`.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON, or of another format.
    """
    facts: Facts = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ValueError(f"{file} is not of format {FORMAT}; another version of Sluice wrote it.")
    return facts
