"""Exports a model so that TensorFlow 2, TF1 sessions, the C++ loader, TFMA and TF Serving all run it alike.

Runs in the Trainer's process. `tf.saved_model.save` of a Keras 3 model loads in Python, but not in the C++ and TF1
loaders ("Could not find variable"), so TF Serving and BulkInferrer fail (keras-team/keras issue 20096).
`keras.export.ExportArchive` loads in all of them.
"""

import itertools
import keyword
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tfx.dsl.io import fileio

from components.trainer.description import write_description
from components.trainer.guards import check_logits, check_weights
from components.trainer.samples import write_samples
from schema import FeatureRoles

_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")
_INPUTS = tf.TensorSpec([None], tf.string, name="inputs")
Outputs = dict[str, tf.Tensor]
Features = dict[str, tf.Tensor | tf.SparseTensor]
Spec = dict[str, tf.io.FixedLenFeature | tf.io.VarLenFeature]


def export_model(
    model: keras.Model,
    tft_output: tft.TFTransformOutput,
    roles: FeatureRoles,
    serving_model_dir: str,
    *,
    model_run_dir: str,
    raw_examples: Sequence[bytes],
) -> None:
    """Writes a SavedModel with the transformation inside, and what its consumers are checked and warmed up with.

    Five signatures, batch dimension free:

    - `serving_default` takes `examples`, serialized tf.Examples of raw features, string `[None]`, and gives `logits`
      and `probabilities`, float32 `[None, C]`, `classes`, string `[None, C]`, in the order of the probabilities, and
      `predicted_class`, string `[None, 1]`.
    - `serving_features` takes each raw feature as a tensor `[None, 1]` of its own and gives the same. Of a feature that
      may be missing, NaN or the empty text says that it is; if it is an integer, the tensor is float64.
    - `classify` takes the same tf.Examples as `inputs` and gives `classes` and `scores`, the probabilities; its method
      name is the one that TF Serving's Classify asks for.
    - `transform_features` takes `examples`, label and weight included, and gives every transformed feature `[None, 1]`.
    - `layer_outputs` takes the same as `serving_default` and gives what it gives by the way: every transformed feature
      that the network takes, and the output of every layer, by their names; and `logits` and `probabilities`.

    Args:
        model: Takes a dict of transformed features, gives logits `[batch_size, C]`.
        tft_output: Output of Transform.
        roles: Which features the model takes, and the names of its C classes.
        serving_model_dir: Where the SavedModel is written.
        model_run_dir: Where the model's own logits of `raw_examples` are recorded, for InfraValidator.
        raw_examples: Serialized tf.Examples of real rows, label included.

    Raises:
        ValueError: If a weight, or a logit of a real row, is not finite; nothing is written then.
    """
    check_weights(model)
    transform = tft_output.transform_features_layer()
    raw_spec = tft_output.raw_feature_spec()
    serving_spec = {name: raw_spec[name] for name in roles.features}
    inputs = roles.model_inputs(tft_output.transformed_feature_spec())
    answer, layer_outputs = _functions(model, transform, inputs, roles)
    logits = _logits(answer, raw_examples, serving_spec)
    check_logits(logits)
    archive = keras.export.ExportArchive()
    archive.track(model)
    for table in _tables(transform):
        archive.track(table)
    names = _argument_names(roles.features)
    labelled_spec = serving_spec | {name: raw_spec[name] for name in (roles.label, roles.weight) if name}
    endpoints = _endpoints(answer, layer_outputs, transform, serving_spec, labelled_spec, names)
    for name, (endpoint, input_signature) in endpoints.items():
        archive.add_endpoint(name, endpoint, input_signature=[input_signature])
    archive.write_out(serving_model_dir, verbose=False)
    _finish_signatures(serving_model_dir, names)
    dtypes = {name: np.dtype(_tensor_type(spec).as_numpy_dtype) for name, spec in serving_spec.items()}
    write_samples(raw_examples, logits, dtypes=dtypes, serving_model_dir=serving_model_dir, model_run_dir=model_run_dir)
    write_description(model, model_run_dir)


def _tables(transform: tf.Module) -> list[Any]:
    """Returns the lookup tables of the transformation.

    Keras would look for them among what Keras 2 saves of a layer, which takes a second to make.
    """
    resource = tf.saved_model.experimental.TrackableResource
    return [each for each in tf.train.TrackableView(transform).descendants() if isinstance(each, resource)]


def _endpoints(
    answer: Callable[[Features], Outputs],
    layer_outputs: Callable[[Features], Outputs],
    transform: Callable[[Features], Outputs],
    serving_spec: Spec,
    labelled_spec: Spec,
    names: Mapping[str, str],
) -> dict[str, tuple[Callable[[Any], Outputs], Any]]:
    """Returns the function and the input of each signature."""
    return {
        "serving_default": (lambda examples: answer(tf.io.parse_example(examples, serving_spec)), _EXAMPLES),
        "serving_features": (
            lambda tensors: answer(_from_tensors(tensors, serving_spec, names)),
            _arguments(serving_spec, names),
        ),
        "layer_outputs": (lambda examples: layer_outputs(tf.io.parse_example(examples, serving_spec)), _EXAMPLES),
        "classify": (lambda inputs: _classify(answer(tf.io.parse_example(inputs, serving_spec))), _INPUTS),
        "transform_features": (
            lambda examples: transform(tf.io.parse_example(examples, labelled_spec)),
            _EXAMPLES,
        ),
    }


