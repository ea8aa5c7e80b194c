"""What ExampleGen read, in numbers: `input.json` beside the examples. Imports neither TensorFlow, TFX nor Beam."""

import dataclasses
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.model_manifest import open_file

REPORT_FILE = "input.json"
QUARANTINE_FILE = "quarantine.jsonl"


@dataclass(frozen=True)
class InputReport:
    """What was read.

    Attributes:
        num_files: Files.
        rows: Rows of each split.
        num_quarantined: Rows with faults, which are left out.
        duplicate_rows: Rows that are equal to an earlier one in every column; they stay.
        duplicate_row_examples: Where some of them are.
        ids: The columns that identify a row.
        duplicate_ids: Rows whose ids an earlier one has; they stay.
        duplicate_id_examples: Where some of them are.
        notes: What is unusual but allowed.
        digest: Of all rows, the same for the same rows in whatever files, format and order.
    """

    num_files: int
    rows: dict[str, int]
    num_quarantined: int
    duplicate_rows: int
    duplicate_row_examples: tuple[str, ...]
    ids: tuple[str, ...]
    duplicate_ids: int
    duplicate_id_examples: tuple[str, ...]
    notes: tuple[str, ...]
    digest: str = ""

    def __str__(self) -> str:
        total = sum(self.rows.values())
        of_splits = ", ".join(f"{name} {count}" for name, count in self.rows.items())
        return f"{_count(self.num_files, 'file')}, {_count(total, 'row')} ({of_splits})"

    def warnings(self) -> Iterator[str]:
        """Yields a sentence for each thing that a user should know."""
        total = sum(self.rows.values())
        if self.num_quarantined:
            share = self.num_quarantined / (total + self.num_quarantined)
            yield f"{_count(self.num_quarantined, 'row')} with faults left out ({share:.2%})"
        if self.duplicate_rows:
            yield _told(f"{_count(self.duplicate_rows, 'duplicate row')}", self.duplicate_row_examples)
        if self.duplicate_ids:
            ids = " and ".join(self.ids)
            yield _told(f"{_count(self.duplicate_ids, 'row')} with the {ids} of another", self.duplicate_id_examples)
        yield from self.notes


def write_report(report: InputReport, examples_dir: str) -> None:
    """Writes `input.json` into the artifact `examples`."""
    with open_file(posixpath.join(examples_dir, REPORT_FILE), "wb") as file:
        file.write((json.dumps(dataclasses.asdict(report), indent=1) + "\n").encode())


def load_report(examples_dir: str) -> InputReport:
    """Reads `input.json` of the artifact `examples`.

    Raises:
        OSError: If there is none; the stock CsvExampleGen writes none.
    """
    with open_file(posixpath.join(examples_dir, REPORT_FILE), "rb") as file:
        values = json.loads(file.read())
    fields: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return InputReport(**fields)


def _told(count: str, examples: tuple[str, ...]) -> str:
    return f"{count} (such as: {'; '.join(examples[:2])})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
