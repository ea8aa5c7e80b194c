"""Writes and reads `verdict.json`, beside the blessing. Runs where Evaluator and Pusher do, and in `sluice run`."""

import posixpath

from components.evaluator.verdict import VERDICT_FILE, Verdict, parse_verdict, verdict_text
from components.model_manifest import open_file


def write_verdict(verdict: Verdict, blessing_dir: str) -> None:
    """Writes a verdict into the artifact `blessing`."""
    with open_file(posixpath.join(blessing_dir, VERDICT_FILE), "wb") as file:
        file.write(verdict_text(verdict).encode())


def load_verdict(blessing_dir: str) -> Verdict:
    """Reads the verdict of the artifact `blessing`."""
    with open_file(posixpath.join(blessing_dir, VERDICT_FILE), "rb") as file:
        return parse_verdict(file.read())
