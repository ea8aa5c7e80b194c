"""Replays the requests that travel with a model before it serves. Runs in the development server.

TF Serving does the same (SavedModel Warmup in its guide; saved_model_warmup_util.cc), and a request that fails is a
model that does not load.
"""

from pathlib import Path

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from components.trainer import WARMUP_FILE
from pipeline.serving.servable import Servable
from pipeline.serving.status import ServingError, invalid_argument
from pipeline.serving.tensors import examples_of, inputs_of

_MAX_RECORDS = 1000  # WarmupConsts::kMaxNumRecords


def warm_up(servable: Servable, model_dir: Path) -> None:
    """Runs every recorded request once, if there are any.

    Raises:
        ServingError: If a record cannot be read or its request fails.
    """
    file = model_dir / WARMUP_FILE
    if not file.is_file():
        return
    try:
        records = list(tf.data.TFRecordDataset(str(file)).take(_MAX_RECORDS + 1).as_numpy_iterator())
    except tf.errors.OpError as err:
        raise ServingError.numbered(err.error_code, f"{WARMUP_FILE}: {err.message}") from err
    if len(records) > _MAX_RECORDS:
        raise invalid_argument(f"{WARMUP_FILE} holds more than {_MAX_RECORDS} records.")
    for index, record in enumerate(records):
        try:
            _replay(servable, record)
        except ServingError as err:
            raise ServingError(err.code, f"{WARMUP_FILE}: record {index}: {err}") from err


def _replay(servable: Servable, record: bytes) -> None:
    log = prediction_log_pb2.PredictionLog()
    try:
        log.ParseFromString(record)
    except DecodeError as err:
        raise invalid_argument("Failed to parse warmup record.") from err
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        servable.predict(request.model_spec.signature_name, inputs_of(request), list(request.output_filter))
    elif kind == "classify_log":
        request = log.classify_log.request
        servable.classify(request.model_spec.signature_name, examples_of(request.input))
    else:
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
