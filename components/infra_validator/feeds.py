"""Real rows and recorded requests as what a session is fed. Runs in InfraValidator's process and in `sluice serve`."""

import base64
import json
import posixpath
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from components.infra_validator.loader import INVALID_ARGUMENT, Array, LoaderError
from components.infra_validator.signatures import Signature
from components.model_manifest import open_file
from components.trainer import RECORDED_LOGITS_FILE
from components.trainer.samples import feature_columns


def feed_examples(signature: Signature, examples: Sequence[bytes]) -> dict[str, Array]:
    """Returns what a signature is fed for rows.

    Args:
        signature: Takes serialized tf.Examples, or a tensor `[None, 1]` per feature.
        examples: Serialized tf.Examples of raw features.

    Raises:
        LoaderError: If the rows lack a feature that it takes.
    """
    infos = list(signature.inputs.values())
    if len(infos) == 1 and infos[0].dtype == object and infos[0].shape in ((None,), None):
        return {infos[0].tensor_name: _strings(examples)}
    rows = [tf.train.Example.FromString(example) for example in examples]
    try:
        columns = feature_columns(rows, {name: info.dtype for name, info in signature.inputs.items()})
    except (ValueError, TypeError) as err:
        raise LoaderError(
            INVALID_ARGUMENT, "its inputs are not features with one value, or a word for none, in every eval row"
        ) from err
    return {signature.inputs[name].tensor_name: column for name, column in columns.items()}


def warmup_feeds(record: bytes, signatures: Mapping[str, Signature]) -> tuple[str, dict[str, Array]]:
    """Returns the signature of a serialized warmup record and what it is fed.

    Raises:
        LoaderError: If the record cannot be read, or the model has no such signature or input.
    """
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
        return _log_feeds(log, signatures)
    except (DecodeError, ValueError, TypeError, MemoryError) as err:
        raise LoaderError(INVALID_ARGUMENT, f"a warmup record cannot be read: {err}") from err


def _log_feeds(
    log: prediction_log_pb2.PredictionLog, signatures: Mapping[str, Signature]
) -> tuple[str, dict[str, Array]]:
    kind = log.WhichOneof("log_type")
    if kind not in ("predict_log", "classify_log"):
        raise LoaderError(INVALID_ARGUMENT, f"a warmup record is a {kind}, which is not supported")
    request = getattr(log, kind).request
    name = request.model_spec.signature_name or "serving_default"
    if name not in signatures:
        raise LoaderError(
            INVALID_ARGUMENT, f"a warmup record asks for the signature '{name}', which the model does not have"
        )
    inputs = signatures[name].inputs
    if kind == "classify_log":
        examples = [example.SerializeToString() for example in request.input.example_list.examples]
        return name, {info.tensor_name: _strings(examples) for info in inputs.values()}
    if set(request.inputs) != set(inputs):
        raise LoaderError(INVALID_ARGUMENT, f"a warmup record's inputs are not those of '{name}'")
    return name, {info.tensor_name: tf.make_ndarray(request.inputs[key]) for key, info in inputs.items()}


def read_recorded_logits(model_run_dir: str) -> tuple[list[bytes], Array]:
    """Returns the Trainer's sample of raw eval rows, serialized, and its logits, float32 `[num_rows, C]`, if any."""
    try:
        with open_file(posixpath.join(model_run_dir, RECORDED_LOGITS_FILE), "r") as file:
            record = json.loads(file.read())
        examples = [base64.b64decode(example) for example in record["examples"]]
        logits = np.array(record["logits"], np.float32)
    except (OSError, tf.errors.OpError, ValueError, LookupError, TypeError):
        return [], np.empty((0, 0), np.float32)
    if logits.ndim != 2 or len(logits) != len(examples):
        return [], np.empty((0, 0), np.float32)
    return examples, logits


def _strings(items: Sequence[bytes]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array
