"""The examples of a classify request, JSON to tf.Examples. Runs in the development server.

As TF Serving reads them (json_tensor.cc): a list per feature, or one value; its kind is the first element's.
"""

from collections.abc import Mapping
from typing import Any

from tensorflow.core.example import example_pb2, feature_pb2

from pipeline.serving.json_values import decode_base64, encode, shown, type_name
from pipeline.serving.status import invalid_argument

_INT64 = range(-(1 << 63), 1 << 63)


def examples_of(document: Mapping[str, Any]) -> list[bytes]:
    """Returns the serialized tf.Examples of a request; the context is merged into each, and yields to it.

    Raises:
        ServingError: If it has no examples, or one is no JSON object of values.
    """
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {shown(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid_argument(f"JSON Value: {shown(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid_argument(f"JSON Value: {shown(document)} 'examples' value is an empty array")
    context = _example(document["context"]) if "context" in document else b""
    return [context + _example(example) for example in examples]


def _example(values: Any) -> bytes:
    if not isinstance(values, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(values)}")
    example = example_pb2.Example()
    for name, value in values.items():
        try:
            feature = example.features.feature[name]
        except ValueError as err:  # half a surrogate pair
            raise invalid_argument(f"Feature name is not valid UTF-8: {name!r}") from err
        _fill(feature, name, value if isinstance(value, list) else [value])
    return example.SerializeToString()


def _fill(feature: feature_pb2.Feature, name: str, items: list[Any]) -> None:
    values = [_value(name, item) for item in items]
    if not values:
        return
    kind = type(values[0])
    if any(type(value) is not kind for value in values):
        names = {bytes: "bytes", float: "float", int: "int64"}
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {names[kind]}")
    if kind is bytes:
        feature.bytes_list.value.extend(values)
    elif kind is float:
        feature.float_list.value.extend(values)
    else:
        feature.int64_list.value.extend(values)


def _value(name: str, item: Any) -> bytes | float | int:
    if isinstance(item, str):
        return encode(item)
    if isinstance(item, dict) and "b64" in item:
        return decode_base64(item)
    if isinstance(item, int):  # a bool is 0 or 1
        if item not in _INT64:
            raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        return int(item)
    if isinstance(item, float):
        return item
    raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_name(item)}")
