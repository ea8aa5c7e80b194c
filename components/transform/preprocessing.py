"""The Transform component's module file. `preprocessing_fn` is traced at run time, in Transform's process.

The traced graph is what the Trainer exports, so training and serving transform alike.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.schema_gen import unpack
from components.transform.vocabularies import vocabulary_name
from schema import FeatureRoles, missing_name, transformed_name

_HUGE = tf.float64.max
Inputs = dict[str, tf.Tensor | tf.SparseTensor]
Outputs = dict[str, tf.Tensor]


def preprocessing_fn(inputs: Inputs, custom_config: dict[str, Any]) -> Outputs:
    """Turns raw features into what the model takes, in one full pass over the training split.

    A number is scaled to 0-1 by the training split's minimum and maximum; where it is missing, NaN or infinite, it is
    the training split's mean. A column that is constant becomes 0. A category becomes its position in the vocabulary.

    Args:
        inputs: One tensor per raw feature, float32, int64 or string: `[batch_size, 1]`, sparse where it may be missing.
        custom_config: `roles`, the fields of `FeatureRoles`; `domains`, the categories that the schema lists by
            feature, JSON that `schema_gen.pack` made; `clip`, `missing_indicator` and `min_frequency` of the config.

    Returns:
        One `[batch_size, 1]` tensor per feature under its transformed name. Numeric: float32, 0 to 1 within the
        training split's range. Categorical: int64, 0 where it is missing, then the vocabulary's, then one for all that
        is not in it. Where asked for, `missing_name`: float32, 1 where a number is missing. The label: int64, the
        position of its class. The weight: float32, unchanged.
    """
    roles = FeatureRoles.from_json(custom_config["roles"])
    outputs = _numeric_outputs(inputs, roles, custom_config) if roles.numeric else {}
    domains = json.loads(unpack(custom_config["domains"]))
    for name in roles.categorical:
        tokens = _tokens(inputs[name])
        positions = _positions(name, tokens, domains.get(name, ()), custom_config["min_frequency"])
        outputs[transformed_name(name)] = tf.where(tokens == "", tf.zeros_like(positions), positions + 1)
    label = inputs[roles.label]
    if roles.has_text_label:
        label = _lookup(roles.label, label, roles.class_names, default=-1)
    outputs[transformed_name(roles.label)] = label
    if roles.weight:
        outputs[transformed_name(roles.weight)] = tf.cast(inputs[roles.weight], tf.float32)
    return outputs


def _numeric_outputs(inputs: Inputs, roles: FeatureRoles, config: dict[str, Any]) -> Outputs:
    # One analyzer for all columns: an analyzer per column is a Beam stage per column. Integers need float64.
    values = tf.concat([_number(inputs[name]) for name in roles.numeric], axis=1)
    is_there = tf.math.is_finite(values)
    scaled = _scale_to_0_1(values, is_there)
    if config["clip"]:
        scaled = tf.clip_by_value(scaled, 0.0, 1.0)
    outputs = _columns(scaled, map(transformed_name, roles.numeric))
    if config["missing_indicator"]:
        is_missing = _columns(tf.cast(~is_there, tf.float32), map(missing_name, roles.numeric))
        outputs |= {name: is_missing[name] for name in map(missing_name, roles.optional) if name in is_missing}
    return outputs


def _scale_to_0_1(values: tf.Tensor, is_there: tf.Tensor) -> tf.Tensor:
    """Scales each column, `[batch_size, num_columns]`; tft.scale_to_0_1 makes a sigmoid of a column with one NaN."""
    zeros, num_columns = tf.zeros_like(values), values.shape[1]
    extremes = tf.concat([tf.where(is_there, -values, -_HUGE), tf.where(is_there, values, -_HUGE)], axis=1)
    maxima = tft.max(extremes, reduce_instance_dims=False)
    minimum, maximum = -maxima[:num_columns], maxima[num_columns:]
    sums = tft.sum(
        tf.concat([tf.where(is_there, values, zeros), tf.cast(is_there, tf.float64)], axis=1),
        reduce_instance_dims=False,
    )
    mean = tf.math.divide_no_nan(sums[:num_columns], sums[num_columns:])
    has_range = maximum > minimum
    width = tf.where(has_range, maximum - minimum, tf.ones_like(maximum))
    scaled = (tf.where(is_there, values, mean) - minimum) / width
    return tf.cast(tf.where(has_range, scaled, zeros), tf.float32)


def _columns(values: tf.Tensor, names: Iterable[str]) -> Outputs:
    return dict(zip(names, tf.split(values, values.shape[1], axis=1), strict=True))


def _number(values: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """Returns a feature as float64 `[batch_size, 1]`, NaN where it is missing."""
    return _dense(tf.cast(values, tf.float64), float("nan"))


def _tokens(values: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """Returns a feature as text `[batch_size, 1]`, empty where it is missing."""
    if values.dtype != tf.string:
        as_text = tf.strings.as_string
        values = values.with_values(as_text(values.values)) if isinstance(values, tf.SparseTensor) else as_text(values)
    return _dense(values, "")


def _dense(values: tf.Tensor | tf.SparseTensor, default: Any) -> tf.Tensor:
    if not isinstance(values, tf.SparseTensor):
        return values
    one_column = tf.SparseTensor(values.indices, values.values, [values.dense_shape[0], 1])
    return tf.sparse.to_dense(one_column, default)


def _positions(name: str, tokens: tf.Tensor, domain: Sequence[str], min_frequency: int) -> tf.Tensor:
    """Returns the position of each category, and the number of categories for all that is none."""
    if domain:
        return _lookup(name, tokens, domain, default=len(domain))
    return tft.compute_and_apply_vocabulary(
        tokens,
        num_oov_buckets=1,
        vocab_filename=vocabulary_name(name),
        frequency_threshold=min_frequency,
    )


def _lookup(name: str, tokens: tf.Tensor, known: Sequence[str], *, default: int) -> tf.Tensor:
    def create_table() -> tf.lookup.StaticHashTable:
        initializer = tf.lookup.KeyValueTensorInitializer(list(known), tf.range(len(known), dtype=tf.int64))
        return tf.lookup.StaticHashTable(initializer, default)

    return tft.make_and_track_object(create_table, name=vocabulary_name(name)).lookup(tokens)
