"""A transformation that makes a label of what is none, after the data gate has looked."""

import tensorflow as tf

from components.transform import preprocessing


def preprocessing_fn(inputs, custom_config):
    outputs = preprocessing.preprocessing_fn(inputs, custom_config)
    label = "gate_action_xf"
    return outputs | {label: tf.where(outputs[label] == 2, tf.constant(7, outputs[label].dtype), outputs[label])}
