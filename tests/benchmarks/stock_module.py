"""Module file of the stock pipeline: the same network as Sluice's, written as TFX's own examples write it."""

import os

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow import keras
from tfx_bsl.public import tfxio

BATCH_SIZE = 32
NUM_EPOCHS = 5
LABEL = "gate_action"


def preprocessing_fn(inputs):
    """Scales each feature with an analyzer of its own."""
    outputs = {f"{name}_xf": tft.scale_to_0_1(x) for name, x in inputs.items() if name != LABEL}
    outputs[f"{LABEL}_xf"] = inputs[LABEL]
    return outputs


def run_fn(fn_args):
    """Fits and exports the model as TFX's penguin example does."""
    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    keras.utils.set_random_seed(int(os.environ.get("BENCHMARK_SEED", "1")))
    train = _dataset(fn_args.train_files, fn_args, tft_output)
    validation = _dataset(fn_args.eval_files, fn_args, tft_output)
    model = _build_model(tft_output)
    model.fit(train, validation_data=validation, epochs=NUM_EPOCHS, verbose=2)

    model.tft_layer = tft_output.transform_features_layer()
    raw_spec = tft_output.raw_feature_spec()
    serving_spec = {name: spec for name, spec in raw_spec.items() if name != LABEL}
    examples = tf.TensorSpec([None], tf.string, name="examples")

    @tf.function(input_signature=[examples])
    def serving_default(examples):
        transformed = model.tft_layer(tf.io.parse_example(examples, serving_spec))
        return {"outputs": model(transformed)}

    @tf.function(input_signature=[examples])
    def transform_features(examples):
        return model.tft_layer(tf.io.parse_example(examples, raw_spec))

    signatures = {
        "serving_default": serving_default,
        "transform_features": transform_features,
    }
    tf.saved_model.save(model, fn_args.serving_model_dir, signatures=signatures)


def _dataset(files, fn_args, tft_output):
    options = tfxio.TensorFlowDatasetOptions(batch_size=BATCH_SIZE, num_epochs=1, label_key=f"{LABEL}_xf")
    return fn_args.data_accessor.tf_dataset_factory(files, options, tft_output.transformed_metadata.schema)


def _build_model(tft_output):
    names = [name for name in tft_output.transformed_feature_spec() if name != f"{LABEL}_xf"]
    inputs = {name: keras.Input((1,), name=name) for name in names}
    hidden = keras.layers.concatenate(list(inputs.values()))
    hidden = keras.layers.Dense(64, activation="relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model
