"""JSON values to NumPy arrays and back, by the type of a tensor. Runs in the development server.

As strict as TF Serving, in its words (json_tensor.cc; the RESTful API page of its guide).
"""

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.infra_validator.signatures import TensorInfo
from pipeline.serving.servable import Array, tensorflow_name
from pipeline.serving.status import ServingError, invalid_argument

_MAX_RANK = 32  # of NumPy; no signature is near it
_MAX_SHOWN = 200  # characters of a value in an error
_TYPE_NAMES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
_ACCEPTED: dict[str, tuple[type, ...]] = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,), "O": (str, dict)}
# rapidjson's words for Python's.
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Extra data": "The document root must not be followed by other values.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid control character at": "Invalid encoding in string.",
}


def parse_object(body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a request's body.

    Raises:
        ServingError: If it is none.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as err:
        reason = _PARSE_ERRORS.get(err.msg, f"{err.msg}.")
        raise invalid_argument(f"JSON Parse error: {reason} at offset: {err.pos}") from err
    except (ValueError, RecursionError) as err:  # not UTF-8, a number of thousands of digits, thousands of brackets
        raise invalid_argument(f"JSON Parse error: {err}") from err
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {shown(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid_argument(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def to_array(value: Any, info: TensorInfo) -> Array:
    """Returns a value, or lists of values, as a tensor; the first of each list gives the shape.

    Raises:
        ServingError: If the lists are ragged or a value is not of the tensor's type.
    """
    shape: list[int] = []
    level = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    if len(shape) > _MAX_RANK:
        raise invalid_argument(
            f"JSON Value: lists are nested {len(shape)} deep; a tensor has at most {_MAX_RANK} levels"
        )
    items = [value]
    for depth, size in enumerate(shape):
        _check_lists(items, depth, size, len(shape))
        items = list(itertools.chain.from_iterable(items))
    return _flat_array(items, info, len(shape)).reshape(shape)


def to_json(array: Array, alias: str) -> Any:
    """Returns a tensor as TF Serving writes it; strings are base64 where the output is named `..._bytes`."""
    if array.dtype == np.float32:  # by way of the shortest text, so that 0.1 is not 0.10000000149011612
        return array.astype(str).astype(np.float64).tolist()
    if array.dtype != object:
        return array.tolist()
    convert = _as_base64 if alias.endswith("_bytes") else _as_text
    return np.asarray(np.frompyfunc(convert, 1, 1)(array), object).tolist()


def type_name(value: Any) -> str:
    """Returns JSON's name of a value's type."""
    return "Null" if value is None else str(value) if isinstance(value, bool) else _TYPE_NAMES[type(value)]


def shown(value: Any) -> str:
    """Returns a value as an error shows it."""
    text = json.dumps(value, indent=4)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def encode(text: str) -> bytes:
    """Returns a string's bytes; half a surrogate pair is none of UTF-8, and still no reason to fail."""
    return text.encode(errors="surrogatepass")


def decode_base64(value: Mapping[str, Any]) -> bytes:
    """Returns the bytes of `{"b64": "..."}`.

    Raises:
        ServingError: If it is not that.
    """
    if value.keys() != {"b64"} or not isinstance(value["b64"], str):
        raise invalid_argument(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except ValueError as err:  # binascii.Error, or text that is not ASCII
        raise invalid_argument("Unable to base64 decode") from err


def _check_lists(items: Sequence[Any], depth: int, size: int, rank: int) -> None:
    for item in items:
        if type(item) is not list:
            raise invalid_argument(
                f"JSON Value: {shown(item)} found at incorrect level: {depth + 1} in the JSON DOM. "
                f"Expected at level: {rank}"
            )
        if len(item) != size:
            raise invalid_argument(
                f"Encountered list at unexpected size: {len(item)} at level: {depth} expected size: {size}"
            )


def _flat_array(items: Sequence[Any], info: TensorInfo, rank: int) -> Array:
    accepted = _ACCEPTED.get(info.dtype.kind, ())
    if not set(map(type, items)) <= set(accepted):
        item = next(item for item in items if type(item) not in accepted)
        if isinstance(item, list):
            raise invalid_argument(f"Encountered list at unexpected level: {rank} expected < {rank}")
        raise _wrong_type(item, info)
    if info.dtype == object:
        array = np.empty(len(items), dtype=object)
        array[:] = [
            item.encode(errors="surrogatepass") if isinstance(item, str) else decode_base64(item) for item in items
        ]
        return array
    if info.dtype.kind in "iu" and items:
        limits = np.iinfo(info.dtype)
        for item in (min(items), max(items)):
            if not limits.min <= item <= limits.max:
                raise _wrong_type(item, info)
    try:
        return np.array(items, info.dtype)
    except OverflowError as err:  # an integer that is larger than any float
        raise _wrong_type(max(items, key=abs), info) from err


def _wrong_type(item: Any, info: TensorInfo) -> ServingError:
    return invalid_argument(
        f"JSON Value: {shown(item)} Type: {type_name(item)} is not of expected type: {tensorflow_name(info.dtype)}"
    )


def _as_base64(item: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(item).decode()}


def _as_text(item: bytes) -> str:
    return item.decode(errors="surrogateescape")  # TF Serving passes bytes that are not UTF-8 through
