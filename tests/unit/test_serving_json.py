import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from components.infra_validator.signatures import PREDICT_METHOD, Signature, TensorInfo
from pipeline.serving.json_examples import examples_of
from pipeline.serving.json_predict import inputs_of, outputs_to_json
from pipeline.serving.json_values import parse_object, to_array, to_json
from pipeline.serving.status import ServingError
from pipeline.serving.tensors import inputs_of as grpc_inputs_of
from pipeline.serving.tensors import to_tensor_proto


def info(dtype, shape=(None,)):
    return TensorInfo("tensor:0", np.dtype(dtype), shape)


ONE = Signature(PREDICT_METHOD, {"x": info("float32")}, {})
TWO = Signature(PREDICT_METHOD, {"a": info("float32"), "b": info("int64")}, {})


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1, "float32", np.float32(1)),
        ([1, 2.5], "float32", np.array([1, 2.5], np.float32)),
        ([1e300], "float32", np.array([np.inf], np.float32)),
        ([[1], [2]], "int64", np.array([[1], [2]])),
        ([True, False], "bool", np.array([True, False])),
        (["a", {"b64": "AP8="}], "object", np.array([b"a", b"\0\xff"], object)),
        ([], "float64", np.zeros(0)),
        ([[], []], "float64", np.zeros((2, 0))),
    ],
)
def test_values_become_tensors(value, dtype, expected):
    with np.errstate(over="ignore"):
        array = to_array(value, info(dtype))
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == dtype


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (["1"], "float32", 'JSON Value: "1" Type: String is not of expected type: float$'),
        ([True], "float64", "JSON Value: true Type: True is not of expected type: double$"),
        ([None], "int64", "JSON Value: null Type: Null is not of expected type: int64$"),
        ([1.0], "int32", r"JSON Value: 1\.0 Type: Number is not of expected type: int32$"),
        ([1, 1 << 31], "int32", "JSON Value: 2147483648 Type: Number is not of expected type: int32$"),
        ([1], "bool", "JSON Value: 1 Type: Number is not of expected type: bool$"),
        ([1], "object", "JSON Value: 1 Type: Number is not of expected type: string$"),
        ([{}], "float32", "JSON Value: {} Type: Object is not of expected type: float$"),
        ([{"b65": ""}], "object", r"JSON Value: \{.*\} not formatted correctly for base64 data$"),
        ([{"b64": "?"}], "object", "Unable to base64 decode$"),
        ([{"b64": "\u00e9"}], "object", "Unable to base64 decode$"),
        (functools.reduce(lambda value, _: [value], range(33), 1), "int64", "JSON Value: lists are nested 33 deep"),
        ([[1], [1, 2]], "int64", "Encountered list at unexpected size: 2 at level: 1 expected size: 1$"),
        ([[1], 2], "int64", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2$"),
        ([1, [2]], "int64", "Encountered list at unexpected level: 1 expected < 1$"),
        (["x" * 1000], "int64", 'JSON Value: "x{199}\\.\\.\\. Type: String'),
    ],
)
def test_values_of_another_type_or_shape_are_refused(value, dtype, text):
    with pytest.raises(ServingError, match=f"(?s)^{text}"):
        to_array(value, info(dtype))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "The document is empty$"),
        (b"{", "Missing a name for object member. at offset: 1$"),
        (b"nope", "Invalid value. at offset: 0$"),
        (b"{} {}", "The document root must not be followed by other values. at offset: 3$"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5$"),
        (b'{"a": "', "Missing a closing quotation mark in string. at offset: 6$"),
        (b'{"a": 1 "b"}', "Expecting ',' delimiter. at offset: 8$"),
        (b"\xff\xfe\xfd", ".*decode"),
        (b"[" * 100_000, "maximum recursion depth"),
    ],
)
def test_malformed_json_is_refused_with_its_place(body, text):
    with pytest.raises(ServingError, match=f"^JSON Parse error: {text}"):
        parse_object(body)


def test_a_document_is_an_object_whose_signature_name_is_text():
    with pytest.raises(ServingError, match=r"(?s)JSON Value: \[.*\] Is not object"):
        parse_object(b"[1]")
    with pytest.raises(ServingError, match="'signature_name' key must be a string value"):
        parse_object(b'{"signature_name": 1}')


@pytest.mark.parametrize("document", [{"instances": [1, 2]}, {"instances": [{"x": 1}, {"x": 2}]}, {"inputs": [1, 2]}])
def test_one_input_needs_no_name(document):
    np.testing.assert_array_equal(inputs_of(document, ONE)["x"], [1, 2])


@pytest.mark.parametrize(
    "document", [{"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}, {"inputs": {"a": [1, 3], "b": [2, 4], "c": "?"}}]
)
def test_rows_and_columns_give_the_same_tensors(document):
    inputs = inputs_of(document, TWO)
    assert inputs.keys() == {"a", "b"}  # TF Serving passes over columns that the signature does not take
    np.testing.assert_array_equal(inputs["a"], np.array([1, 3], np.float32))
    np.testing.assert_array_equal(inputs["b"], [2, 4])


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"instances": [], "inputs": []}, ".*expecting only one of 'inputs' or 'instances' keys to exist"),
        ({"instances": 1}, "JSON Value: 1 Expecting 'instances' to be an list/array"),
        ({"instances": [1]}, r"instances is a plain list, .* The signature takes a float \[\?\], b int64 \[\?\]\."),
        ({"inputs": [1]}, "inputs is a plain value/list, but expecting an object"),
        ({"instances": [{"a": 1, "b": 1}, 5]}, "Expecting object but got list at item 1 of input list"),
        ({"instances": [{"a": 1}]}, "Failed to process element: 0 .* keys must be equal to: a,b, Missing: b"),
        ({"instances": [{"a": 1, "b": 1}, {"a": 1, "c": 1}]}, "Failed to process element: 1 key: c of 'instances'"),
        (
            {"instances": [{"a": 1, "b": 1}, {"a": 1, "b": "?"}]},
            "Failed to process element: 1 key: b of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"\\?\"",
        ),
        ({"instances": [{"a": [1], "b": 1}, {"a": [1, 2], "b": 1}]}, ".*Expecting tensor size: 1 but got: 2"),
        ({"instances": [{"a": [1], "b": 1}, {"a": [[1]], "b": 1}]}, r".*Expecting shape \[1\] but got: \[1,1\]"),
    ],
)
def test_rows_and_columns_that_do_not_fit_the_signature_are_refused(document, text):
    with pytest.raises(ServingError, match=f"(?s)^{text}"):
        inputs_of(document, TWO)


