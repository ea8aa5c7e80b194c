"""Counts the rows of a split, and of each class in it. Runs in DataGate's process."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from components.data_gate.findings import FAIL, Finding, rows_text

_VALUES: dict[int, Callable[[Sequence[str]], Iterable[str]]] = {  # of a label, by its type, as TFDV writes them
    statistics_pb2.FeatureNameStatistics.INT: lambda class_names: map(str, range(len(class_names))),
    statistics_pb2.FeatureNameStatistics.STRING: iter,
    statistics_pb2.FeatureNameStatistics.BYTES: iter,
}


def class_counts(
    statistics: statistics_pb2.DatasetFeatureStatistics, label: str, class_names: Sequence[str]
) -> list[int] | None:
    """Returns the rows of each class; None if the statistics do not count every value of the label.

    They do where the schema calls the label categorical and it has at most a thousand values.

    Args:
        statistics: Of the split.
        label: Name of the label.
        class_names: By label value; they are the values themselves if the label is text.
    """
    if not statistics.num_examples:
        return [0] * len(class_names)
    feature = next((f for f in statistics.features if list(f.path.step) == [label]), None)
    if feature is None or feature.type not in _VALUES:
        return None
    buckets = feature.string_stats.rank_histogram.buckets
    if not buckets or feature.string_stats.unique > len(buckets):
        return None
    counts = {bucket.label: int(bucket.sample_count) for bucket in buckets}
    return [counts.get(value, 0) for value in _VALUES[feature.type](class_names)]


def find_too_few(
    num_rows: int, counts: Sequence[int] | None, *, class_names: Sequence[str], split: str, settings: Mapping[str, Any]
) -> list[Finding]:
    """Returns a finding for a split with too few rows, and for each of its classes with too few.

    Args:
        num_rows: Of the split.
        counts: Rows of each class; None if they are not known.
        class_names: Name of each class.
        split: Name of the split.
        settings: Of DataGate, with `min_rows` and `min_rows_per_class` of each split.
    """
    lowest = settings["min_rows"].get(split, 1)
    if not num_rows:
        return [Finding(FAIL, split, "", "min_rows", f"there are no rows in the {split} split", count=0)]
    found = []
    if num_rows < lowest:
        sentence = f"there are {num_rows} rows in the {split} split, fewer than data_gate.min_rows.{split}: {lowest}"
        found.append(Finding(FAIL, split, "", "min_rows", sentence, count=num_rows))
    lowest = settings["min_rows_per_class"].get(split, 0)
    key = f"data_gate.min_rows_per_class.{split}: {lowest}"
    for value, (name, count) in enumerate(zip(class_names, counts or (), strict=False)):
        if count < lowest:
            sentence = (
                f"'{settings['label']}' in the {split} split: {rows_text(count, num_rows)} of class '{name}' "
                f"({value}), fewer than {key}"
            )
            found.append(
                Finding(FAIL, split, settings["label"], "min_rows_per_class", sentence, value, count, count / num_rows)
            )
    return found
