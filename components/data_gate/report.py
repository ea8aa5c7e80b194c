"""The report of DataGate, `gate.json`. Runs in DataGate's process and in `sluice run`; imports no TensorFlow."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass
class GateReport:
    """All that DataGate found.

    Attributes:
        splits: By name.
        findings: In the order in which they are told.
    """

    splits: dict[str, SplitCounts] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def sentences(self, severity: str) -> list[str]:
        """Returns what there is to say of one severity, a line each: names and values may hold line ends."""
        return [" ".join(each.sentence.split()) for each in self.findings if each.severity == severity]

    def to_json(self) -> str:
        """Returns the text of `gate.json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"
