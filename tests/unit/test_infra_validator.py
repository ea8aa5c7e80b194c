"""What the infra check says of models that are wrong in one way each. The models are tiny and really run."""

import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.infra_validator import loader_process
from components.infra_validator.checks import Candidate
from components.infra_validator.graph_scan import forbidden_operations
from components.infra_validator.loader import LoaderError, SavedModelSession
from components.infra_validator.loader_process import LoaderDiedError, LoaderProcess, start_ahead
from components.infra_validator.report import largest_difference
from components.infra_validator.signatures import load_meta_graph, signatures_of
from components.model_manifest import make_manifest, read_manifest, write_manifest
from components.trainer.samples import write_samples
from schema import FeatureRoles

ROLES = FeatureRoles(numeric=("a", "b"), label="y", class_names=("no", "yes"))
SPEC = {name: tf.io.FixedLenFeature([1], tf.float32) for name in ROLES.numeric}


def make_examples(num_rows=5):
    examples = []
    for row in np.random.default_rng(0).uniform(size=(num_rows, 2)):
        example = tf.train.Example()
        for name, value in zip(ROLES.numeric, row, strict=True):
            example.features.feature[name].float_list.value.append(value)
        example.features.feature["y"].int64_list.value.append(0)
        examples.append(example.SerializeToString())
    return examples


class Tiny(tf.Module):
    """Logits are the features times weights; `change` makes it wrong."""

    def __init__(self, change=None):
        self.weights = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
        self.change = change or (lambda logits: logits)

    def answer(self, features):
        logits = tf.concat([features["a"], features["b"]], axis=1) @ self.weights
        return {"logits": self.change(logits), "probabilities": tf.nn.softmax(logits)}

    def signatures(self, batch_size=None):
        @tf.function(input_signature=[tf.TensorSpec([batch_size], tf.string, name="examples")])
        def serving_default(examples):
            return self.answer(tf.io.parse_example(examples, SPEC))

        features = {name: tf.TensorSpec([batch_size, 1], tf.float32, name=name) for name in ROLES.numeric}
        return {
            "serving_default": serving_default,
            "serving_features": tf.function(self.answer, input_signature=[features]),
            "transform_features": tf.function(
                lambda examples: tf.io.parse_example(examples, SPEC),
                input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
            ),
            "classify": tf.function(
                lambda inputs: {"scores": self.answer(tf.io.parse_example(inputs, SPEC))["probabilities"]},
                input_signature=[tf.TensorSpec([None], tf.string, name="inputs")],
            ),
        }


@pytest.fixture
def export(tmp_path):
    """Exports a model with its samples and manifest; returns the folders of model and record."""

    def write(change=None, batch_size=None, logits=None, module=None):
        module, examples = module or Tiny(change), make_examples()
        model_dir, model_run_dir = str(tmp_path / "model"), str(tmp_path / "model_run")
        tf.saved_model.save(module, model_dir, signatures=module.signatures(batch_size))
        if logits is None:
            logits = Tiny().answer(tf.io.parse_example(examples, SPEC))["logits"].numpy().tolist()
        write_samples(
            examples,
            logits,
            dtypes=dict.fromkeys(ROLES.numeric, np.dtype(np.float32)),
            serving_model_dir=model_dir,
            model_run_dir=model_run_dir,
        )
        write_manifest(model_dir, make_manifest(model_dir))
        return model_dir, model_run_dir

    return write


def check(folders, timeout_secs=60.0, digest=""):
    return Candidate(*folders, tolerance=1e-5).check(digest, timeout_secs)


def test_good_model_passes_with_its_figures(export):
    folders = export()
    report = check(folders)
    assert report.reasons == []
    assert set(report.largest_differences) == {
        "serving_default logits", "serving_default probabilities", "serving_features logits",
        "serving_features probabilities", "classify scores",
    }  # fmt: skip
    assert max(report.largest_differences.values()) <= 1e-5
    assert set(report.latency_millis) == {
        f"{name} x{size}" for name in signatures_of(load_meta_graph(folders[0])) for size in (1, 5)
    }
    assert 0 < report.load_secs < 60
    assert 50 < report.peak_rss_mib < 2000
    assert report.model_digest == read_manifest(folders[0])["digest"]


def writes_a_file(row):
    tf.io.write_file("file", "content")
    return row


