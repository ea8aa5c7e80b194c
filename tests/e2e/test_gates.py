"""A table of what can come of a run: each scenario is run for real, with its exit code and its sentence pinned."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import load_and_deserialize_metrics
from tfx.components.evaluator import executor as stock_evaluator
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.evaluator.eval_config import make_eval_config
from components.evaluator.executor import stock_properties
from components.pusher.versions import STABLE, assign_label, list_versions
from components.run_report.facts import load_facts
from pipeline.config import REFERENCE_CONFIG, load_config

pytestmark = pytest.mark.e2e

MODULES = Path(__file__).parent / "modules"
GOOD, MIDDLING, WEAK = 12, 4, 1  # epochs
PASSES = "{metric: accuracy, lower_bound: 0.0}"
NEVER = "{metric: accuracy, lower_bound: 1.0}"
SERVED = "serving stays on version 1"


class Gate:
    """`sluice run` on 450 rows, in one process, with a push destination that a scenario prepares."""

    def __init__(self, folder, rows, server):
        self.folder = folder
        self.metadata = server.set_options(server.make_database(folder)) if server else []
        self.serving_dir = folder / "output" / "serving_model" / "reference"
        (folder / "data").mkdir()
        (folder / "data" / "rows.csv").write_text("\n".join(rows) + "\n")
        worker = [sys.executable, str(Path(__file__).parent / "gate_worker.py")]
        environment = os.environ | (server.credentials if server else {})
        self.process = subprocess.Popen(
            worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
        )

    def run(self, *arguments, thresholds=(), epochs=GOOD, root="output"):
        output_file = self.folder / "terminal.txt"
        settings = [f"example_gen.input_dir={self.folder}/data", f"trainer.num_epochs={epochs}"]
        if thresholds:
            settings.append(f"evaluator.thresholds=[{', '.join(thresholds)}]")
        options = [word for setting in settings for word in ("--set", setting)]
        command = ["run", "--root", str(self.folder / root), *self.metadata, *options, *arguments]
        line = json.dumps([str(output_file), command])
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        exit_code = int(self.process.stdout.readline())
        output = output_file.read_text()
        if report := re.search(r"^Report  (.+)$", output, re.MULTILINE):
            facts = load_facts((self.folder / report[1]).with_name("facts.json"))
            assert (facts["problems"], facts["run"]["verdict"]) == ([], output.splitlines()[-1])
        return exit_code, output

    def serve(self, epochs, version=1):
        """Makes a version of the model that was trained for so many epochs the one that is served."""
        shutil.copytree(self.folder / f"pushed-{epochs}", self.serving_dir / str(version))

    def manifest(self):
        """Reads the newest version's."""
        return json.loads(
            (self.serving_dir / str(list_versions(self.serving_dir)[-1]) / "sluice_manifest.json").read_text()
        )

    def outputs(self, output):
        """Returns the folders of the outputs of a run by component and name, from the record that it named."""
        record = json.loads((self.folder / re.search(r"^Record +(.+)$", output, re.MULTILINE)[1]).read_text())
        return {component["component"]: component["outputs"] for component in record["components"]}

    def model(self, epochs):
        """Trains a model and keeps what is pushed of it."""
        exit_code, output = self.run("--force-push", "for the tests", epochs=epochs)
        assert exit_code == 0, output
        (version,) = list_versions(self.serving_dir)
        self.serving_dir.joinpath(str(version)).rename(self.folder / f"pushed-{epochs}")
        shutil.rmtree(self.serving_dir)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, reference_csv, metadata_server):
    gate = Gate(tmp_path_factory.mktemp("gates"), reference_csv.read_text().splitlines()[:451], metadata_server)
    for epochs in (GOOD, MIDDLING, WEAK):
        gate.model(epochs)
    yield gate
    gate.process.stdin.close()
    assert gate.process.wait(timeout=60) == 0


@pytest.fixture
def gate(prepared):
    shutil.rmtree(prepared.serving_dir, ignore_errors=True)
    return prepared


