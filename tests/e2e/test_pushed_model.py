"""The pushed directory in processes that have never imported this project."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from components.infra_validator.feeds import warmup_feeds
from components.infra_validator.graph_scan import forbidden_operations
from components.infra_validator.signatures import CLASSIFY_METHOD, PREDICT_METHOD, load_meta_graph, signatures_of
from components.model_manifest import check_model

pytestmark = pytest.mark.e2e

SCRIPT = """
import json, sys
import numpy as np
import tensorflow as tf

model_dir, rows_file, loader = sys.argv[1:]
rows = json.load(open(rows_file))

def serialize(row):
    example = tf.train.Example()
    for name, value in row.items():
        kind = "int64_list" if isinstance(value, int) else "float_list"
        getattr(example.features.feature[name], kind).value.append(value)
    return example.SerializeToString()

with_label = [serialize(row) for row in rows]
without_label = [serialize({name: v for name, v in row.items() if name != "gate_action"}) for row in rows]
requests = {"serving_default": without_label, "transform_features": with_label}
if loader == "tf2":
    model = tf.saved_model.load(model_dir)
    answers = {name: model.signatures[name](examples=tf.constant(requests[name])) for name in requests}
    answers = {name: {key: value.numpy() for key, value in answer.items()} for name, answer in answers.items()}
else:
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.loader.load(session, ["serve"], model_dir).signature_def
        answers = {}
        for name, request in requests.items():
            outputs = {key: value.name for key, value in signatures[name].outputs.items()}
            answers[name] = session.run(outputs, {signatures[name].inputs["examples"].name: request})
assert not {"schema", "components", "pipeline", "tfx", "tensorflow_transform"} & set(sys.modules)
np.savez(sys.stdout.buffer, **{f"{s}/{key}": value.astype("S") if value.dtype == object else value
                               for s, answer in answers.items() for key, value in answer.items()})
