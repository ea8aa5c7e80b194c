"""Baseline: the version that is served now, from the push destination, for a candidate to be compared with."""

from dataclasses import dataclass

BASELINE_FILE = "baseline.json"  # in the output `model`; `components/baseline/served.py` reads it


@dataclass(frozen=True)
class Baseline:
    """What a candidate is compared with.

    Attributes:
        version: The version; None if there is none to compare with.
        digest: Of its model; empty if there is none.
        reason: Why there is none.
    """

    version: int | None = None
    digest: str = ""
    reason: str = ""