@pytest.mark.parametrize(
    ("candidate", "served", "thresholds", "exit_code", "sentence"),
    [
        pytest.param(GOOD, None, ["{metric: accuracy, lower_bound: 0.85}", "{metric: loss, upper_bound: 0.5}"], 0,
                     r"PUSHED: accuracy 0\.\d+ >= 0\.850, loss 0\.\d+ <= 0\.500 on \d+ eval rows; .*/\d+",
                     id="first run, pushed"),
        pytest.param(WEAK, None, ["{metric: accuracy, lower_bound: 0.85}"], 3,
                     r"NOT PUSHED: accuracy 0\.\d+ < 0\.850 on \d+ eval rows; nothing is served yet",
                     id="first run, refused"),
        pytest.param(WEAK, GOOD, ["{metric: accuracy, lower_bound: 0.85}"], 3,
                     rf"NOT PUSHED: accuracy 0\.\d+ < 0\.850 on \d+ eval rows; {SERVED} \(accuracy 0\.\d+\)",
                     id="below an absolute bound"),
        pytest.param(WEAK, GOOD, ["{metric: loss, upper_bound: 0.5}", PASSES], 3,
                     rf"NOT PUSHED: loss \d\.\d+ > 0\.500 on \d+ eval rows; {SERVED} \(loss 0\.\d+\)",
                     id="above an upper bound"),
        pytest.param(MIDDLING, GOOD, [PASSES, "{metric: loss, absolute_change: 0.0}"], 3,
                     r"NOT PUSHED: loss (\S+) against the baseline's \S+: change \+\d\.\d+ > \+0\.000 on .*",
                     id="worse than the baseline"),
        pytest.param(GOOD, WEAK, ["{metric: accuracy, lower_bound: 0.999, absolute_change: 0.0}"], 3,
                     r"NOT PUSHED: accuracy 0\.\d+ < 0\.999 on \d+ eval rows; .*",
                     id="better than the baseline, below the bound"),
        pytest.param(GOOD, WEAK, ["{metric: accuracy, lower_bound: 0.7, absolute_change: 0.01}"], 0,
                     r"PUSHED: accuracy \S+ >= 0\.700, accuracy \S+ against .*: change \+\S+ >= \+0\.010 on .*",
                     id="better than the baseline"),
        pytest.param(WEAK, GOOD, [PASSES, "{metric: loss, relative_change: 0.25}"], 3,
                     r"NOT PUSHED: loss \S+ against the baseline's \S+: change \+\d+\.\d% > \+25\.0% on .*",
                     id="worse by a share"),
        pytest.param(GOOD, None, [PASSES, "{metric: loss, absolute_change: -9.0}"], 0,
                     r"PUSHED: accuracy \S+ >= 0\.000 on \d+ eval rows; .*", id="change on a first run is not judged"),
        pytest.param(GOOD, GOOD, ["{metric: accuracy, lower_bound: 0.7, absolute_change: -0.5}"], 0,
                     rf"NOTHING TO DO: {SERVED} .*", id="served already"),
        pytest.param(WEAK, None, [PASSES, "{metric: accuracy, slice: {feature: gate_action}, lower_bound: 0.9}"], 3,
                     r"NOT PUSHED: accuracy where gate_action is \d \(\d+ rows\) 0\.\d+ < 0\.900.*",
                     id="slice refused"),
        pytest.param(WEAK, None,
                     [PASSES, "{metric: accuracy, slice: {feature: gate_action}, min_rows: 149, lower_bound: 1}"], 0,
                     r"PUSHED: accuracy \S+ >= 0\.000 on \d+ eval rows; .*", id="slices too small to be judged"),
        pytest.param(GOOD, None,
                     [PASSES, "{metric: accuracy, slice: {feature: gate_action, values: [2]}, lower_bound: 0.7}"], 0,
                     r"PUSHED: .* on \d+ eval rows; 1 slice held; .*", id="one value of a feature"),
        pytest.param(WEAK, None,
                     [PASSES, "{metric: loss, slice: {feature: ph, buckets: [7, 7.5]}, min_rows: 9, upper_bound: 0.3}"],
                     3,
                     r"NOT PUSHED: loss where ph < 7 \(\d+ rows\) .*; loss where ph is 7 to 7.5 .*; loss .* >= 7.*",
                     id="bucket refused"),
        pytest.param(GOOD, None, ["{metric: accuracy, lower_bound: 0.89, confidence: 0.9999}"], 3,
                     r"NOT PUSHED: accuracy 0\.9\d+ \(99\.99%: 0\.\d+ to \S+\) is not surely >= 0\.890 on .*",
                     id="interval too wide"),
        pytest.param(GOOD, None, ["{metric: accuracy, lower_bound: 0.8, confidence: 0.95}"], 0,
                     r"PUSHED: accuracy 0\.\d+ \(95%: 0\.\d+ to \S+\) >= 0\.800 on .*", id="interval holds"),
        pytest.param(GOOD, None, ["{metric: loss, upper_bound: 0.6, confidence: 0.9}"], 0,
                     r"PUSHED: loss 0\.\d+ \(90%: 0\.\d+ to 0\.\d+\) <= 0\.600 on .*", id="bootstrap interval holds"),
        pytest.param(GOOD, MIDDLING, [PASSES, "{metric: accuracy, absolute_change: -0.05, confidence: 0.99999}"], 3,
                     r"NOT PUSHED: accuracy .*: change \S+ \(99\.999%: -\S+ to \S+\) is not surely >= -0\.050 on .*",
                     id="change not sure"),
        pytest.param(WEAK, None, [PASSES, "{metric: recall, class_name: flush, lower_bound: 0.99}"], 3,
                     r"NOT PUSHED: recall of flush 0\.\d+ < 0\.990 on .*", id="recall of a class"),
        pytest.param(GOOD, None, ["{metric: f1, average: macro, lower_bound: 0.8}",
                                 "{metric: f1, average: weighted, lower_bound: 0.8}"],
                     0, r"PUSHED: macro f1 \S+ >= 0\.800, weighted f1 \S+ >= 0\.800 on .*", id="averages over classes"),
        pytest.param(GOOD, None, ["{metric: auc, average: macro, lower_bound: 0.9}",
                                 "{metric: auc, class_name: hold, lower_bound: 0.9}"],
                     0, r"PUSHED: macro auc \S+ >= 0\.900, auc of hold \S+ >= 0\.900 on .*", id="area under the curve"),
        pytest.param(GOOD, WEAK, ["{metric: auc, average: weighted, lower_bound: 0.9, absolute_change: 0.0}"], 0,
                     r"PUSHED: weighted auc \S+ >= 0\.900, weighted auc \S+ against .*", id="beyond TFMA, held"),
        pytest.param(WEAK, None, ["{metric: auc, average: weighted, lower_bound: 0.9999}"], 3,
                     r"NOT PUSHED: weighted auc \S+ < 0\.9999 on .*", id="beyond TFMA, refused"),
        pytest.param(WEAK, None, ["{metric: calibration_error, upper_bound: 0.001}"], 3,
                     r"NOT PUSHED: calibration_error 0\.\d+ > 0\.001 on .*", id="badly calibrated"),
    ],
)  # fmt: skip
def test_evaluator_decides_and_says_why(gate, candidate, served, thresholds, exit_code, sentence):
    if served:
        gate.serve(served)
    before = list_versions(gate.serving_dir)
    code, output = gate.run(epochs=candidate, thresholds=thresholds)
    last_line = output.splitlines()[-1]
    assert (code, bool(re.fullmatch(sentence, last_line))) == (exit_code, True), output
    pushed = exit_code == 0 and candidate != served
    assert len(list_versions(gate.serving_dir)) == len(before) + pushed


