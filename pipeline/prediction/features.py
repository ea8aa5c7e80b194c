"""Turns the columns of a table into the features that the schema describes, and says which cells are none.

Runs in the process of `sluice predict`. Imports neither TensorFlow nor TFX.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.prediction.tables import MOST_EXAMPLES, InputError, Table
from schema import categories, is_categorical, is_required

Array = npt.NDArray[Any]


@dataclass
class _Findings:
    """What is wrong with the cells of a feature: how many, the first few by row, and how many are outlandish."""

    num_wrong: int = 0
    examples: dict[int, str] = field(default_factory=dict)
    num_outside: int = 0


def parse_features(table: pa.Table, features: Sequence[schema_pb2.Feature]) -> dict[str, Array]:
    """Returns the values of each feature, `[num_rows, 1]`, of a table that `check_cells` passed.

    They are what `serving_features` takes: float32, int64 or text; of a feature that may be missing, float32, float64
    or text, with NaN or "" where it is.

    Raises:
        InputError: If a cell is wrong; the file has changed in the meantime.
    """
    columns = {}
    for feature in features:
        values, wrong = _parse(table[feature.name], feature)
        if wrong:
            raise InputError(
                f"{feature.name}: {next(iter(wrong.values()))}. The file has changed since it was checked."
            )
        columns[feature.name] = values[:, np.newaxis]
    return columns


def check_cells(table: Table, features: Sequence[schema_pb2.Feature]) -> tuple[int, list[str]]:
    """Reads a whole table, so that a long prediction does not fail near its end.

    Args:
        table: Has a column for every feature.
        features: What the model takes.

    Returns:
        The number of rows, and a warning for each feature with values outside its domain in the schema; those are
        predicted all the same.

    Raises:
        InputError: If a cell is empty that may not be, is no number, or is a NaN or an infinity that the schema
            forbids; the first few of each feature.
    """
    findings = {feature.name: _Findings() for feature in features}
    num_rows = 0
    for batch in table.batches(list(findings)):
        for feature in features:
            values, wrong = _parse(pa.chunked_array([batch[feature.name]]), feature)
            found = findings[feature.name]
            found.num_wrong += len(wrong)
            for row in sorted(wrong)[: MOST_EXAMPLES - len(found.examples)]:
                found.examples[num_rows + row] = wrong[row]
            found.num_outside += _num_outside(values, feature)
        num_rows += len(batch)
    if any(found.num_wrong for found in findings.values()):
        raise InputError("\n".join(_problems(table, findings)))
    return num_rows, list(_warnings(features, findings, num_rows))


def type_problems(table: Table, features: Iterable[schema_pb2.Feature]) -> list[str]:
    """Returns a sentence for each feature whose column, if there is one, is of a type that it cannot have."""
    types = {field.name: field.type for field in table.schema}
    return [
        f"{table.file}: column {feature.name} is {types[feature.name]}; the model wants "
        f"{'text' if feature.type == schema_pb2.BYTES else 'numbers'}."
        for feature in features
        if feature.name in types and not _may_be(types[feature.name], feature)
    ]


def _may_be(data_type: pa.DataType, feature: schema_pb2.Feature) -> bool:
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    if feature.type == schema_pb2.BYTES:
        is_flag = pa.types.is_boolean(data_type) and feature.HasField("bool_domain")
        return _is_text(data_type) or pa.types.is_integer(data_type) or pa.types.is_null(data_type) or is_flag
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    return _is_text(data_type) or any(test(data_type) for test in tests)


def _is_text(data_type: pa.DataType) -> bool:
    return pa.types.is_string(data_type) or pa.types.is_large_string(data_type)


def _parse(column: pa.ChunkedArray, feature: schema_pb2.Feature) -> tuple[Array, dict[int, str]]:
    """Returns the values of a column, `[num_rows]`, and what is wrong with which row."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if feature.type == schema_pb2.BYTES:
        return _parse_text(column, feature)
    if _is_text(column.type):
        column = pc.utf8_trim_whitespace(column)
    if feature.HasField("bool_domain") and _is_text(column.type):
        for text, number in (("true", "1"), ("false", "0")):
            column = pc.replace_substring_regex(column, f"(?i)^{text}$", number)
    if is_required(feature):
        return _parse_numbers(column, feature)
    is_there = pc.is_valid(column)
    if _is_text(column.type):
        is_there = pc.and_kleene(is_there, pc.not_equal(pc.fill_null(column, ""), ""))
    rows = np.flatnonzero(is_there.to_numpy())
    found, wrong = _parse_numbers(column.take(rows), feature)
    values = np.full(len(column), np.nan, np.float64 if feature.type == schema_pb2.INT else np.float32)
    values[rows] = found
    return values, {int(rows[index]): text for index, text in wrong.items()}


