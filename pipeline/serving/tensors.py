"""What the messages of TF Serving's gRPC API hold, as NumPy arrays, and back. Runs in the development server."""

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2

from pipeline.serving.servable import Array
from pipeline.serving.status import invalid_argument

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
        ServingError: If a tensor contradicts itself.
    """
    inputs = {}
    for alias, tensor in request.inputs.items():
        try:
            inputs[alias] = tf.make_ndarray(tensor)
        except (TypeError, ValueError, OverflowError) as err:
            raise invalid_argument(f"tensor parsing error: {alias}") from err
    return inputs


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