@pytest.mark.parametrize(
    ("thresholds", "note"),
    [
        (["{metric: loss, absolute_change: -9.0}", PASSES],
         "no baseline: nothing was served before; 1 change is not judged"),
        ([PASSES, "{metric: accuracy, slice: {feature: gate_action, values: [2]}, min_rows: 149, lower_bound: 1}"],
         r"accuracy where gate_action is 2 \(\d+ rows\) is not judged: fewer than 149 rows"),
    ],
)  # fmt: skip
def test_what_is_not_judged_is_said(gate, thresholds, note):
    _, output = gate.run(thresholds=thresholds)
    assert re.search(f"^Gate    {note}$", output, re.MULTILINE), output


def test_verdict_is_told_alike_on_screen_in_the_file_and_in_the_manifest(gate):
    gate.serve(MIDDLING)
    _, output = gate.run(thresholds=["{metric: accuracy, lower_bound: 0.7, confidence: 0.95}"])
    told = json.loads(Path(gate.outputs(output)["Evaluator"]["blessing"], "verdict.json").read_text())
    assert told["sentence"] in output.splitlines()[-1]
    assert (told["blessed"], told["baseline"]["version"]) == (True, 1)
    (judgement,) = told["judgements"]
    assert f"{judgement['baseline']:.4f}" in output
    manifest = json.loads(
        (gate.serving_dir / str(list_versions(gate.serving_dir)[-1]) / "sluice_manifest.json").read_text()
    )
    assert manifest["metrics"]["accuracy"] == judgement["value"]
    assert manifest["baseline"] == told["baseline"]
    assert "forced" not in manifest


