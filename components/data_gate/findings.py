"""What DataGate finds, and how severe it is. Runs in DataGate's process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAIL, WARN, IGNORE = "fail", "warn", "ignore"


@dataclass(frozen=True)
class Finding:
    """One reason to look at the data.

    Attributes:
        severity: `fail`, `warn` or `ignore`.
        split: Where it was found; empty for what is not in a split.
        feature: Of which feature; empty for what is of whole rows.
        anomaly: TFDV's name of it (`anomalies_pb2.AnomalyInfo.Type`), or the key of the config that it offends.
        sentence: What a user reads, in one line.
        value: The value in question, where there is one.
        count: Rows that have it; None where the statistics do not tell.
        share: The same as a share of the split's rows.
        at_least: Whether `count` is a lower bound.
    """

    severity: str
    split: str
    feature: str
    anomaly: str
    sentence: str
    value: float | str | None = None
    count: int | None = None
    share: float | None = None
    at_least: bool = False


def anomaly_severity(settings: Mapping[str, Any], *, feature: str, anomaly: str, split: str) -> str:
    """Returns the severity of the last rule that names the anomaly, or of all others.

    Args:
        settings: Of DataGate: `severity`, and `rules` with `severity` and any of `feature`, `anomaly` and `split`.
        feature: Name of the feature.
        anomaly: TFDV's name of the anomaly.
        split: Name of the split.
    """
    found = {"feature": feature, "anomaly": anomaly, "split": split}
    severity = settings["severity"]
    for rule in settings["rules"]:
        if all(rule.get(key) in (None, value) for key, value in found.items()):
            severity = rule["severity"]
    return severity


def rows_text(count: int, num_rows: int, *, at_least: bool = False) -> str:
    """Returns a number of rows in words: `at least 3 of 676 rows (0.44%)`."""
    return f"{'at least ' * at_least}{count} of {num_rows} rows ({count / num_rows:.2%})"