def test_a_plain_row_does_not_mix_with_objects():
    with pytest.raises(ServingError, match=r"^Expecting value/list but got object at item 1 of input list"):
        inputs_of({"instances": [1, {"x": 1}]}, ONE)


def test_answers_are_in_the_form_of_the_request():
    outputs = {"score": np.array([0.1, 3.0], np.float32), "raw_bytes": np.array([b"\0", b"a"], object)}
    assert outputs_to_json(outputs, in_rows=True) == {
        "predictions": [{"score": 0.1, "raw_bytes": {"b64": "AA=="}}, {"score": 3.0, "raw_bytes": {"b64": "YQ=="}}]
    }
    assert outputs_to_json(outputs, in_rows=False)["outputs"]["score"] == [0.1, 3.0]
    assert outputs_to_json({"score": outputs["score"]}, in_rows=True) == {"predictions": [0.1, 3.0]}
    assert outputs_to_json({"score": outputs["score"]}, in_rows=False) == {"outputs": [0.1, 3.0]}


def test_float32_is_written_short_and_exact():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    written = json.dumps(to_json(values, "x"))
    np.testing.assert_array_equal(np.array(json.loads(written), np.float32), values)
    assert max(map(len, written.split(", "))) < 17
    assert json.dumps(to_json(np.array([np.nan, np.inf, -np.inf], np.float32), "x")) == "[NaN, Infinity, -Infinity]"
    assert to_json(np.array(b"scalar", object), "x") == "scalar"


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({"a": np.zeros(()), "b": np.zeros(1)}, "Tensor name: a has no shape information "),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "Tensor name: b has inconsistent batch size: 3 expecting: 2"),
    ],
)
def test_outputs_without_a_common_batch_cannot_be_rows(outputs, text):
    with pytest.raises(ServingError, match=f"(?s)^{text}$"):
        outputs_to_json(outputs, in_rows=True)


def test_json_becomes_examples_with_their_context():
    document = {
        "context": {"a": 1, "b": "context"},
        "examples": [{"b": ["own", {"b64": "AA=="}], "c": [1.5, 2.0], "d": [True, 3], "e": []}],
    }
    feature = example_pb2.Example.FromString(*examples_of(document)).features.feature
    assert feature["a"].int64_list.value == [1]
    assert feature["b"].bytes_list.value == [b"own", b"\0"]
    assert feature["c"].float_list.value == [1.5, 2.0]
    assert feature["d"].int64_list.value == [1, 3]
    assert feature["e"].WhichOneof("kind") is None


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ({"examples": 1}, ".*Expecting 'examples' value to be an list/array"),
        ({"examples": []}, ".*'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": [None]}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": [1, 2.5]}]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"examples": [{"x": 1 << 63}]}, "Feature: x has uint64_t element. Only int64_t is supported."),
    ],
)
def test_examples_that_are_none_are_refused(document, text):
    with pytest.raises(ServingError, match=f"(?s)^{text}$"):
        examples_of(document)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"])
def test_tensors_survive_grpc(dtype):
    array = np.array([[0, 1, 2]], dtype)
    np.testing.assert_array_equal(tf.make_ndarray(to_tensor_proto(array)), array)


def test_string_tensors_survive_grpc():
    array = np.array([[b"a"], [b"\xff"]], object)
    proto = to_tensor_proto(array)
    assert proto.string_val == [b"a", b"\xff"]
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)


def test_feature_name_that_is_no_text_is_an_error():
    with pytest.raises(ServingError, match="Feature name is not valid UTF-8"):
        examples_of({"examples": [{"\ud800": 1}]})


def tensor(**fields):
    shape = fields.pop("shape", ())
    proto = tensor_pb2.TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return predict_pb2.PredictRequest(inputs={"x": proto})


@pytest.mark.parametrize(
    "request_",
    [
        tensor(dtype=tf.string.as_datatype_enum, string_val=[b""], shape=[10**8]),
        tensor(dtype=tf.float32.as_datatype_enum, float_val=[1.0], shape=[10**12]),
        tensor(dtype=tf.float32.as_datatype_enum, float_val=[1.0], shape=[-1]),
        tensor(dtype=tf.float32.as_datatype_enum, float_val=[1.0, 2.0, 3.0], shape=[2]),
        tensor(dtype=tf.string.as_datatype_enum, float_val=[1.0], shape=[1]),
        tensor(dtype=20),  # a resource
        tensor(dtype=99),
    ],
)
def test_tensor_that_contradicts_itself_is_an_error(request_):
    with pytest.raises(ServingError, match="tensor parsing error: x: "):
        grpc_inputs_of(request_)


def test_one_value_stands_for_all_that_follow():
    (array,) = grpc_inputs_of(tensor(dtype=tf.float32.as_datatype_enum, float_val=[1.0], shape=[3])).values()
    np.testing.assert_array_equal(array, np.ones(3, np.float32))