def test_forced_push_is_recorded_and_needs_a_reason(gate):
    gate.serve(GOOD)
    thresholds = ["{metric: accuracy, lower_bound: 0.999}"]
    code, output = gate.run("--force-push", "sensor 3 was replaced", epochs=WEAK, thresholds=thresholds)
    assert code == 0
    pattern = r"PUSHED BY FORCE, against the verdict: accuracy \S+ < 0\.999 on \d+ eval rows; .*"
    assert re.fullmatch(pattern, output.splitlines()[-1]), output
    manifest = json.loads(
        (gate.serving_dir / str(list_versions(gate.serving_dir)[-1]) / "sluice_manifest.json").read_text()
    )
    assert manifest["forced"]["reason"] == "sensor 3 was replaced"
    assert manifest["forced"]["verdict"] in output
    code, output = gate.run("--force-push", " ", epochs=WEAK, thresholds=thresholds)
    assert (code, "must say why in words" in output) == (2, True)


def test_force_is_not_needed_for_a_blessed_model(gate):
    code, _ = gate.run("--force-push", "to be sure", thresholds=[PASSES])
    manifest = gate.manifest()
    assert (code, "forced" in manifest) == (0, False)


def test_force_does_not_push_what_no_server_can_run(gate):
    gate.serve(GOOD)
    module = ["--set", f"trainer.module_file={MODULES / 'naive_export.py'}"]
    code, output = gate.run("--force-push", "please", *module, thresholds=["{metric: accuracy, lower_bound: 0.999}"])
    assert (code, list_versions(gate.serving_dir)) == (5, [1]), output


def test_stable_version_is_the_baseline_and_not_the_newest(gate):
    gate.serve(GOOD, version=1)
    gate.serve(WEAK, version=2)
    assign_label(gate.serving_dir, 1, STABLE, settle_secs=0)
    code, output = gate.run(epochs=MIDDLING, thresholds=[PASSES, "{metric: loss, absolute_change: 0.0}"])
    assert (code, "Gate    the baseline is version 1\n" in output) == (3, True), output


def test_damaged_baseline_stops_the_run(gate):
    gate.serve(WEAK)
    with (gate.serving_dir / "1" / "saved_model.pb").open("ab") as file:
        file.write(b"x")
    code, output = gate.run("--from", "Baseline", thresholds=[PASSES])
    assert code == 1
    assert "FAILED: Baseline: " in output.splitlines()[-1]
    assert "saved_model.pb has changed since the Trainer wrote it" in output.splitlines()[-1]


def test_version_of_another_problem_is_no_baseline(gate):
    gate.serve(WEAK)
    manifest_file = gate.serving_dir / "1" / "sluice_manifest.json"
    manifest = json.loads(manifest_file.read_text())
    manifest["roles"]["numeric"].append("humidity")
    manifest_file.write_text(json.dumps(manifest))
    code, output = gate.run("--from", "Baseline", thresholds=[PASSES, "{metric: loss, absolute_change: -9.0}"])
    assert code == 0
    reason = "version 1 cannot be compared: it takes humidity, which the rows no longer have; 1 change is not judged"
    assert f"Gate    no baseline: {reason}\n" in output