"""


@pytest.fixture(scope="module")
def rows(reference_csv):
    with reference_csv.open() as file:
        return [
            {name: int(value) if name == "gate_action" else float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def answers(sluice, reference, rows, tmp_path_factory):
    """Outputs of both signatures for every row, by loader and `signature/output`."""
    folder = tmp_path_factory.mktemp("consumer")
    (folder / "rows.json").write_text(json.dumps(rows))
    version = sluice.root / "serving_model" / "reference" / str(reference.versions[0])
    answers = {}
    for loader in ("tf2", "tf1"):
        with (folder / f"{loader}.npz").open("wb") as output:
            command = [sys.executable, "-I", "-c", SCRIPT, str(version), str(folder / "rows.json"), loader]
            subprocess.run(command, cwd=folder, stdout=output, check=True)
        answers[loader] = np.load(folder / f"{loader}.npz")
    return answers


def test_tf2_and_a_tf1_session_give_the_same_logits(answers):
    name = "serving_default/logits"
    np.testing.assert_allclose(answers["tf2"][name], answers["tf1"][name], atol=1e-5)


@pytest.mark.parametrize("loader", ["tf2", "tf1"])
def test_outputs_have_the_contract_s_names_shapes_and_types(answers, loader, rows):
    shapes = {
        name.removeprefix("serving_default/"): (value.dtype.kind, value.shape)
        for name, value in answers[loader].items()
        if name.startswith("serving_default/")
    }
    num_rows = len(rows)
    assert shapes == {
        "logits": ("f", (num_rows, 3)),
        "probabilities": ("f", (num_rows, 3)),
        "classes": ("S", (num_rows, 3)),
        "predicted_class": ("S", (num_rows, 1)),
    }


@pytest.mark.parametrize("loader", ["tf2", "tf1"])
def test_predicted_class_is_the_most_probable_and_mostly_right(answers, loader, rows):
    answer = {name.split("/")[1]: value for name, value in answers[loader].items()}
    names = np.array([b"hold", b"release", b"flush"])
    np.testing.assert_array_equal(answer["classes"], np.tile(names, (len(rows), 1)))
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-6)
    predicted = answer["predicted_class"][:, 0]
    np.testing.assert_array_equal(predicted, names[answer["probabilities"].argmax(axis=1)])
    assert np.mean(predicted == names[[row["gate_action"] for row in rows]]) >= 0.9


@pytest.mark.parametrize("loader", ["tf2", "tf1"])
def test_transform_features_scales_to_0_1_and_keeps_the_label(answers, loader, rows):
    answer = {name: value for name, value in answers[loader].items() if name.startswith("transform_features/")}
    labels = answer.pop("transform_features/gate_action_xf")
    np.testing.assert_array_equal(labels[:, 0], [row["gate_action"] for row in rows])
    assert len(answer) == 10
    for name, value in answer.items():
        column = [row[name.removeprefix("transform_features/").removesuffix("_xf")] for row in rows]
        assert value.shape == (len(rows), 1)
        assert -0.2 <= value.min() <= 0.001, name  # the eval split may go beyond the training range
        assert 0.999 <= value.max() <= 1.2, name
        np.testing.assert_allclose(np.corrcoef(value[:, 0], column)[0, 1], 1, atol=1e-5, err_msg=name)


def test_stock_pusher_pushes_the_same_files(sluice, reference):
    result = sluice("--set", "pusher.executor=stock")
    assert result.exit_code == 0, result.stdout
    assert result.executed == {"DataGate", "Pusher"}
    base = sluice.root / "serving_model" / "reference"
    (new,) = {*result.versions} - {*reference.versions}
    assert model_files(base / str(new)) == model_files(base / str(reference.versions[0]))
    shutil.rmtree(base / str(new))


def model_files(version_dir):
    files = {str(file.relative_to(version_dir)): file.read_bytes() for file in version_dir.rglob("*") if file.is_file()}
    del files["sluice_manifest.json"]  # to which ours adds the run
    for companion in ("sluice_statistics.pb", "MODEL_CARD.md"):  # which ours pushes beside the model
        files.pop(companion, None)
    return files


def test_pushed_version_is_what_its_manifest_says(sluice, reference):
    version_dir = sluice.root / "serving_model" / "reference" / str(reference.versions[0])
    manifest = check_model(str(version_dir), "")
    assert manifest["run_id"] == reference.record["run_id"]
    assert manifest["span"] == 0
    assert manifest["metrics"]["accuracy"] >= 0.9
    assert manifest["metrics"]["example_count"] == 322
    assert {"code_digest", "schema_digest", "digest"} <= manifest.keys()
    assert {"request.json", "assets.extra/tf_serving_warmup_requests", "saved_model.pb"} <= manifest["files"].keys()


def test_four_signatures_have_free_batches_and_classify_its_method(sluice, reference):
    version_dir = sluice.root / "serving_model" / "reference" / str(reference.versions[0])
    meta_graph = load_meta_graph(str(version_dir))
    signatures = signatures_of(meta_graph)
    assert {name: signature.method_name for name, signature in signatures.items()} == {
        "serving_default": PREDICT_METHOD,
        "serving_features": PREDICT_METHOD,
        "transform_features": PREDICT_METHOD,
        "layer_outputs": PREDICT_METHOD,
        "classify": CLASSIFY_METHOD,
    }
    for signature in signatures.values():
        assert {info.shape[0] for info in (*signature.inputs.values(), *signature.outputs.values())} == {None}
    assert set(signatures["classify"].outputs) == {"classes", "scores"}
    assert forbidden_operations(meta_graph) == []


def test_warmup_holds_requests_of_one_row_and_of_many_for_every_signature_that_serves(sluice, reference):
    version_dir = sluice.root / "serving_model" / "reference" / str(reference.versions[0])
    file = version_dir / "assets.extra" / "tf_serving_warmup_requests"
    signatures = signatures_of(load_meta_graph(str(version_dir)))
    batches = {}
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        name, feeds = warmup_feeds(record, signatures)
        batches.setdefault(name, []).append({len(array) for array in feeds.values()})
    assert batches == {name: [{1}, {32}] for name in signatures.keys() - {"layer_outputs"}}  # which is to look into
