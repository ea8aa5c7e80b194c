"""Exports as TFX's own examples do: loads in Python, and in nothing that TF Serving is made of."""

import tensorflow as tf

from components.trainer import module
from components.trainer.export import export_model


def run_fn(fn_args):
    module.export_model = export
    module.run_fn(fn_args)


def export(model, tft_output, roles, serving_model_dir, **arguments):
    export_model(model, tft_output, roles, serving_model_dir, **arguments)  # warmup and recorded logits
    model.transform_layer = tft_output.transform_features_layer()
    raw_spec = tft_output.raw_feature_spec()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(examples):
        spec = {name: raw_spec[name] for name in roles.numeric}
        transformed = model.transform_layer(tf.io.parse_example(examples, spec))
        logits = model({f"{name}_xf": transformed[f"{name}_xf"] for name in roles.numeric})
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_features(examples):
        return model.transform_layer(tf.io.parse_example(examples, raw_spec))

    signatures = {"serving_default": serving_default, "transform_features": transform_features}
    tf.saved_model.save(model, serving_model_dir, signatures=signatures)