def test_version_that_something_else_pushed_is_no_baseline(gate):
    gate.serve(WEAK)
    (gate.serving_dir / "1" / "sluice_manifest.json").unlink()
    code, output = gate.run(thresholds=[PASSES])
    assert code == 0
    assert "Gate    no baseline: version 1 has no manifest; something else than Sluice pushed it\n" in output


def test_baseline_may_be_left_out(gate):
    gate.serve(GOOD)
    code, output = gate.run("--set", "evaluator.baseline=none", epochs=WEAK, thresholds=[PASSES])
    assert (code, "Gate    no baseline: evaluator.baseline is none\n" in output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{metric: Accuracy, lower_bound: 0.5}"], "'Accuracy' is not one of its values"),
        (["{metric: accuracy}"], "has no bound"),
        (["{metric: accuracy, absolute_change: 0.0}"], "nothing decides on a first run"),
        ([PASSES, "{metric: loss, upper_bound: 1, slice: {feature: wind}}"], "'wind' is no feature of the schema"),
        ([PASSES, "{metric: recall, class_name: drain, lower_bound: 0.5}"], "'drain' is no class"),
    ],
)
def test_rule_that_nothing_can_meet_is_refused_before_anything_runs(gate, arguments, message):
    code, output = gate.run(thresholds=arguments)
    assert (code, message in output, "ExampleGen" in output) == (2, True, False), output


def test_no_threshold_is_refused_before_anything_runs(gate):
    code, output = gate.run("--set", "evaluator.thresholds=[]")
    assert (code, "ExampleGen" in output) == (2, False), output


def test_people_are_told_what_came_of_a_run(gate):
    told = gate.folder / "told.jsonl"
    told.unlink(missing_ok=True)
    append = f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read() + chr(10))"
    notification = ["--set", f"notification.command={json.dumps([sys.executable, '-c', append])}"]
    gate.run(*notification, thresholds=[PASSES])
    gate.run(*notification, thresholds=[PASSES])  # nothing to do
    gate.run(*notification, "--set", "notification.events=[pushed, failed]", epochs=WEAK, thresholds=[NEVER])
    _, output = gate.run(*notification, epochs=WEAK, thresholds=[NEVER])
    gate.run(*notification, "--set", f"trainer.module_file={MODULES / 'nan_after_training.py'}", thresholds=[PASSES])
    messages = [json.loads(line) for line in told.read_text().splitlines()]
    assert [message["event"] for message in messages] == ["pushed", "refused", "failed"]
    assert [message["exit_code"] for message in messages] == [0, 3, 1]
    assert messages[1]["text"] == f"reference: {output.splitlines()[-1]}"
    assert messages[1]["pipeline"] == "reference"


def test_notification_that_fails_does_not_change_what_came_of_a_run(gate):
    code, output = gate.run("--set", "notification.command=[no-such-program]", thresholds=[PASSES])
    assert code == 0
    *_, notice, last_line = output.splitlines()
    assert notice == "Notice  the command no-such-program was not run: No such file or directory."
    assert last_line.startswith("PUSHED: ")


def test_empty_eval_split_is_refused(gate, reference_csv, tmp_path):
    header, *rows = reference_csv.read_text().splitlines()
    outputs = []
    while "the eval split has no rows" not in "".join(outputs):  # one row, until one falls into the other split
        folder = tmp_path / str(len(outputs))
        folder.mkdir()
        (folder / "rows.csv").write_text(f"{header}\n{rows[len(outputs)]}\n")
        code, output = gate.run("--set", f"example_gen.input_dir={folder}")
        assert code == 4, output
        outputs.append(output)
        assert len(outputs) < 9
    assert "DATA REFUSED: " in outputs[-1].splitlines()[-1]


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("nan_after_training.py", r"FAILED: Trainer: ValueError: weights are not finite after training: .*"),
        (
            "wrong_label.py",
            r"FAILED: Trainer: ValueError: the label 'gate_action' is 7 in the train split; it must lie .*",
        ),
    ],
)
def test_training_that_went_wrong_ends_in_the_trainer(gate, module, sentence):
    gate.serve(GOOD)
    code, output = gate.run("--set", f"{_section(module)}.module_file={MODULES / module}", thresholds=[PASSES])
    assert (code, bool(re.match(sentence, output.splitlines()[-1]))) == (1, True), output
    assert list_versions(gate.serving_dir) == [1]


