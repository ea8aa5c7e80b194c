"""Reads tf.Examples as Arrow, many rows at a time. Runs in the processes of StatisticsGen and Transform."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

BATCH_SIZE = 32_768  # rows; nothing gets faster beyond it
_MOST_VALUES = 8_388_608  # of a batch: 128 MiB, in twice 8 bytes


def read_record_batches(file_patterns: Sequence[str], batch_size: int = BATCH_SIZE) -> Iterator[pa.RecordBatch]:
    """Yields the rows of gzipped TFRecord files, in the order of the files' names, with every feature that occurs.

    Args:
        file_patterns: Patterns of the files.
        batch_size: Rows of a batch, at most.
    """
    decoder = ExamplesToRecordBatchDecoder()
    for examples in _examples(file_patterns, batch_size):
        yield decoder.DecodeBatch(examples.numpy())


def read_features(
    file_patterns: Sequence[str], schema: pa.Schema, batch_size: int = BATCH_SIZE
) -> Iterator[pa.RecordBatch]:
    """Yields known features alone, which TensorFlow parses several times as fast.

    A value that is missing is null, whichever way the tf.Example says so.

    Args:
        file_patterns: Patterns of gzipped TFRecord files.
        schema: Of the batches, as tfx_bsl makes it: lists of float32, int64 or binary.
        batch_size: Rows of a batch, at most; of hundreds of features there are fewer.
    """
    batch_size = max(1, min(batch_size, _MOST_VALUES // max(len(schema), 1)))
    spec = {field.name: tf.io.RaggedFeature(_dtype(field.type), row_splits_dtype=tf.int64) for field in schema}
    parsed = _examples(file_patterns, batch_size).map(lambda examples: tf.io.parse_example(examples, spec))
    for features in parsed.prefetch(1):
        columns = [_column(features[field.name], field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _examples(file_patterns: Sequence[str], batch_size: int) -> tf.data.Dataset:
    files = sorted(file for pattern in file_patterns for file in fileio.glob(pattern))
    return tf.data.TFRecordDataset(files, compression_type="GZIP").batch(batch_size).prefetch(1)


def _dtype(list_type: pa.DataType) -> tf.DType:
    return {pa.float32(): tf.float32, pa.int64(): tf.int64}.get(list_type.value_type, tf.string)


def _column(values: tf.RaggedTensor, list_type: Any) -> pa.Array:
    splits = values.row_splits.numpy()
    is_missing = np.append(splits[1:] == splits[:-1], False)
    offsets = pa.array(splits, mask=is_missing) if is_missing.any() else pa.array(splits)
    make = pa.LargeListArray if pa.types.is_large_list(list_type) else pa.ListArray
    if make is pa.ListArray:
        offsets = offsets.cast(pa.int32())
    return make.from_arrays(offsets, pa.array(values.flat_values.numpy(), list_type.value_type))