def restores_a_checkpoint(logits):
    (value,) = tf.raw_ops.RestoreV2(prefix="x", tensor_names=["y"], shape_and_slices=[""], dtypes=[tf.float32])
    return logits + value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda logits: logits + 1e-3, r"'logits' of '\w+' on 1 rows differs by \d\.\de-04 from the Trainer's"),
        (lambda logits: logits / 0.0, r"'logits' of '\w+' on \d rows is not finite in \d places"),
        (lambda logits: logits + 0.1 * tf.cast(tf.shape(logits)[0] > 1, tf.float32), "on 5 rows differs by 1.0e-01"),
        (lambda logits: tf.py_function(lambda x: x, [logits], tf.float32), "EagerPyFunc calls Python"),
        (lambda logits: tf.function(lambda x: x * 1.0, jit_compile=True)(logits), "compiled by XLA"),
        (lambda logits: logits + tf.strings.to_number(tf.io.read_file("/proc/self/stat")), "ReadFile reads or writes"),
        (lambda logits: tf.map_fn(writes_a_file, logits), "WriteFile reads or writes files"),
        (lambda logits: logits[:1], r"'logits' of '\w+' on 5 rows is float32 \(1, 2\); its signature says"),
        (
            lambda logits: tf.while_loop(lambda x: x[0, 0] == x[0, 0], lambda x: [x], [logits])[0],
            r"running '\w+' on 1 rows did not end within 8 s; the process was killed",
        ),
    ],
)  # fmt: skip
def test_wrong_model_is_refused_with_the_reason(change, reason, export):
    report = check(export(change), timeout_secs=8.0)
    assert any(re.search(reason, found) for found in report.reasons), report.reasons


def test_wrong_output_gives_one_reason(export):
    reasons = check(export(lambda logits: logits + 1.0)).reasons
    assert len(reasons) == 2  # `logits` of the two signatures that have them


def test_large_logits_are_compared_by_the_digits_that_they_have():
    assert largest_difference(np.float32([1000.01, 0.5]), np.float32([1000.0, 0.5])) == pytest.approx(1e-5, rel=0.01)
    assert largest_difference(np.float32([0.51]), np.float32([0.5])) == pytest.approx(1e-2, rel=0.01)


def test_recorded_logits_that_are_no_numbers_are_a_reason(export):
    reasons = check(export(logits=[[float("nan")] * 2] * 5)).reasons
    assert reasons == ["the logits that the Trainer recorded are not finite: the trained model is broken"]


@pytest.mark.parametrize("logits", [[], [1.0], [[1.0, 2.0]] * 4, [[[1.0]]] * 5, "text"])
def test_record_that_does_not_fit_the_rows_is_none(logits, export):
    assert "the Trainer recorded no logits" in check(export(logits=logits)).reasons[0]


class Naming(Tiny):
    """Names its classes, rightly or not."""

    def __init__(self, classes, predicted):
        super().__init__()
        self.names = classes, predicted

    def answer(self, features):
        outputs = super().answer(features)
        classes, predicted = (tf.constant(names) for names in self.names)
        num_rows = tf.shape(outputs["logits"])[0]
        best = tf.gather(predicted, tf.argmax(outputs["logits"], axis=1))[:, tf.newaxis]
        return outputs | {"classes": tf.tile(classes[tf.newaxis], [num_rows, 1]), "predicted_class": best}


@pytest.mark.parametrize(
    ("classes", "predicted", "reason"),
    [
        (["no", "yes"], ["no", "yes"], None),
        (
            ["no", "yes"],
            ["yes", "no"],
            "'predicted_class' of 'serving_default' is not the class with the largest logit",
        ),
        (["no", "no"], ["no", "no"], "'classes' of 'serving_default' does not name the same 2 classes for every row"),
    ],
)
def test_names_of_the_classes_must_agree_with_the_logits(classes, predicted, reason, export):
    reasons = check(export(module=Naming(classes, predicted))).reasons
    assert reason in reasons if reason else reasons == []


def test_table_from_a_vocabulary_file_is_no_reason(export, tmp_path):
    (tmp_path / "vocabulary.txt").write_text("a\nb\n")
    module = Tiny()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(tmp_path / "vocabulary.txt"),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )
    module.change = lambda logits: logits + 0.0 * tf.cast(module.table.lookup(tf.constant("a")), tf.float32)
    assert check(export(module=module)).reasons == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"garbage" * 10, "assets.extra/tf_serving_warmup_requests cannot be read: "),
        (b"", "assets.extra/tf_serving_warmup_requests holds 0 records; TF Serving reads 1 to 1000"),
    ],
)
def test_warmup_file_that_tf_serving_would_not_read_is_refused(content, reason, export):
    model_dir, record = export()
    with open(os.path.join(model_dir, "assets.extra", "tf_serving_warmup_requests"), "wb") as file:
        file.write(content)
    write_manifest(model_dir, make_manifest(model_dir))
    (found,) = check((model_dir, record)).reasons
    assert found.startswith(reason)


@pytest.mark.parametrize("record", [b"\xff\xff", b"no record at all"])
def test_warmup_record_that_is_none_is_refused(record, export):
    model_dir, model_run_dir = export()
    with tf.io.TFRecordWriter(os.path.join(model_dir, "assets.extra", "tf_serving_warmup_requests")) as writer:
        writer.write(record)
    write_manifest(model_dir, make_manifest(model_dir))
    (found,) = check((model_dir, model_run_dir)).reasons
    assert found.startswith("replaying the warmup requests failed: a warmup record ")


