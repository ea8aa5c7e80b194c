"""Reads the signatures of a SavedModel. Runs in InfraValidator's process and in `sluice serve`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

PREDICT_METHOD = tf.saved_model.PREDICT_METHOD_NAME
CLASSIFY_METHOD = tf.saved_model.CLASSIFY_METHOD_NAME


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Attributes:
        tensor_name: Its name in the graph, `serving_default_examples:0`.
        dtype: Its NumPy dtype; `object`, holding bytes, for strings.
        shape: Its dimensions; None where a dimension is free; None altogether where the rank is.
    """

    tensor_name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape can be it."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want in (None, have) for want, have in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class Signature:
    """One signature.

    Attributes:
        method_name: What TF Serving may call it for, `tensorflow/serving/predict`.
        inputs: By name.
        outputs: By name.
    """

    method_name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


def load_meta_graph(model_dir: str) -> meta_graph_pb2.MetaGraphDef:
    """Returns the graph that is served, tagged `serve`.

    Raises:
        ValueError: If the model has no such graph, or its `saved_model.pb` is none.
        OSError: If it cannot be read.
    """
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString((Path(model_dir) / "saved_model.pb").read_bytes())
        return next(graph for graph in saved_model.meta_graphs if list(graph.meta_info_def.tags) == ["serve"])
    except (StopIteration, DecodeError) as err:
        raise ValueError(f"{model_dir}/saved_model.pb holds no graph tagged 'serve'.") from err


def signatures_of(meta_graph: meta_graph_pb2.MetaGraphDef) -> dict[str, Signature]:
    """Returns the signatures that a server offers, by name."""
    return {
        name: Signature(definition.method_name, _tensors(definition.inputs), _tensors(definition.outputs))
        for name, definition in meta_graph.signature_def.items()
        if not name.startswith("__")  # __saved_model_init_op is none
    }


def _tensors(infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, TensorInfo]:
    return {name: _tensor(info) for name, info in infos.items()}


def _tensor(info: meta_graph_pb2.TensorInfo) -> TensorInfo:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorInfo(info.name, np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype), shape)
