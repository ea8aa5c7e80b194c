"""Evaluates in memory as TFMA does on Beam, and writes the files that it writes. Runs in the Evaluator's process.

TFMA takes each row through Python by itself. Its keys, its validation and its files are used, its arithmetic is not:
`scores.py` measures, and `auc` is exact.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2
from tensorflow_model_analysis.utils import model_util
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

from components.evaluator import CALIBRATION_BINS, CONFUSION_MATRIX, EXAMPLE_COUNT
from components.evaluator.predictions import SplitRows, text_of
from components.evaluator.rules import Score, Slice, parse_key
from components.evaluator.scores import Predictions, calibration_bins, confusion_matrix, measure

SliceKey = tuple[tuple[str, Any], ...]  # TFMA's
Metrics = dict[MetricKey, Any]


def evaluate(
    rows: SplitRows,
    model_dirs: Mapping[str, str],
    eval_config: config_pb2.EvalConfig,
    scores: Sequence[Score],
    evaluation_dir: str,
) -> bool:
    """Measures the models and holds the candidate to TFMA's thresholds.

    Args:
        rows: The split.
        model_dirs: Folders of SavedModels by TFMA's name of the model.
        eval_config: Of `make_eval_config`, with TFMA's defaults.
        scores: What the metrics of `eval_config` are.
        evaluation_dir: Where to write the files that `tfma.load_eval_result` reads.

    Returns:
        Whether every threshold holds.
    """
    keys, by_name = _public_keys(eval_config), {score.name: score for score in scores}
    predictions = {name: rows.predict(model_dir) for name, model_dir in model_dirs.items()}
    baseline = model_util.get_baseline_model_spec(eval_config)
    found: list[tuple[SliceKey, Metrics]] = []
    for slice_key, positions in _slices(rows, eval_config, len(next(iter(predictions.values())).labels)):
        inside = {name: each if positions is None else each.take(positions) for name, each in predictions.items()}
        metrics = {key: _value(key, by_name, inside[key.model_name], rows.roles.class_names) for key in keys}
        found.append((slice_key, metrics | (_changes(metrics, baseline.name) if baseline else {})))
    return _write(found, eval_config, model_dirs, evaluation_dir)


def _public_keys(eval_config: config_pb2.EvalConfig) -> list[MetricKey]:
    computations = metric_specs.to_computations(list(eval_config.metrics_specs), eval_config=eval_config)
    keys = [key for each in computations for key in each.keys]
    return [key for key in dict.fromkeys(keys) if not key.name.startswith("_")]


def _slices(
    rows: SplitRows, eval_config: config_pb2.EvalConfig, num_rows: int
) -> Iterator[tuple[SliceKey, npt.NDArray[Any] | None]]:
    """Yields TFMA's key of every slice that has rows, and their positions; None for all of them."""
    keys = [spec.feature_keys[0] for spec in eval_config.slicing_specs if spec.feature_keys]
    if num_rows:
        yield (), None
    for where, found in rows.read_slices([parse_key(key) or Slice(key) for key in keys]).items():
        for value in found.values:
            yield ((where.key, value),), found.rows[text_of(value)]


def _value(key: MetricKey, scores: Mapping[str, Score], predictions: Predictions, class_names: tuple[str, ...]) -> Any:
    weights = predictions.weights
    if weights is None:
        weights = np.ones(len(predictions.labels))
    if key.name == EXAMPLE_COUNT:
        return float(len(predictions.labels))
    if key.name == CONFUSION_MATRIX:
        return confusion_matrix(predictions, weights, len(class_names))
    if key.name == CALIBRATION_BINS:
        return calibration_bins(predictions, weights)
    score = scores[key.name]
    if key.sub_key and key.sub_key.class_id is not None:  # of which an average is made
        score = Score(score.metric, class_names[key.sub_key.class_id])
    return measure(score, predictions, class_names, weights)


def _changes(metrics: Metrics, baseline_name: str) -> Metrics:
    return {
        key.make_diff_key(): value - metrics[key.make_baseline_key(baseline_name)]
        for key, value in metrics.items()
        if key.model_name != baseline_name
    }


def _write(
    found: Sequence[tuple[SliceKey, Metrics]],
    eval_config: config_pb2.EvalConfig,
    model_dirs: Mapping[str, str],
    evaluation_dir: str,
) -> bool:
    combine = writer.CombineValidations(eval_config)
    accumulator = combine.create_accumulator()
    for each in found:
        accumulator = combine.add_input(accumulator, metrics_validator.validate_metrics(each, eval_config))
    validation = combine.extract_output(accumulator)

    tf.io.gfile.makedirs(evaluation_dir)
    of_slices = [writer.convert_slice_metrics_to_proto(each, add_metrics_callbacks=None) for each in found]
    slice_keys = [each.slice_key for each in of_slices]
    shard = "-00000-of-00001"
    records = {
        f"{tfma.METRICS_KEY}{shard}": of_slices,
        f"{tfma.PLOTS_KEY}{shard}": [metrics_for_slice_pb2.PlotsForSlice(slice_key=key) for key in slice_keys],
        f"{tfma.ATTRIBUTIONS_KEY}{shard}": [
            metrics_for_slice_pb2.AttributionsForSlice(slice_key=key) for key in slice_keys
        ],
        tfma.VALIDATIONS_KEY: [validation],
    }
    for name, protos in records.items():
        _write_records(os.path.join(evaluation_dir, f"{name}.tfrecord"), protos)
    run = config_pb2.EvalRun(eval_config=eval_config, version=tfma.VERSION_STRING, model_locations=model_dirs)
    with tf.io.gfile.GFile(os.path.join(evaluation_dir, "eval_config.json"), "w") as file:
        file.write(json_format.MessageToJson(run))
    return bool(validation.validation_ok)


def _write_records(file: str, protos: Sequence[Message]) -> None:
    with tf.io.TFRecordWriter(file) as records:
        for proto in protos:
            records.write(proto.SerializeToString())
