"""The report of DataGate, `gate.json`. Runs in DataGate's process."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.data_gate.distances import Distance
from components.data_gate.findings import Finding


@dataclass(frozen=True)
class SplitCounts:
    """How much there is of a split.

    Attributes:
        rows: Its rows.
        classes: Rows of each class by its name; None if the statistics do not count them.
    """

    rows: int
    classes: dict[str, int] | None = None


@dataclass(frozen=True)
class Comparison:
    """The rows to train on beside others.

    Attributes:
        against: With what they were compared; empty if there is nothing.
        note: Why nothing was compared.
        severity: Of a distance beyond its threshold.
        distances: Of each feature, the largest first.
    """

    against: str
    note: str
    severity: str
    distances: Sequence[Distance] = ()


@dataclass
class GateReport:
    """All that DataGate found.

    Attributes:
        splits: By name.
        findings: In the order in which they are told.
        drift: With the rows of the version that is served; None if it is turned off.
        skew: With logged requests; None if there are none to compare with.
    """

    splits: dict[str, SplitCounts] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    drift: Comparison | None = None
    skew: Comparison | None = None

    def sentences(self, severity: str) -> list[str]:
        """Returns what there is to say of one severity, a line each: names and values may hold line ends."""
        return [" ".join(each.sentence.split()) for each in self.findings if each.severity == severity]

    def to_json(self) -> str:
        """Returns the text of `gate.json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"
