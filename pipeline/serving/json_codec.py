"""JSON of TF Serving's REST API to NumPy arrays and back, by a signature. Runs in the development server.

As strict as TF Serving, in its words (json_tensor.cc; the RESTful API page of its guide).
"""

import base64
import binascii
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.infra_validator.signatures import Signature, TensorInfo
from pipeline.serving.servable import Array, describe, tensorflow_name
from pipeline.serving.status import ServingError, invalid_argument

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


def inputs_of(document: Mapping[str, Any], signature: Signature) -> dict[str, Array]:
    """Returns the tensors of a predict request by name.

    Args:
        document: With `instances`, one value or object per row, or `inputs`, one value or object of columns.
        signature: Gives each tensor's type.

    Raises:
        ServingError: If it has neither or both, or a value is not of the signature's type.
    """
    if "inputs" in document and "instances" in document:
        raise invalid_argument(
            f"JSON Value: {shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "inputs" in document:
        return _columnar(document["inputs"], signature.inputs)
    if "instances" not in document:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(f"JSON Value: {shown(instances)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument(f"JSON Value: {shown(document)} No values in 'instances' array")
    return _rows(instances, signature.inputs)


def outputs_to_json(outputs: Mapping[str, Array], *, in_rows: bool) -> dict[str, Any]:
    """Returns the body of an answer: `predictions`, one value or object per row, or `outputs`; no names for one output.

    Raises:
        ServingError: If the outputs have no common batch dimension and the answer is in rows.
    """
    columns = {alias: to_json(array, alias) for alias, array in outputs.items()}
    if not in_rows:
        return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    _check_batch(outputs)
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    names = list(columns)
    return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def to_json(array: Array, alias: str) -> Any:
    """Returns a tensor as TF Serving writes it; strings are base64 where the output is named `..._bytes`."""
    if array.dtype == np.float32:  # by way of the shortest text, so that 0.1 is not 0.10000000149011612
        return array.astype(str).astype(np.float64).tolist()
    if array.dtype != object:
        return array.tolist()
    if alias.endswith("_bytes"):
        return np.frompyfunc(lambda item: {"b64": base64.b64encode(item).decode()}, 1, 1)(array).tolist()
    return np.frompyfunc(lambda item: item.decode(errors="surrogateescape"), 1, 1)(array).tolist()


def type_name(value: Any) -> str:
    """Returns JSON's name of a value's type."""
    return "Null" if value is None else str(value) if isinstance(value, bool) else _TYPE_NAMES[type(value)]


def shown(value: Any) -> str:
    """Returns a value as an error shows it."""
    text = json.dumps(value, indent=4)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def decode_base64(value: Mapping[str, Any]) -> bytes:
    """Returns the bytes of `{"b64": "..."}`.

    Raises:
        ServingError: If it is not that.
    """
    if value.keys() != {"b64"} or not isinstance(value["b64"], str):
        raise invalid_argument(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except binascii.Error as err:
        raise invalid_argument("Unable to base64 decode") from err


def _columnar(columns: Any, infos: Mapping[str, TensorInfo]) -> dict[str, Array]:
    if not _is_object(columns):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                f"tensorinfo_map. {_wants(infos)}"
            )
        columns = dict.fromkeys(infos, columns)
    for name in sorted(infos):
        if name not in columns:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object. {_wants(infos)}")
    return {name: _to_array(columns[name], info) for name, info in infos.items()}


def _rows(instances: Sequence[Any], infos: Mapping[str, TensorInfo]) -> dict[str, Array]:
    if not _is_object(instances[0]):
        if len(infos) > 1:
            raise invalid_argument(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                f"tensorinfo_map. {_wants(infos)}"
            )
        for index, instance in enumerate(instances):
            if _is_object(instance):
                raise invalid_argument(f"Expecting value/list but got object at item {index} of input list")
        return {name: _stack(instances, info, "") for name, info in infos.items()}
    for index, instance in enumerate(instances):
        _check_row(index, instance, infos)
    return {
        name: _stack([instance[name] for instance in instances], info, f" key: {name}") for name, info in infos.items()
    }


def _check_row(index: int, instance: Any, infos: Mapping[str, TensorInfo]) -> None:
    if not _is_object(instance):
        raise invalid_argument(f"Expecting object but got list at item {index} of input list")
    for name in instance.keys() - infos.keys():
        raise invalid_argument(
            f"Failed to process element: {index} key: {name} of 'instances' list. Error: INVALID_ARGUMENT: "
            f"JSON object: does not have named input: {name}. {_wants(infos)}"
        )
    if len(instance) != len(infos):
        keys = "".join(f"{name}," for name in sorted(infos))
        missing = ", ".join(sorted(infos.keys() - instance.keys()))
        raise invalid_argument(
            f"Failed to process element: {index} of 'instances' list. JSON object: {shown(instance)} keys must be "
            f"equal to: {keys} Missing: {missing}."
        )


def _stack(values: Sequence[Any], info: TensorInfo, where: str) -> Array:
    """Returns the column of one value per row; looks at single rows only to say which one is wrong."""
    try:
        return _to_array(values, info)
    except ServingError as err:
        first = None
        for index, value in enumerate(values):
            prefix = f"Failed to process element: {index}{where} of 'instances' list. Error: INVALID_ARGUMENT: "
            try:
                array = _to_array(value, info)
            except ServingError as element_err:
                raise invalid_argument(f"{prefix}{element_err}") from err
            first = array if first is None else first
            if array.size != first.size:
                raise invalid_argument(f"{prefix}Expecting tensor size: {first.size} but got: {array.size}") from err
            if array.shape != first.shape:
                shapes = f"{_shape(first)} but got: {_shape(array)}"
                raise invalid_argument(f"{prefix}Expecting shape {shapes}") from err
        raise


def _to_array(value: Any, info: TensorInfo) -> Array:
    shape: list[int] = []
    level = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    items = [value]
    for depth, size in enumerate(shape):
        _check_lists(items, depth, size, len(shape))
        items = list(itertools.chain.from_iterable(items))
    return _flat_array(items, info, len(shape)).reshape(shape)


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
        array[:] = [item.encode() if isinstance(item, str) else decode_base64(item) for item in items]
        return array
    try:
        with np.errstate(over="ignore"):  # TF Serving lets a large double become infinity, too
            return np.array(items, info.dtype)
    except OverflowError as err:
        raise _wrong_type(max(items, key=abs), info) from err


def _wrong_type(item: Any, info: TensorInfo) -> ServingError:
    return invalid_argument(
        f"JSON Value: {shown(item)} Type: {type_name(item)} is not of expected type: {tensorflow_name(info.dtype)}"
    )


def _check_batch(outputs: Mapping[str, Array]) -> None:
    sizes = {}
    for alias, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        sizes[alias] = len(array)
    expected = next(iter(sizes.values()))
    for alias, size in sizes.items():
        if size != expected:
            raise invalid_argument(f"Tensor name: {alias} has inconsistent batch size: {size} expecting: {expected}")


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _wants(infos: Mapping[str, TensorInfo]) -> str:
    return f"The signature takes {', '.join(f'{name} {describe(info)}' for name, info in sorted(infos.items()))}."


def _shape(array: Array) -> str:
    return f"[{','.join(map(str, array.shape))}]"
