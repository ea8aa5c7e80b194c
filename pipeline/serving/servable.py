"""One version of a model in memory: loads it, warms it up, runs its signatures. Runs in the development server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import grpc
import numpy as np
import numpy.typing as npt
from tensorflow_serving.apis import get_model_metadata_pb2

from components.infra_validator.loader import LoaderError, SavedModelSession
from components.infra_validator.signatures import Signature, TensorInfo, load_meta_graph, signatures_of
from pipeline.serving.status import ServingError, invalid_argument

Array = npt.NDArray[Any]
DEFAULT_SIGNATURE = "serving_default"
_TENSORFLOW_NAMES = {"float32": "float", "float64": "double", "object": "string"}
_MAX_NAMED = 5  # wrong inputs that an error names


class Servable:
    """One version of a model. `predict` and `classify` may be called from many threads at once.

    Attributes:
        version: Its number.
        signatures: What it offers, by name.
        signature_defs: The same, as GetModelMetadata tells it.
    """

    def __init__(self, model_dir: Path, version: int) -> None:
        """Loads a model; `components.infra_validator.loader` says how.

        Raises:
            ServingError: If TensorFlow cannot load it.
        """
        self.version = version
        try:
            self._session = SavedModelSession(str(model_dir))
        except LoaderError as err:
            raise ServingError.numbered(err.code, str(err)) from err
        try:
            meta_graph = load_meta_graph(str(model_dir))
        except (OSError, ValueError) as err:
            self._session.close()
            raise ServingError(grpc.StatusCode.NOT_FOUND, str(err)) from err
        self.signatures = signatures_of(meta_graph)
        self.signature_defs = get_model_metadata_pb2.SignatureDefMap(signature_def=meta_graph.signature_def)

    def close(self) -> None:
        """Frees the model; no call may be under way."""
        self._session.close()

    def predict(self, name: str, inputs: Mapping[str, Array], output_filter: Sequence[str] = ()) -> dict[str, Array]:
        """Runs a signature.

        Args:
            name: Of the signature; empty for `serving_default`.
            inputs: By name; strings as arrays of bytes objects.
            output_filter: The outputs to return; all, if empty.

        Returns:
            The outputs by name.

        Raises:
            ServingError: If the signature, an input or an output is not there, or TensorFlow refuses a value; worded
                as by TF Serving (predict_util.cc), which leaves dtypes and shapes to TensorFlow.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            message = f'Serving signature key "{name}" not found. {self._offers()}'
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)
        signature = self.signatures[name]
        _check_inputs(signature, inputs)
        _check_filter(signature, output_filter)
        outputs = output_filter or list(signature.outputs)
        feeds = {signature.inputs[alias].tensor_name: array for alias, array in inputs.items()}
        try:
            arrays = self._session.run(feeds, [signature.outputs[alias].tensor_name for alias in outputs])
        except LoaderError as err:
            raise ServingError.numbered(err.code, f"{err}{_misfits(name, signature, inputs)}") from err
        return dict(zip(outputs, arrays, strict=True))

    def classify(self, name: str, examples: Sequence[bytes]) -> tuple[Array, Array]:
        """Classifies rows.

        Args:
            name: Of the signature; empty for `serving_default`.
            examples: Serialized tf.Examples.

        Returns:
            Classes, bytes objects `[num_examples, C]`, and scores, float32 `[num_examples, C]`; empty strings or zeros
            where the signature does not give them.

        Raises:
            ServingError: If the signature does not classify, or TensorFlow refuses an example; worded as by TF Serving
                (classifier.cc).
        """
        name = name or DEFAULT_SIGNATURE
        outputs = self._class_outputs(name)
        if not examples:
            raise invalid_argument("Input is empty.")
        answer = self.predict(name, {"inputs": _strings(examples)}, outputs)
        shape = answer[outputs[0]].shape
        return answer.get("classes", np.full(shape, b"", object)), answer.get("scores", np.zeros(shape, np.float32))

    def regress(self, name: str) -> NoReturn:
        """Refuses as TF Serving does where no signature regresses (regressor.cc).

        Raises:
            ServingError: Always.
        """
        signature = self.signature(name or DEFAULT_SIGNATURE)
        for tensors, kind in ((signature.inputs, "input"), (signature.outputs, "output")):
            if len(tensors) != 1:
                raise invalid_argument(f"Expected one {kind} Tensor. {self._offers()}")
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, "This server serves classifiers, it has no Regress.")

    def signature(self, name: str) -> Signature:
        """Returns a signature for Classify and Regress.

        Raises:
            ServingError: If there is none of that name.
        """
        if name not in self.signatures:
            raise invalid_argument(f"No signature was found with the name: {name}. {self._offers()}")
        return self.signatures[name]

    def _class_outputs(self, name: str) -> list[str]:
        """Returns which of `classes` and `scores` a signature gives, or says why it does not classify."""
        signature, definition = self.signature(name), self.signature_defs.signature_def[name]
        num_outputs = len(signature.outputs)
        outputs = [alias for alias in ("classes", "scores") if alias in signature.outputs]
        if len(signature.inputs) != 1:
            raise invalid_argument(f"Expected one input Tensor. {self._offers()}")
        if num_outputs not in (1, 2):
            raise invalid_argument(f"Expected one or two output Tensors, found {num_outputs}. {self._offers()}")
        if "inputs" not in signature.inputs:
            raise invalid_argument(f"No classification inputs found in SignatureDef: {definition}")
        if not outputs:
            raise invalid_argument(
                'Expected classification signature outputs to contain at least one of "classes" or "scores". '
                f"Signature was: {definition}"
            )
        return outputs

    def _offers(self) -> str:
        offers = (f"{name} ({it.method_name.rpartition('/')[2]})" for name, it in sorted(self.signatures.items()))
        return f"Version {self.version} has the signatures {', '.join(offers)}."