def test_fixed_batch_dimension_is_refused(export):
    assert any(
        "batch dimension of 'serving_default' is not free" in reason for reason in check(export(batch_size=5)).reasons
    )


def test_model_without_recorded_logits_is_refused(export):
    folders = export()
    os.remove(os.path.join(folders[1], "recorded_logits.json"))
    assert "the Trainer recorded no logits in recorded_logits.json" in check(folders).reasons[0]


def test_model_without_warmup_requests_is_refused(export):
    model_dir, record = export()
    os.remove(os.path.join(model_dir, "assets.extra", "tf_serving_warmup_requests"))
    write_manifest(model_dir, make_manifest(model_dir))
    assert check((model_dir, record)).reasons == ["assets.extra/tf_serving_warmup_requests is missing"]


def test_warmup_request_that_the_model_cannot_answer_is_refused(export):
    model_dir, record = export()
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "other"
    with tf.io.TFRecordWriter(os.path.join(model_dir, "assets.extra", "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    write_manifest(model_dir, make_manifest(model_dir))
    assert "asks for the signature 'other', which the model does not have" in check((model_dir, record)).reasons[0]


def test_model_that_another_run_recorded_is_refused(export):
    assert "is of another model" in check(export(), digest="0" * 64).reasons[0]


def test_crash_of_the_loader_is_survived_and_named(export):
    model_dir, _ = export()
    with LoaderProcess(60) as process:
        process.load(model_dir)
        os.kill(process._process.pid, 11)
        with pytest.raises(LoaderDiedError, match=r"running it crashed the process \(SIGSEGV\)"):
            process.run({}, [], "running it")


def test_damaged_graph_is_an_error_and_no_crash(export):
    model_dir, _ = export()
    with open(os.path.join(model_dir, "saved_model.pb"), "wb") as file:
        file.write(b"\x00" * 1000)
    with LoaderProcess(60) as process, pytest.raises(LoaderError):
        process.load(model_dir)
    with pytest.raises(ValueError, match="holds no graph tagged 'serve'"):
        load_meta_graph(model_dir)


def test_saver_of_a_saved_model_is_no_reason(export):
    assert forbidden_operations(load_meta_graph(export()[0])) == []


def test_restore_on_a_request_is_a_reason(export):
    found = forbidden_operations(load_meta_graph(export(restores_a_checkpoint)[0]))
    assert any("RestoreV2 reads or writes files on a request" in reason for reason in found)


def test_session_gives_every_type_and_shape_that_it_is_fed(tmp_path):
    dtypes = (np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)
    specs = {dtype.__name__: tf.TensorSpec([None, 2], dtype, name=dtype.__name__) for dtype in dtypes}
    specs["string"] = tf.TensorSpec([None, 2], tf.string, name="string")
    module = tf.Module()
    identity = tf.function(lambda x: {name: tf.identity(x[name]) for name in specs}, input_signature=[specs])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": identity})
    signature = signatures_of(load_meta_graph(str(tmp_path)))["serving_default"]
    values = {dtype.__name__: np.array([[0, 1], [1, 0]], dtype) for dtype in dtypes}
    values["string"] = np.array([[b"", b"a\x00b"], [b"x" * 100, "ä".encode()]], object)
    session = SavedModelSession(str(tmp_path))
    feeds = {signature.inputs[name].tensor_name: value for name, value in values.items()}
    outputs = session.run(feeds, [signature.outputs[name].tensor_name for name in values])
    for name, output in zip(values, outputs, strict=True):
        assert output.dtype == values[name].dtype, name
        np.testing.assert_array_equal(output, values[name])
    with pytest.raises(LoaderError, match="no operation 'none'"):
        session.run({}, ["none:0"])
    with pytest.raises(LoaderError, match="Tensors of complex64 are not supported"):
        session.run({next(iter(feeds)): np.zeros(1, np.complex64)}, list(feeds)[:1])
    session.close()


def test_request_json_holds_real_rows(export):
    model_dir, _ = export()
    with open(os.path.join(model_dir, "request.json")) as file:
        request = json.load(file)
    assert request["signature_name"] == "serving_features"
    assert [sorted(row) for row in request["instances"]] == [["a", "b"]] * 3


def test_process_that_was_started_ahead_is_taken(export):
    start_ahead()
    (ahead,) = loader_process._ahead
    start_ahead()
    assert loader_process._ahead == [ahead]
    with LoaderProcess(60) as process:
        assert process._process is ahead
        process.load(export()[0])
    assert not loader_process._ahead
    assert ahead.poll() is not None


def test_process_that_died_ahead_is_not_taken(export):
    start_ahead()
    (ahead,) = loader_process._ahead
    ahead.kill()
    ahead.wait()
    with LoaderProcess(60) as process:
        process.load(export()[0])
