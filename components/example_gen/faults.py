"""What is wrong with the cells of files, counted and with a few examples of each. Runs on Beam workers.

Imports neither TensorFlow, TFX nor Beam.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_EXAMPLES = 5
_LONGEST_VALUE = 40
Key = tuple[str, str]  # column, empty for the whole row; reason


@dataclass
class Faults:
    """Faults of one file.

    Attributes:
        counts: How many cells have each fault.
        examples: The record (counted from 0) and the value of the first few.
    """

    counts: dict[Key, int] = field(default_factory=dict)
    examples: dict[Key, list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, column: str, reason: str, found: Sequence[tuple[int, str]], count: int | None = None) -> None:
        """Adds faults: record and value of at least the first few of `count`, or of all."""
        key = column, reason
        self.counts[key] = self.counts.get(key, 0) + (len(found) if count is None else count)
        examples = self.examples.setdefault(key, [])
        examples += found[: MOST_EXAMPLES - len(examples)]

    @property
    def records(self) -> list[int]:
        """The records of all examples."""
        return [record for examples in self.examples.values() for record, _ in examples]

    def sentences(self, file: str, places: Mapping[int, str]) -> Iterator[str]:
        """Yields a sentence for each example, and one for how many more there are.

        Args:
            file: Name of the file.
            places: Where each record is.
        """
        for (column, reason), count in self.counts.items():
            examples = self.examples[column, reason]
            for record, value in examples:
                yield f"{places[record]}: {_subject(column, value)}{reason}."
            if count > len(examples):
                where = f" in column '{column}'" if column else ""
                yield f"{file}: {count - len(examples)} more{where}: {reason}."


def shown(value: Any) -> str:
    """Returns a cell as a message shows it."""
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return repr(text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "...")


def _subject(column: str, value: str) -> str:
    return f"column '{column}' {value + ' ' if value else ''}" if column else f"{value} " if value else ""