def tensorflow_name(dtype: np.dtype[Any]) -> str:
    """Returns TensorFlow's name of a dtype, `float` for float32."""
    return _TENSORFLOW_NAMES.get(dtype.name, dtype.name)


def describe(info: TensorInfo) -> str:
    """Returns the type and shape of a tensor in words, `float [?,1]`."""
    return f"{tensorflow_name(info.dtype)} {_shape(info.shape)}"


def _check_inputs(signature: Signature, inputs: Mapping[str, Array]) -> None:
    sent, wanted = set(inputs), set(signature.inputs)
    if sent == wanted:
        return
    difference = f"Sent extra: {_braces(sent - wanted)}. Missing but required: {_braces(wanted - sent)}."
    if len(sent) != len(wanted):
        sizes = f"{len(sent)}!={len(wanted)} len({_braces(sent)}) != len({_braces(wanted)})"
        raise invalid_argument(f"input size does not match signature: {sizes}. {difference}")
    alias = min(wanted - sent)
    raise invalid_argument(
        f"Signature input alias: {alias}(feed name: {signature.inputs[alias].tensor_name}) not found in request and no "
        f"default value provided. {difference}"
    )


def _check_filter(signature: Signature, output_filter: Sequence[str]) -> None:
    for index, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            wanted = "".join(f"{name}," for name in sorted(signature.outputs))
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {{{wanted}}}."
            )
        if alias in output_filter[:index]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")


def _misfits(name: str, signature: Signature, inputs: Mapping[str, Array]) -> str:
    """Returns which inputs differ in type or shape from the signature, to follow TensorFlow's own words."""
    misfits = [
        f"{alias} is {tensorflow_name(array.dtype)} {_shape(array.shape)} and should be {describe(info)}"
        for alias, array in sorted(inputs.items())
        if (info := signature.inputs[alias]).dtype != array.dtype or not info.fits(array.shape)
    ]
    if not misfits:
        return ""
    more = f"; and {len(misfits) - _MAX_NAMED} more" if len(misfits) > _MAX_NAMED else ""
    return f"\nInputs that do not fit signature {name}: {'; '.join(misfits[:_MAX_NAMED])}{more}."


def _shape(shape: Sequence[int | None] | None) -> str:
    return "of any rank" if shape is None else f"[{','.join('?' if size is None else str(size) for size in shape)}]"


def _braces(names: set[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


def _strings(items: Sequence[bytes]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array
