"""The part of `facts.json` that tells of the rows. Imports neither TensorFlow nor TFX."""

from typing_extensions import TypedDict


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

    severity: str  # fail or warn
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
