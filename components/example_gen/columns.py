"""Turns a column of a table into values of a feature's type and says which cells are none. Runs on Beam workers.

Nothing is coerced: what is not exactly a value of the schema's type is a fault. Imports neither TensorFlow nor TFX.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

from schema import categories, is_required

ARROW_TYPES = {schema_pb2.INT: pa.int64(), schema_pb2.FLOAT: pa.float32(), schema_pb2.BYTES: pa.binary()}
_WHOLE_NUMBER = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
Mask = npt.NDArray[np.bool_]

IS_EMPTY = "is empty, but must have a value in every row"
NOT_WHOLE = "is not a whole number"
NOT_NUMBER = "is not a number"
NOT_FINITE = "is not a finite number; an empty cell (or null) says that a value is missing"
TOO_LARGE = "is too large for a 64-bit integer"
TOO_LARGE_FLOAT = "is too large for a 32-bit float"
NOT_BOOLEAN = "is neither true nor false"
NOT_UTF8 = "is not UTF-8 text"


@dataclass
class Column:
    """Values of a feature.

    Attributes:
        values: int64, float32 or binary `[num_rows]`, null where a cell is missing or faulty.
        faults: Which rows are faulty, by reason.
    """

    values: pa.Array
    faults: dict[str, Mask] = field(default_factory=dict)

    def refuse(self, reason: str, rows: Mask) -> None:
        """Adds a fault of some rows, if there are any."""
        if rows.any():
            self.faults[reason] = self.faults.get(reason, np.zeros(len(self.values), bool)) | rows
            self.values = pc.if_else(pa.array(rows), pa.scalar(None, self.values.type), self.values)


def check_type(data_type: pa.DataType, feature: schema_pb2.Feature) -> bool:
    """Whether a column of a typed file can be converted to a feature without loss or guessing."""
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    if pa.types.is_null(data_type):
        return True
    if pa.types.is_boolean(data_type):
        return feature.type == schema_pb2.INT or feature.HasField("bool_domain")
    if feature.type == schema_pb2.BYTES:
        return _is_text(data_type) or pa.types.is_temporal(data_type) or pa.types.is_integer(data_type)
    return pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or pa.types.is_decimal(data_type)


def can_split_by(data_type: pa.DataType) -> bool:
    """Whether a column of a typed file can decide about splits."""
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    is_kind = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_date,
        pa.types.is_timestamp,
        pa.types.is_null,
    )
    return any(test(data_type) for test in is_kind)


def convert(
    cells: pa.Array,
    feature: schema_pb2.Feature,
    *,
    is_csv: bool,
    null_values: tuple[str, ...] = (),
    must_be_class: bool = False,
) -> Column:
    """Converts a column of one block.

    Args:
        cells: Binary if they come from CSV, else of a type that passes `check_type`.
        feature: Of the schema.
        is_csv: Whether they do.
        null_values: Texts that stand for a missing value; in typed files "NaN" makes NaN one.
        must_be_class: Whether the values must be in the feature's domain, as a label's must.
    """
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    if is_csv:
        column = _from_text(cells, feature)
    elif pa.types.is_null(cells.type):
        column = Column(pa.nulls(len(cells), ARROW_TYPES[feature.type]))
    else:
        nan_is_null = any(value.lower() == "nan" for value in null_values)
        column = _from_typed(cells, feature, nan_is_null=nan_is_null)
    if is_required(feature):
        faulty = np.logical_or.reduce([*column.faults.values(), np.zeros(len(cells), bool)])
        column.refuse(IS_EMPTY, column.values.is_null().to_numpy(zero_copy_only=False) & ~faulty)
    if must_be_class:
        _check_domain(column, feature)
    return column


def _from_text(cells: pa.Array, feature: schema_pb2.Feature) -> Column:
    texts, bad_text = _decode(cells)
    if feature.HasField("bool_domain"):
        column = _from_boolean_text(texts, feature)
    elif feature.type == schema_pb2.BYTES:
        column = Column(texts.cast(pa.binary()))
    elif feature.type == schema_pb2.INT:
        column = _from_number_text(texts, pa.int64(), _WHOLE_NUMBER, NOT_WHOLE)
    else:
        column = _to_float32(_from_number_text(texts, pa.float64(), _NUMBER, NOT_NUMBER))
    if bad_text is not None:
        column.refuse(NOT_UTF8, bad_text)
    return column


def _decode(cells: pa.Array) -> tuple[pa.Array, Mask | None]:
    """Returns binary cells as text, and which are no text; None if all are."""
    try:
        return cells.cast(pa.string()), None
    except pa.ArrowInvalid:
        bad_text = np.array([cell is not None and not _is_utf8(cell) for cell in cells.to_pylist()])
        return pc.if_else(pa.array(bad_text), pa.scalar(None, pa.binary()), cells).cast(pa.string()), bad_text


def _from_boolean_text(texts: pa.Array, feature: schema_pb2.Feature) -> Column:
    no, yes = categories(feature)
    known = pa.array([no.lower(), yes.lower(), "false", "true", "0", "1"])
    found = pc.index_in(pc.utf8_lower(texts), known)  # the first that is equal
    unknown = pc.and_(texts.is_valid(), found.is_null()).to_numpy(zero_copy_only=False)
    names = [no, yes] if feature.type == schema_pb2.BYTES else [0, 1]
    column = Column(pa.array(names * 3, ARROW_TYPES[feature.type]).take(found))
    column.refuse(NOT_BOOLEAN, unknown)
    return column


def _from_number_text(texts: pa.Array, data_type: pa.DataType, pattern: str, reason: str) -> Column:
    try:
        if not _is_hexadecimal(texts, data_type):
            values = texts.cast(data_type)
            if data_type == pa.int64() or pc.all(pc.is_finite(values)).as_py() is not False:
                return Column(values)
    except pa.ArrowInvalid:  # which does not say which cell it was
        pass
    lowered = pc.utf8_lower(texts)
    is_word = pc.match_substring_regex(lowered, r"^[+-]?(nan|inf|infinity)$")
    is_number = pc.match_substring_regex(texts, pattern)
    good = pc.if_else(is_number, pc.replace_substring_regex(texts, r"^\+", ""), pa.scalar(None, pa.string()))
    values, unread = _cast_one_by_one(good, data_type) if data_type == pa.int64() else (good.cast(data_type), None)
    column = Column(values)
    bad = _mask(pc.invert(is_number))
    if data_type == pa.float64():
        column.refuse(TOO_LARGE_FLOAT, _mask(pc.is_inf(values)))  # such as 1e400
        column.refuse(NOT_FINITE, bad & _mask(is_word))
        bad &= ~_mask(is_word)
    column.refuse(reason, bad)
    if unread is not None:
        column.refuse(TOO_LARGE, unread)
    return column


def _is_hexadecimal(texts: pa.Array, data_type: pa.DataType) -> bool:
    """Whether a cell may be 0x1F, which Arrow takes for an integer."""
    return data_type == pa.int64() and bool(pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py())


def _cast_one_by_one(texts: pa.Array, data_type: pa.DataType) -> tuple[pa.Array, Mask]:
    """Casts whole numbers; returns too which are too large."""
    too_large = np.array([text is not None and not -(2**63) <= int(text[:25]) < 2**63 for text in texts.to_pylist()])
    return pc.if_else(pa.array(too_large), pa.scalar(None, pa.string()), texts).cast(data_type), too_large


def _from_typed(cells: pa.Array, feature: schema_pb2.Feature, *, nan_is_null: bool) -> Column:
    if pa.types.is_boolean(cells.type):
        no, yes = categories(feature) if feature.type == schema_pb2.BYTES else (0, 1)
        data_type = ARROW_TYPES[feature.type]
        return Column(pc.if_else(cells, pa.scalar(yes, data_type), pa.scalar(no, data_type)))
    if feature.type == schema_pb2.BYTES:
        return _from_text((cells if _is_text(cells.type) else cells.cast(pa.string())).cast(pa.binary()), feature)
    if pa.types.is_decimal(cells.type) and feature.type == schema_pb2.INT:
        return _from_decimals(cells)
    if pa.types.is_decimal(cells.type):
        cells = cells.cast(pa.float64())
    if nan_is_null and pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), cells)
    if feature.type == schema_pb2.FLOAT:
        return _to_float32(_finite(Column(cells.cast(pa.float64(), safe=False))))
    column = _to_int64(cells)
    if feature.HasField("bool_domain"):
        numbers = column.values.fill_null(0).to_numpy()
        column.refuse(NOT_BOOLEAN, (numbers != 0) & (numbers != 1))
    return column


def _from_decimals(cells: pa.Array) -> Column:
    """Returns int64 to the last digit, which no float has."""
    numbers = cells.to_pylist()
    is_whole = np.array([number is None or number == int(number) for number in numbers])
    fits = np.array([number is None or -(2**63) <= number < 2**63 for number in numbers])
    good = [None if number is None else int(number) for number in numbers]
    column = Column(
        pa.array([number if ok else None for number, ok in zip(good, is_whole & fits, strict=True)], pa.int64())
    )
    column.refuse(NOT_WHOLE, ~is_whole)
    column.refuse(TOO_LARGE, is_whole & ~fits)
    return column


def _to_int64(cells: pa.Array) -> Column:
    try:
        return Column(cells.cast(pa.int64()))
    except pa.ArrowInvalid:
        pass
    numbers = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # NaN where null
    valid = _mask(cells.is_valid())
    with np.errstate(invalid="ignore"):
        finite, whole = np.isfinite(numbers), numbers == np.floor(numbers)
        fits = np.abs(numbers) < 2.0**63
    good = valid & finite & whole & fits
    column = Column(pc.if_else(pa.array(good), cells, pa.scalar(None, cells.type)).cast(pa.int64()))
    column.refuse(NOT_FINITE, valid & ~finite)
    column.refuse(NOT_WHOLE, valid & finite & ~whole)
    column.refuse(TOO_LARGE, valid & finite & whole & ~fits)
    return column


def _finite(column: Column) -> Column:
    if pa.types.is_floating(column.values.type):
        column.refuse(NOT_FINITE, _mask(pc.invert(pc.is_finite(column.values))))
    return column


def _to_float32(column: Column) -> Column:
    doubles = column.values.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        floats = doubles.astype(np.float32)
    is_there = _mask(column.values.is_valid())
    narrowed = Column(pa.array(floats, mask=~is_there), column.faults)
    narrowed.refuse(TOO_LARGE_FLOAT, is_there & np.isinf(floats))
    return narrowed


def _check_domain(column: Column, feature: schema_pb2.Feature) -> None:
    is_there = _mask(column.values.is_valid())
    if feature.type == schema_pb2.BYTES:
        known = pa.array([name.encode() for name in categories(feature)], pa.binary())
        column.refuse(_no_class(feature), is_there & ~_mask(pc.is_in(column.values, known)))
        return
    values = column.values.fill_null(0).to_numpy()
    domain = feature.int_domain
    column.refuse(_no_class(feature), is_there & ((values < domain.min) | (values > domain.max)))


def _no_class(feature: schema_pb2.Feature) -> str:
    if feature.type != schema_pb2.BYTES:
        return f"is no class; classes are {feature.int_domain.min} to {feature.int_domain.max}"
    names = categories(feature)
    return f"is no class; classes are {', '.join(names[:10])}{', ...' * (len(names) > 10)}"


def _is_text(data_type: pa.DataType) -> bool:
    tests: tuple[Callable[[Any], bool], ...] = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_binary,
        pa.types.is_large_binary,
    )
    return any(test(data_type) for test in tests)


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _mask(array: pa.Array) -> Mask:
    """Returns a boolean array; null is false."""
    return pc.fill_null(array, False).to_numpy(zero_copy_only=False)
