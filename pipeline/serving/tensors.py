"""What the messages of TF Serving's gRPC API hold, as NumPy arrays, and back. Runs in the development server."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2

from pipeline.serving.servable import Array
from pipeline.serving.status import MAX_REQUEST_BYTES, invalid_argument

# TF Serving answers in these fields, not in `tensor_content`, and clients read them (server_core.h, kAsProtoField).
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "object": "string_val",
}  # and int_val for every smaller integer


def inputs_of(request: predict_pb2.PredictRequest) -> dict[str, Array]:
    """Returns the tensors of a request by name.

    Raises:
        ServingError: If a tensor contradicts itself, is of a type that is not served, or declares a size beyond what a
            request may hold.
    """
    return {alias: _to_array(alias, tensor) for alias, tensor in request.inputs.items()}


def _to_array(alias: str, tensor: tensor_pb2.TensorProto) -> Array:
    # A shape alone makes TensorFlow allocate: one value stands for all that follow.
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    try:
        dtype = np.dtype(tf.dtypes.as_dtype(tensor.dtype).as_numpy_dtype)
        if min(sizes, default=0) < 0 or math.prod(sizes) * dtype.itemsize > MAX_REQUEST_BYTES:
            raise ValueError(f"its shape is {sizes}")
        array = np.asarray(tf.make_ndarray(tensor))
        if dtype.kind == "O" and not all(type(item) is bytes for item in array.flat):
            raise ValueError("it is a string tensor without strings")
        return array
    except (TypeError, ValueError, OverflowError, KeyError) as err:
        raise invalid_argument(f"tensor parsing error: {alias}: {err}") from err


def to_tensor_proto(array: Array) -> tensor_pb2.TensorProto:
    """Returns a tensor as TF Serving answers it."""
    proto = tensor_pb2.TensorProto(dtype=tf.dtypes.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _FIELDS.get(array.dtype.name, "int_val")).extend(array.ravel().tolist())
    return proto


def examples_of(message: input_pb2.Input) -> list[bytes]:
    """Returns the serialized tf.Examples of a request; the context is merged into each, and yields to it."""
    if message.WhichOneof("kind") == "example_list_with_context":
        context = message.example_list_with_context.context.SerializeToString()
        return [context + it.SerializeToString() for it in message.example_list_with_context.examples]
    return [example.SerializeToString() for example in message.example_list.examples]
