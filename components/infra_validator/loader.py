"""TensorFlow's C++ SavedModel loader, without Python TensorFlow. Runs in a subprocess of InfraValidator and in `serve`.

`TF_LoadSessionFromSavedModel` is the code that TF Serving runs to load a model (tensorflow/c/c_api.h). Started as a
script, this file answers requests on its standard input, so that a model that crashes takes only that process along.
"""

import base64
import contextlib
import ctypes
import functools
import importlib.util
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

INVALID_ARGUMENT = 3
_STRING = 7
_TSTRING_BYTES = 24
_DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 5: np.int16, 6: np.int8, 9: np.int64, 10: np.bool_}
_ENUMS = {np.dtype(dtype): enum for enum, dtype in _DTYPES.items()}
_POINTER_RESULTS = (
    "TF_NewStatus TF_NewGraph TF_NewSessionOptions TF_LoadSessionFromSavedModel TF_GraphOperationByName"
    " TF_AllocateTensor TF_TensorData TF_StringGetDataPointer"
)
_SIZE_RESULTS = "TF_TensorByteSize TF_StringGetSize"


class LoaderError(RuntimeError):
    """What TensorFlow says of a load or a run that failed.

    Attributes:
        code: TensorFlow's status code (tensorflow/core/protobuf/error_codes.proto), for example 3, INVALID_ARGUMENT.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class SavedModelSession:
    """A SavedModel in a C++ session. `run` may be called from many threads at once; `close` when none runs."""

    def __init__(self, model_dir: str) -> None:
        """Loads the model.

        Args:
            model_dir: Folder of `saved_model.pb`.

        Raises:
            LoaderError: If TensorFlow cannot load it.
        """
        self._library = _library()
        self._graph = ctypes.c_void_p(self._library.TF_NewGraph())
        options = ctypes.c_void_p(self._library.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        arguments = (options, None, model_dir.encode(), tags, 1, self._graph, None)
        try:
            self._session = ctypes.c_void_p(_checked(self._library.TF_LoadSessionFromSavedModel, *arguments))
        except LoaderError:
            self._library.TF_DeleteGraph(self._graph)
            raise
        finally:
            self._library.TF_DeleteSessionOptions(options)

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str]) -> list[Array]:
        """Runs the graph once.

        Args:
            feeds: Value of each tensor that is fed, by name (`serving_default_examples:0`); strings as arrays of bytes
                objects.
            fetches: Names of the tensors to return.

        Returns:
            The fetched tensors, strings as arrays of bytes objects.

        Raises:
            LoaderError: If TensorFlow refuses a value or fails.
        """
        library = self._library
        inputs = (_Output * len(feeds))(*map(self._output, feeds))
        outputs = (_Output * len(fetches))(*map(self._output, fetches))
        values = (ctypes.c_void_p * len(feeds))()
        results = (ctypes.c_void_p * len(fetches))()
        keep_alive = []
        try:
            for index, array in enumerate(feeds.values()):
                values[index], owner = _to_tensor(library, array)
                keep_alive.append(owner)
            run_arguments = (self._session, None, inputs, values, len(feeds), outputs, results, len(fetches))
            _checked(library.TF_SessionRun, *run_arguments, None, 0, None)
            return [_to_array(library, ctypes.c_void_p(result)) for result in results]
        finally:
            for tensor in (*values, *results):
                if tensor:
                    library.TF_DeleteTensor(ctypes.c_void_p(tensor))

    def close(self) -> None:
        """Frees the model."""
        _checked(self._library.TF_CloseSession, self._session)
        _checked(self._library.TF_DeleteSession, self._session)
        self._library.TF_DeleteGraph(self._graph)

    def _output(self, tensor_name: str) -> _Output:
        operation_name, _, index = tensor_name.partition(":")
        operation = self._library.TF_GraphOperationByName(self._graph, operation_name.encode())
        if not operation:
            raise LoaderError(INVALID_ARGUMENT, f"The graph has no operation '{operation_name}'.")
        return _Output(operation, int(index or 0))


def tensorflow_version() -> str:
    """Returns the version of the C++ library.

    Raises:
        LoaderError: If TensorFlow is not installed.
    """
    return str(_library().TF_Version().decode())


def encode_array(array: Array) -> dict[str, Any]:
    """Returns an array as JSON values, without loss."""
    if array.dtype == object:
        data: Any = [base64.b64encode(item).decode() for item in array.ravel()]
    else:
        data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": array.shape, "data": data}


def decode_array(values: Mapping[str, Any]) -> Array:
    """Returns the array that `encode_array` encoded."""
    if values["dtype"] == "object":
        array = np.empty(len(values["data"]), dtype=object)
        array[:] = [base64.b64decode(item) for item in values["data"]]
    else:
        array = np.frombuffer(base64.b64decode(values["data"]), values["dtype"])
    return array.reshape(values["shape"])


@functools.cache
def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("tensorflow")  # finds the package without importing it
    if spec is None or not spec.origin:
        raise LoaderError(INVALID_ARGUMENT, "TensorFlow is not installed.")
    library = ctypes.CDLL(str(Path(spec.origin).parent / "libtensorflow_cc.so.2"))
    for name in _POINTER_RESULTS.split():
        getattr(library, name).restype = ctypes.c_void_p
    for name in _SIZE_RESULTS.split():
        getattr(library, name).restype = ctypes.c_size_t
    library.TF_Message.restype = library.TF_Version.restype = ctypes.c_char_p
    library.TF_Dim.restype = ctypes.c_int64
    return library


def _checked(function: Any, *arguments: Any) -> Any:
    library = _library()
    status = ctypes.c_void_p(library.TF_NewStatus())
    try:
        result = function(*arguments, status)
        if code := library.TF_GetCode(status):
            raise LoaderError(code, library.TF_Message(status).decode(errors="replace"))
        return result
    finally:
        library.TF_DeleteStatus(status)


def _to_tensor(library: ctypes.CDLL, array: Array) -> tuple[int, Any]:
    """Returns a tensor of the array's values, and what must live as long as it."""
    is_string = array.dtype == object
    if not is_string and array.dtype not in _ENUMS:
        raise LoaderError(INVALID_ARGUMENT, f"Tensors of {array.dtype} are not supported.")
    array = array if is_string else np.ascontiguousarray(array)
    dims = (ctypes.c_int64 * array.ndim)(*array.shape)
    num_bytes = ctypes.c_size_t(array.size * _TSTRING_BYTES if is_string else array.nbytes)
    enum = _STRING if is_string else _ENUMS[array.dtype]
    tensor = library.TF_AllocateTensor(enum, dims, array.ndim, num_bytes)
    data = library.TF_TensorData(ctypes.c_void_p(tensor))
    if not is_string:
        ctypes.memmove(data, array.ctypes.data, array.nbytes)
        return tensor, None
    items = [bytes(item) for item in array.ravel()]
    for index, item in enumerate(items):
        string = ctypes.c_void_p(data + index * _TSTRING_BYTES)
        library.TF_StringInit(string)
        library.TF_StringAssignView(string, item, ctypes.c_size_t(len(item)))
    return tensor, items


