"""Exports a model so that TensorFlow 2, a TF1 session, TFMA and TF Serving all run it. Runs in the Trainer's process.

`tf.saved_model.save` of a Keras 3 model loads in Python, but not in the C++ and TF1 loaders ("Could not find
variable"), so TF Serving and BulkInferrer fail (keras-team/keras issue 20096). `keras.export.ExportArchive` loads in
all of them.
"""

from collections.abc import Callable

import keras
import tensorflow as tf
import tensorflow_transform as tft

from schema import FeatureRoles, transformed_name

_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")


def export_model(
    model: keras.Model,
    tft_output: tft.TFTransformOutput,
    roles: FeatureRoles,
    serving_model_dir: str,
) -> None:
    """Writes a SavedModel with the transformation inside.

    Signature `serving_default` takes `examples`, serialized tf.Examples of raw features, string `[None]`, and gives
    `logits` and `probabilities`, float32 `[None, C]`, `classes`, string `[None, C]`, in the order of the
    probabilities, and `predicted_class`, string `[None, 1]`. Signature `transform_features` takes the same, label
    included, and gives every transformed feature `[None, 1]`.

    Args:
        model: Takes a dict of transformed features, gives logits `[batch_size, C]`.
        tft_output: Output of Transform.
        roles: Which features the model takes, and the names of its C classes.
        serving_model_dir: Where the SavedModel is written.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.transform_layer = tft_output.transform_features_layer()
    raw_spec = tft_output.raw_feature_spec()
    serving_spec = {name: spec for name, spec in raw_spec.items() if name != roles.label}
    archive.add_endpoint(
        "serving_default",
        _serving_default(model, archive.transform_layer, serving_spec, roles),
        input_signature=[_EXAMPLES],
    )
    archive.add_endpoint(
        "transform_features",
        _transform_features(archive.transform_layer, raw_spec),
        input_signature=[_EXAMPLES],
    )
    archive.write_out(serving_model_dir, verbose=False)


def _serving_default(
    model: keras.Model,
    transform_layer: tf.Module,
    serving_spec: dict[str, tf.io.FixedLenFeature],
    roles: FeatureRoles,
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Parses, transforms and classifies, as `export_model` says."""
        transformed = transform_layer(tf.io.parse_example(examples, serving_spec))
        logits = model({name: transformed[name] for name in map(transformed_name, roles.numeric)})
        class_names = tf.constant(roles.class_names)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "classes": tf.tile(class_names[tf.newaxis], [tf.shape(logits)[0], 1]),
            # A second dimension, because rank-1 strings break tfx_bsl's RunInference.
            "predicted_class": tf.gather(class_names, tf.argmax(logits, axis=1))[:, tf.newaxis],
        }

    return serving_default


def _transform_features(
    transform_layer: tf.Module, raw_spec: dict[str, tf.io.FixedLenFeature]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    def transform_features(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return transform_layer(tf.io.parse_example(examples, raw_spec))

    return transform_features