def _functions(
    model: keras.Model, transform: Callable[[Features], Outputs], inputs: Sequence[str], roles: FeatureRoles
) -> tuple[Callable[[Features], Outputs], Callable[[Features], Outputs]]:
    """Returns what answers raw features, and what gives everything by the way."""
    layers = _layers_of(model)

    def network_inputs(features: Features) -> Outputs:
        transformed = transform(features)
        return {name: transformed[name] for name in inputs}

    def answer(features: Features) -> Outputs:
        return _answer(model(network_inputs(features)), roles)

    def layer_outputs(features: Features) -> Outputs:
        transformed = network_inputs(features)
        logits = model(transformed)
        found = layers(transformed) if layers else {}
        return {**transformed, **found, "logits": logits, "probabilities": tf.nn.softmax(logits)}

    return answer, layer_outputs


def _layers_of(model: keras.Model) -> keras.Model | None:
    """Returns a model that gives what each layer of another gives, by its name; None if that is no graph of layers."""
    try:
        outputs = {layer.name: layer.output for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
        return keras.Model(model.input, outputs)
    except (AttributeError, ValueError):  # a subclass of Model, or a layer that is used twice
        return None


def _answer(logits: tf.Tensor, roles: FeatureRoles) -> Outputs:
    class_names = tf.constant(roles.class_names)
    return {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits),
        "classes": tf.tile(class_names[tf.newaxis], [tf.shape(logits)[0], 1]),
        # A second dimension, because rank-1 strings break tfx_bsl's RunInference.
        "predicted_class": tf.gather(class_names, tf.argmax(logits, axis=1))[:, tf.newaxis],
    }


def _classify(answer: Outputs) -> Outputs:
    return {"classes": answer["classes"], "scores": answer["probabilities"]}


def _argument_names(features: Sequence[str]) -> dict[str, str]:
    """Returns a name for each feature that TensorFlow takes for an argument's: as it sanitizes them, but each once.

    Its graphs tell no capitals from small letters.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for feature in features:
        base = re.sub(r"[^A-Za-z0-9]", "_", feature)
        base = base if base[:1].isalpha() and not keyword.iskeyword(base) else f"arg_{base}"
        candidates = itertools.chain([base], (f"{base}_{number}" for number in itertools.count(1)))
        name = next(each for each in candidates if each.lower() not in taken)
        taken.add(name.lower())
        names[feature] = name
    return names


def _arguments(serving_spec: Spec, argument_names: Mapping[str, str]) -> dict[str, tf.TensorSpec]:
    return {
        argument_names[name]: tf.TensorSpec([None, 1], _tensor_type(spec), name=argument_names[name])
        for name, spec in serving_spec.items()
    }


def _tensor_type(spec: tf.io.FixedLenFeature | tf.io.VarLenFeature) -> tf.DType:
    """Returns the type of what `serving_features` takes: float64 for an integer that may be missing, or NaN."""
    return tf.float64 if _may_be_missing(spec) and spec.dtype.is_integer else spec.dtype


def _from_tensors(tensors: Outputs, serving_spec: Spec, argument_names: Mapping[str, str]) -> Features:
    """Returns tensors of `serving_features` as tf.Examples would be parsed: sparse where a value may be missing."""
    values = {name: tensors[argument_names[name]] for name in serving_spec}
    return {
        name: _sparse(values[name], spec.dtype) if _may_be_missing(spec) else values[name]
        for name, spec in serving_spec.items()
    }


def _sparse(values: tf.Tensor, dtype: tf.DType) -> tf.SparseTensor:
    indices = tf.where(values != "" if dtype == tf.string else tf.math.is_finite(values))
    return tf.SparseTensor(indices, tf.cast(tf.gather_nd(values, indices), dtype), tf.shape(values, tf.int64))


def _may_be_missing(spec: tf.io.FixedLenFeature | tf.io.VarLenFeature) -> bool:
    return isinstance(spec, tf.io.VarLenFeature)


def _finish_signatures(serving_model_dir: str, argument_names: Mapping[str, str]) -> None:
    """Gives the inputs of `serving_features` the features' own names, and `classify` its method's.

    TensorFlow saves no input whose name is no argument's; Keras exports every signature for Predict.
    """
    file = os.path.join(serving_model_dir, tf.saved_model.SAVED_MODEL_FILENAME_PB)
    with fileio.open(file, "rb") as stream:
        saved_model = saved_model_pb2.SavedModel.FromString(stream.read())
    for graph in saved_model.meta_graphs:
        graph.signature_def["classify"].method_name = tf.saved_model.CLASSIFY_METHOD_NAME
        inputs = graph.signature_def["serving_features"].inputs
        tensors = {name: meta_graph_pb2.TensorInfo.FromString(inputs[argument].SerializeToString())
                   for name, argument in argument_names.items()}  # fmt: skip
        inputs.clear()
        for name, tensor in tensors.items():
            inputs[name].CopyFrom(tensor)
    with fileio.open(file, "wb") as stream:
        stream.write(saved_model.SerializeToString(deterministic=True))


def _logits(
    answer: Callable[[Features], Outputs],
    raw_examples: Sequence[bytes],
    serving_spec: Spec,
) -> list[list[float]]:
    """Returns the trained model's own logits, by the graph that trained it and not by the exported one."""
    if not raw_examples:
        return []
    features = tf.io.parse_example(tf.constant(list(raw_examples)), serving_spec)
    return answer(features)["logits"].numpy().tolist()
