"""What the infra check found, and its words. Runs in InfraValidator's process and wherever its artifact is read."""

import dataclasses
import json
import posixpath
from dataclasses import dataclass, field

import numpy as np

from components.infra_validator.loader import Array
from components.model_manifest import open_file

REPORT_FILE = "infra_validation.json"  # in the output `blessing`


@dataclass
class InfraReport:
    """Findings of one check.

    Attributes:
        reasons: Why the model must not be served; none means that it may.
        model_digest: Of the manifest of the model that was checked.
        num_rows: Real eval rows that were run.
        largest_differences: Largest difference to what the trained model gave (`largest_difference`), by what was
            compared: `serving_default logits`.
        latency_millis: `p50` and `p99` of a request, by signature and batch: `serving_default x1`.
        load_secs: Time to load the model.
        peak_rss_mib: The most memory that the loader's process has held.
        model_server: The `tensorflow_model_server` that was tried as well; empty where there is none.
    """

    reasons: list[str] = field(default_factory=list)
    model_digest: str = ""
    num_rows: int = 0
    largest_differences: dict[str, float] = field(default_factory=dict)
    latency_millis: dict[str, dict[str, float]] = field(default_factory=dict)
    load_secs: float = 0.0
    peak_rss_mib: float = 0.0
    model_server: str = ""

    def __str__(self) -> str:
        """Returns the figures in a line."""
        if not self.latency_millis:
            return "the model was not run"
        latency = self.latency_millis.get("serving_default x1", {"p50": 0.0, "p99": 0.0})
        server = f" and {self.model_server}" * bool(self.model_server)
        return (
            f"C++ loader{server}: within {max(self.largest_differences.values(), default=0):.1e} of the Trainer's "
            f"logits on {self.num_rows} rows; one row p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms; "
            f"load {self.load_secs:.2f} s, {self.peak_rss_mib:.0f} MiB"
        )

    def write(self, blessing_dir: str) -> None:
        """Writes the report as JSON into an artifact."""
        with open_file(posixpath.join(blessing_dir, REPORT_FILE), "w") as file:
            file.write(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def largest_difference(found: Array, expected: Array) -> float:
    """Returns the largest difference of two arrays, absolute up to 1 and relative beyond, as float32 is precise."""
    return float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())


def load_report(blessing_dir: str) -> InfraReport:
    """Reads the report of an artifact `blessing` of InfraValidator."""
    with open_file(posixpath.join(blessing_dir, REPORT_FILE), "r") as file:
        return InfraReport(**json.loads(file.read()))