def _to_array(library: ctypes.CDLL, tensor: ctypes.c_void_p) -> Array:
    enum = library.TF_TensorType(tensor)
    shape = [library.TF_Dim(tensor, index) for index in range(library.TF_NumDims(tensor))]
    data = library.TF_TensorData(tensor)
    if enum == _STRING:
        array = np.empty(int(np.prod(shape)), dtype=object)
        for index in range(array.size):
            string = ctypes.c_void_p(data + index * _TSTRING_BYTES)
            size = library.TF_StringGetSize(string)
            array[index] = ctypes.string_at(library.TF_StringGetDataPointer(string), size)
        return array.reshape(shape)
    if enum not in _DTYPES:
        raise LoaderError(INVALID_ARGUMENT, f"Tensors of TensorFlow's type {enum} are not supported.")
    num_bytes = library.TF_TensorByteSize(tensor)
    content = ctypes.string_at(data, num_bytes) if num_bytes else b""
    return np.frombuffer(content, _DTYPES[enum]).reshape(shape).copy()


def _answer_requests() -> None:
    """Answers one JSON line with another: `{"load": dir}`, then `{"feeds", "fetches", "repeat"}`, until input ends."""
    session: SavedModelSession | None = None
    with contextlib.suppress(LoaderError):  # which the first request to load repeats
        _library()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a model prints is no answer
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if "load" in request:
                session = SavedModelSession(request["load"])
            elif session:
                answer = _run_repeatedly(session, request)
        except LoaderError as err:
            answer = {"error": str(err), "code": err.code}
        answer["peak_rss_kib"] = _peak_rss_kib()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _peak_rss_kib() -> int:
    # Not ru_maxrss, which holds what the parent had when it forked.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def _run_repeatedly(session: SavedModelSession, request: Mapping[str, Any]) -> dict[str, Any]:
    feeds = {name: decode_array(values) for name, values in request["feeds"].items()}
    seconds, arrays = [], []
    for _ in range(request["repeat"]):
        start = time.perf_counter()
        arrays = session.run(feeds, request["fetches"])
        seconds.append(time.perf_counter() - start)
    return {"outputs": list(map(encode_array, arrays)), "seconds": seconds}


if __name__ == "__main__":
    _answer_requests()