@pytest.mark.parametrize(
    ("thresholds", "blessed"),
    [
        (["{metric: accuracy, lower_bound: 0.999}"], False),
        (["{metric: auc, average: macro, lower_bound: 0.9}", "{metric: f1, average: macro, lower_bound: 0.9}"], True),
        (["{metric: auc, average: macro, lower_bound: 0.9999}"], False),
        (["{metric: auc, class_name: flush, lower_bound: 0.9}", "{metric: f1, class_name: hold, lower_bound: 0.8}"],
         True),
        ([PASSES, "{metric: accuracy, absolute_change: 0.01}"], True),
        ([PASSES, "{metric: loss, relative_change: -0.99}"], False),
        ([PASSES, "{metric: accuracy, slice: {feature: gate_action}, min_rows: 1, lower_bound: 0.999}"], False),
        ([PASSES, "{metric: loss, slice: {feature: ph, buckets: [7.2]}, min_rows: 1, upper_bound: 0.001}"], False),
        ([PASSES, "{metric: loss, slice: {feature: ph, buckets: [7.2]}, min_rows: 1, absolute_change: 0.0}"], True),
    ],
)  # fmt: skip
def test_stock_evaluator_decides_alike(gate, tmp_path, thresholds, blessed):
    gate.serve(WEAK)
    code, output = gate.run(thresholds=thresholds)
    assert (code == 0) == blessed, output
    ours = gate.outputs(output)
    config = load_config(REFERENCE_CONFIG, [f"evaluator.thresholds=[{', '.join(thresholds)}]"])
    rules = config.evaluator.rules()
    eval_config = make_eval_config(config.feature_roles(), rules)
    properties = {"eval_config": proto_utils.proto_to_json(eval_config), "example_splits": '["eval"]'}
    inputs = {
        "examples": standard_artifacts.Examples(),
        "model": standard_artifacts.Model(),
        "baseline_model": standard_artifacts.Model(),
    }
    inputs["examples"].split_names = '["train", "eval"]'
    for component, name in (("ExampleGen", "examples"), ("Trainer", "model"), ("Baseline", "baseline_model")):
        inputs[name].uri = ours[component][name]
    outputs = {"evaluation": standard_artifacts.ModelEvaluation(), "blessing": standard_artifacts.ModelBlessing()}
    for name, artifact in outputs.items():
        artifact.uri = str(tmp_path / name)
    beam_args = ["--runner=FnApiRunner", "--sdk_container_image=none"]
    stock_evaluator.Executor(stock_evaluator.Executor.Context(beam_args)).Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {name: [artifact] for name, artifact in outputs.items()},
        properties | stock_properties(properties, rules),
    )
    assert (tmp_path / "blessing" / "BLESSED").exists() == blessed
    assert Path(ours["Evaluator"]["blessing"], "BLESSED").exists() == blessed
    of_ours, of_stock = (
        metrics_in(str(folder)) for folder in (ours["Evaluator"]["evaluation"], tmp_path / "evaluation")
    )
    assert of_ours.keys() == of_stock.keys()  # of every model, slice, class and change
    for key, values in of_stock.items():
        tolerance = 1e-3 if "auc" in key[1] else 1e-6  # TFMA sorts probabilities into 10000 bins
        np.testing.assert_allclose(of_ours[key], values, atol=tolerance, err_msg=str(key))
    folders = (ours["Evaluator"]["evaluation"], str(tmp_path / "evaluation"))
    assert [tfma.load_validation_result(folder).validation_ok for folder in folders] == [blessed, blessed]


def metrics_in(evaluation_dir):
    """Returns the numbers of every metric of every slice, by TFMA's keys as text."""
    found = {}
    for each in load_and_deserialize_metrics(f"{evaluation_dir}/metrics", "tfrecord"):
        for metric in each.metric_keys_and_values:
            array = metric.value.array_value.float64_values
            key = str(each.slice_key), str(MetricKey.from_proto(metric.key))
            found[key] = np.array(array or [metric.value.double_value.value])
    return found


def _section(module):
    return "transform" if "def preprocessing_fn" in (MODULES / module).read_text() else "trainer"


def _number(path):
    return int(path.name)
