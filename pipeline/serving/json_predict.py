"""The rows or columns of a predict request and its answer. Runs in the development server.

The two forms of TF Serving (RESTful API page of its guide), and its words for what is wrong (json_tensor.cc).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.infra_validator.signatures import Signature, TensorInfo
from pipeline.serving.json_values import shown, to_array, to_json
from pipeline.serving.servable import Array, describe
from pipeline.serving.status import ServingError, invalid_argument


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
    if "inputs" not in document and "instances" not in document:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    with np.errstate(over="ignore"):  # TF Serving lets a large double become infinity, too
        if "inputs" in document:
            return _columnar(document["inputs"], signature.inputs)
        return _rows(document, signature.inputs)


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
    return {name: to_array(columns[name], info) for name, info in infos.items()}


def _rows(document: Mapping[str, Any], infos: Mapping[str, TensorInfo]) -> dict[str, Array]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(f"JSON Value: {shown(instances)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument(f"JSON Value: {shown(document)} No values in 'instances' array")
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
        return to_array(values, info)
    except ServingError as err:
        first = None
        for index, value in enumerate(values):
            prefix = f"Failed to process element: {index}{where} of 'instances' list. Error: INVALID_ARGUMENT: "
            try:
                array = to_array(value, info)
            except ServingError as element_err:
                raise invalid_argument(f"{prefix}{element_err}") from err
            first = array if first is None else first
            if array.size != first.size:
                raise invalid_argument(f"{prefix}Expecting tensor size: {first.size} but got: {array.size}") from err
            if array.shape != first.shape:
                shapes = f"{_shape(first)} but got: {_shape(array)}"
                raise invalid_argument(f"{prefix}Expecting shape {shapes}") from err
        raise


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
