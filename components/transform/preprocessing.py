"""The Transform component's module file. `preprocessing_fn` is traced at run time, in Transform's process.

The traced graph is what the Trainer exports, so training and serving scale alike.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schema import FeatureRoles, transformed_name


def preprocessing_fn(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Scales every numeric feature to 0-1 by the training split's minimum and maximum, in one full pass.

    Args:
        inputs: One `[batch_size, 1]` tensor per raw feature, float32 or int64, label included.
        custom_config: `roles`, the fields of `FeatureRoles`.

    Returns:
        One `[batch_size, 1]` tensor per feature under its transformed name: float32, 0 to 1 within the training
        split's range; the label int64, unchanged.
    """
    roles = FeatureRoles.from_json(custom_config["roles"])
    columns = [tf.cast(inputs[name], tf.float32) for name in roles.numeric]
    # One analyzer for all columns: an analyzer per column is a Beam stage per column.
    scaled = tft.scale_to_0_1(tf.concat(columns, axis=1), elementwise=True)
    outputs = dict(
        zip(
            map(transformed_name, roles.numeric),
            tf.split(scaled, len(columns), axis=1),
            strict=True,
        )
    )
    outputs[transformed_name(roles.label)] = inputs[roles.label]
    return outputs