def _parse_text(column: pa.ChunkedArray, feature: schema_pb2.Feature) -> tuple[Array, dict[int, str]]:
    if pa.types.is_boolean(column.type):
        no, yes = categories(feature)
        column = pc.if_else(column, yes, no)
    values = column.cast(pa.string()).fill_null("").to_numpy().astype(object)
    empty = np.flatnonzero(values == "").tolist() if is_required(feature) else []
    return values, dict.fromkeys(empty, "is empty")


def _parse_numbers(column: pa.ChunkedArray, feature: schema_pb2.Feature) -> tuple[Array, dict[int, str]]:
    is_whole = feature.type == schema_pb2.INT
    wrong: dict[int, str] = {}
    try:
        if column.null_count or (_is_text(column.type) and pc.any(pc.match_substring(column, "x")).as_py()):
            raise pa.ArrowInvalid("missing values, or 0x1F, which Arrow takes for an integer")
        values = column.cast(pa.int64() if is_whole else pa.float64()).to_numpy()
    except pa.ArrowInvalid:  # Arrow does not say which cell it was
        values, wrong = _parse_cells(column.to_pylist(), is_whole)
    if is_whole:
        return values, wrong
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    return values, _forbidden(values, feature) | wrong


def _parse_cells(cells: Sequence[Any], is_whole: bool) -> tuple[Array, dict[int, str]]:
    values = np.zeros(len(cells), np.int64 if is_whole else np.float64)
    wrong = {}
    for row, cell in enumerate(cells):
        try:
            if isinstance(cell, str) and (not cell.isascii() or "_" in cell):
                raise ValueError("Python would take it for a number.")
            values[row] = _whole_number(cell) if is_whole else float(cell)
        except (TypeError, ValueError, OverflowError):
            kind = "whole number" if is_whole else "number"
            wrong[row] = "is empty" if cell in (None, "") else f"{str(cell)[:40]!r} is not a {kind}"
    return values, wrong


def _whole_number(cell: Any) -> int:
    number = int(cell)
    if not isinstance(cell, str) and number != cell:
        raise ValueError(f"{cell} has a fraction.")
    return number


def _forbidden(values: Array, feature: schema_pb2.Feature) -> dict[int, str]:
    domain = feature.float_domain
    wrong: dict[int, str] = {}
    if domain.disallow_nan:
        wrong |= dict.fromkeys(np.flatnonzero(np.isnan(values)).tolist(), "is NaN, which the schema forbids")
    if domain.disallow_inf:
        reason = "is infinite or too large for float32, which the schema forbids"
        wrong |= dict.fromkeys(np.flatnonzero(np.isinf(values)).tolist(), reason)
    return wrong


def _num_outside(values: Array, feature: schema_pb2.Feature) -> int:
    if is_categorical(feature):
        known = categories(feature)
        texts = values.astype(str) if values.dtype == np.int64 else values
        return int(np.sum(~np.isin(texts, np.array(["", *known], object)))) if known and values.dtype.kind != "f" else 0
    low, high = _domain(feature)
    return int(np.sum((values < low) | (values > high)))


def _domain(feature: schema_pb2.Feature) -> tuple[float, float]:
    domain = feature.int_domain if feature.type == schema_pb2.INT else feature.float_domain
    low = domain.min if domain.HasField("min") else -np.inf
    return low, domain.max if domain.HasField("max") else np.inf


def _problems(table: Table, findings: dict[str, _Findings]) -> Iterator[str]:
    places = table.places({row for found in findings.values() for row in found.examples})
    for name, found in findings.items():
        for row, text in found.examples.items():
            yield f"{places[row]}: {name}: {text}."
        if more := found.num_wrong - len(found.examples):
            yield f"{table.file}: {more} more such cells in {name}."


def _warnings(features: Iterable[schema_pb2.Feature], findings: dict[str, _Findings], num_rows: int) -> Iterator[str]:
    for feature in features:
        if num_outside := findings[feature.name].num_outside:
            low, high = _domain(feature)
            where = f"lie outside the schema's {low:g} to {high:g}"
            where = "are none of the schema's categories" if is_categorical(feature) else where
            yield f"WARNING: {feature.name}: {num_outside} of {num_rows} values {where}; predicted all the same."
