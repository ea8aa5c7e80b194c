import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from components.pusher.versions import MODELS_CONFIG_FILE, assign_label
from components.trainer import WARMUP_FILE
from pipeline.serving.models import ServedModel
from pipeline.serving.status import ServingError


@pytest.fixture
def reports():
    return []


@pytest.fixture
def served(tmp_path, saved_model, reports):
    folder = tmp_path / "doubler"
    folder.mkdir()
    model = ServedModel("doubler", folder, reports.append)
    push(saved_model, model, 1)
    model.poll()
    yield model
    model.close()


def push(saved_model, served, version):
    return shutil.copytree(saved_model, served.base_dir / str(version))


def break_graph(model_dir):
    (model_dir / "saved_model.pb").write_bytes(b"none")


def write_warmup(model_dir, *records):
    file = model_dir / WARMUP_FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)


def predict_log(**inputs):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.name = "any"
    for name, values in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    return log.SerializeToString()


def double(servable, value):
    return servable.predict("", {"x": np.array([value], np.float32)})["y"].tolist()


def version_of(served, **spec):
    with served.use("doubler", **spec) as servable:
        return servable.version


def states(served):
    return {it.version: ModelVersionStatus.State.Name(it.state) for it in served.statuses("doubler")}


def test_a_version_in_use_is_freed_after_its_last_request(served, saved_model):
    with served.use("doubler") as outer:
        with served.use("doubler") as inner:
            push(saved_model, served, 2)
            served.poll()
            assert states(served) == {2: "AVAILABLE", 1: "UNLOADING"}
            assert double(inner, 2.0) == [4.0]
        assert states(served)[1] == "UNLOADING"
        assert double(outer, 3.0) == [6.0]
    assert states(served) == {2: "AVAILABLE", 1: "END"}
    assert version_of(served) == 2


def test_a_version_that_comes_back_while_its_last_request_runs_is_available(served, saved_model):
    with served.use("doubler"):
        second = push(saved_model, served, 2)
        served.poll()
        shutil.rmtree(second)
        served.poll()
        assert states(served) == {2: "END", 1: "AVAILABLE"}
    assert states(served)[1] == "AVAILABLE"
    assert version_of(served) == 1


def test_a_request_that_fails_releases_its_version(served, saved_model):
    with pytest.raises(ServingError), served.use("doubler") as servable:
        servable.predict("nope", {})
    push(saved_model, served, 2)
    served.poll()
    assert states(served) == {2: "AVAILABLE", 1: "END"}


def test_an_emptied_folder_unloads_all_and_a_vanished_one_nothing(served, reports):
    away = served.base_dir.rename(served.base_dir.with_name("away"))
    served.poll()
    served.poll()
    assert version_of(served) == 1
    assert [text for text in reports if "is not there. What is served stays." in text] == reports[1:]
    away.rename(served.base_dir)
    shutil.rmtree(served.base_dir / "1")
    served.poll()
    assert states(served) == {1: "END"}
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(doubler\)\. .*: none yet\."):
        version_of(served)


def test_a_version_that_fails_is_tried_again_when_its_files_change(served, saved_model, reports):
    break_graph(push(saved_model, served, 2))
    served.poll()
    served.poll()
    assert [text for text in reports if text.startswith("version 2 does not load")] == reports[1:]
    assert states(served) == {2: "END", 1: "AVAILABLE"}
    assert served.statuses("doubler", 2)[0].status.error_message == "Read less bytes than requested"
    shutil.copy(saved_model / "saved_model.pb", served.base_dir / "2")
    served.poll()
    assert states(served) == {2: "AVAILABLE", 1: "END"}


def test_a_version_that_fails_is_tried_again_after_a_while(served, saved_model, reports):
    served.retry_secs = 0.0
    break_graph(push(saved_model, served, 2))
    served.poll()
    served.poll()
    assert len([text for text in reports if text.startswith("version 2 does not load")]) == 2


def test_a_label_stays_where_it_is_until_its_new_version_is_loaded(served, saved_model):
    assign_label(served.base_dir, 1, "stable", settle_secs=0)
    served.poll()
    broken = push(saved_model, served, 2)
    break_graph(broken)
    assign_label(served.base_dir, 2, "stable", settle_secs=0)
    served.poll()
    assert version_of(served, label="stable") == 1
    shutil.copy(saved_model / "saved_model.pb", broken)
    served.poll()
    assert version_of(served, label="stable") == 2


def test_a_label_of_a_version_that_never_loaded_is_not_found(served, saved_model):
    assign_label(served.base_dir, 1, "stable", settle_secs=0)
    break_graph(push(saved_model, served, 2))
    assign_label(served.base_dir, 2, "canary", settle_secs=0)
    served.poll()
    with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(doubler, 2\)"):
        version_of(served, label="canary")
    assert version_of(served, label="stable") == 1


def test_a_models_config_that_cannot_be_read_changes_nothing(served, saved_model, reports):
    push(saved_model, served, 2)
    (served.base_dir / MODELS_CONFIG_FILE).write_text("model_config_list {")
    served.poll()
    served.poll()
    (report,) = reports[1:]
    assert "models.config cannot be read" in report
    assert report.endswith("What is served stays.")
    assert version_of(served) == 1


def test_a_folder_without_saved_model_is_no_version_yet(served):
    (served.base_dir / "2").mkdir()
    served.poll()
    assert states(served) == {1: "AVAILABLE"}


@pytest.mark.parametrize(
    ("records", "text"),
    [
        ([predict_log(x=[1.0]), predict_log(z=[1.0])], "record 1: .*Missing but required: {x}"),
        ([b"\xff"], "record 0: Failed to parse warmup record"),
        ([prediction_log_pb2.PredictionLog(session_run_log={}).SerializeToString()], "Unsupported log_type for warmup"),
        ([predict_log(x=[1.0])] * 1001, "holds more than 1000 records"),
    ],
    ids=["bad request", "no message", "unsupported", "too many"],
)
def test_a_warmup_record_that_fails_fails_the_load(served, saved_model, reports, records, text):
    write_warmup(push(saved_model, served, 2), *records)
    served.poll()
    assert served.statuses("doubler", 2)[0].state == ModelVersionStatus.END
    assert version_of(served) == 1
    assert re.search(text, reports[-1])


def test_warmup_records_that_succeed_change_nothing(served, saved_model):
    write_warmup(push(saved_model, served, 2), predict_log(x=[1.0]), predict_log(x=[1.0, 2.0]))
    served.poll()
    assert version_of(served) == 2
