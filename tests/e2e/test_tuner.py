"""Tuning and warm start on the reference problem, each beside the reference's own run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.run_report.facts import load_facts

pytestmark = pytest.mark.e2e

ALWAYS = {"DataGate"}
TUNED = ("tuner.algorithm=random_search", "tuner.max_trials=3")
WARM = ("trainer.warm_start=true",)


class Runs:
    """`sluice run` under one root, in a process that imports TensorFlow once."""

    def __init__(self, process, folder):
        self._process = process
        self.folder = folder

    def __call__(self, *settings):
        output_file = self.folder / "terminal.txt"
        options = [word for setting in settings for word in ("--set", setting)]
        words = [str(output_file), ["run", "--root", str(self.folder / "output"), *options]]
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        exit_code = int(self._process.stdout.readline())
        return Run(exit_code, output_file.read_text(), self.folder / "output")


class Run:
    """What a run printed and left."""

    def __init__(self, exit_code, text, root):
        self.exit_code, self.text, self.root = exit_code, text, root
        folder = max((root / "reports" / "reference").iterdir())
        self.record = json.loads((folder / "run.json").read_text())
        self.facts = load_facts(folder / "facts.json")
        self.page = (folder / "index.html").read_text()
        self.log = (root / "logs" / "reference" / f"{self.record['run_id']}.log").read_text(errors="replace")
        self.executed = {each["component"] for each in self.record["components"] if each["state"] != "cached"}

    def output(self, component, name):
        outputs = {each["component"]: each["outputs"] for each in self.record["components"]}
        return Path(outputs[component][name])

    @property
    def val_loss(self):
        return json.loads((self.output("Trainer", "model_run") / "training_trace.json").read_text())[-1]["val_loss"]

    @property
    def seconds(self):
        return {each["component"]: round(each["seconds"], 1) for each in self.record["components"]}

    @property
    def version(self):
        return self.output("Pusher", "pushed_model").name

    @property
    def trials(self):
        return json.loads((self.output("Tuner", "tuner_results") / "tuner_results.json").read_text())


@pytest.fixture(scope="module")
def process():
    worker = [sys.executable, str(Path(__file__).parent / "gate_worker.py")]
    with subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="module")
def runs_of_tuner(process, tmp_path_factory):
    return Runs(process, tmp_path_factory.mktemp("tuner"))


@pytest.fixture(scope="module")
def tuned(runs_of_tuner):
    return runs_of_tuner(*TUNED)


def test_tuned_model_is_as_good_as_its_best_trial_and_no_worse_than_the_reference(tuned, reference):
    assert tuned.exit_code == 0, tuned.text
    scores = {int(each["trial_id"]): each["score"] for each in tuned.trials}
    assert len(scores) == 3
    reference_loss = reference.trace[-1]["val_loss"]
    assert scores[0] == reference_loss  # the config's own values, trained as the Trainer does
    assert tuned.val_loss == min(scores.values()) <= reference_loss
    print(f"\nval_loss: reference {reference_loss:.4f}, tuned {tuned.val_loss:.4f}; {tuned.seconds['Tuner']} s")


def test_best_hyperparameters_are_the_model_s_and_are_told(tuned):
    values = json.loads((tuned.output("Tuner", "best_hyperparameters") / "best_hyperparameters.txt").read_text())
    values = values["values"]
    network = tuned.facts["model"]
    layers = [each["shape"] for each in network["layers"] if each["activation"] == "relu"]
    assert layers == [f"rows x {units}" for units in json.loads(values["hidden_units"])]
    np.testing.assert_allclose(network["optimizer_settings"]["learning_rate"], values["learning_rate"], rtol=1e-6)
    line = re.search(r"^Tuned   (learning_rate .*; best of 3 trials)$", tuned.text, re.MULTILINE)[1]
    assert f"scored {tuned.val_loss:.4f}" in line
    assert tuned.record["summary"]["tuned"] == tuned.facts["training"]["tuned"] == line
    assert "; best of 3 trials" in tuned.page
    assert "Search: Running Trial" not in tuned.log
    assert "trial 2 of 3, best val_loss" in tuned.log


def test_unchanged_run_is_tuned_from_the_cache(runs_of_tuner, tuned):
    again = runs_of_tuner(*TUNED)
    assert again.executed == ALWAYS
    assert again.text.splitlines()[-1].startswith("NOTHING TO DO")


def test_hyperband_trains_its_best_full_trial(runs_of_tuner, tuned):
    run = runs_of_tuner("tuner.algorithm=hyperband", "tuner.num_epochs=3", "trainer.num_epochs=3")
    assert run.exit_code == 0, run.text
    assert {each.get("tuner/epochs") for each in run.trials} == {None, 1, 3}
    full = [each["score"] for each in run.trials if each.get("tuner/epochs", 3) == 3]
    own = next(each["score"] for each in run.trials if "tuner/epochs" not in each)
    assert run.val_loss == min(full) <= own
    print(f"\nval_loss after 3 epochs: own {own:.4f}, hyperband {run.val_loss:.4f}; {run.seconds['Tuner']} s")


def test_hyperparameters_of_an_earlier_run_are_trained_with_without_a_search(runs_of_tuner, tuned):
    file = tuned.output("Tuner", "best_hyperparameters") / "best_hyperparameters.txt"
    run = runs_of_tuner(f"tuner.hyperparameters={file}")
    assert run.exit_code == 0, run.text
    assert "Tuner" not in run.seconds
    assert run.val_loss == tuned.val_loss
    assert re.search(r"^Tuned   learning_rate .*, as found by an earlier run$", run.text, re.MULTILINE)


@pytest.fixture(scope="module")
def runs_of_warm_start(process, tmp_path_factory, reference_csv):
    """Runs on rows of which there are more each day."""
    runs = Runs(process, tmp_path_factory.mktemp("warm"))
    (runs.folder / "data").mkdir()
    lines = reference_csv.read_text().splitlines(keepends=True)

    def run(num_rows, *settings):
        (runs.folder / "data" / "rows.csv").write_text("".join(lines[: num_rows + 1]))
        return runs(f"example_gen.input_dir={runs.folder / 'data'}", *WARM, *settings)

    return run


@pytest.fixture(scope="module")
def first(runs_of_warm_start):
    return runs_of_warm_start(600)


@pytest.fixture(scope="module")
def warm(runs_of_warm_start, first):
    return runs_of_warm_start(1000)


def test_appended_rows_are_trained_on_from_the_served_weights(first, warm, reference):
    assert (first.exit_code, warm.exit_code) == (0, 0), warm.text
    assert "\nStart   cold: nothing was served before\n" in first.text
    sentence = f"from the weights of version {first.version}"
    assert f"\nStart   {sentence}\n" in warm.text
    assert warm.record["summary"]["start"] == sentence
    assert f"Training started {sentence}" in " ".join(re.sub("<[^>]*>", "", warm.page).split())
    cold = reference.trace[-1]["val_loss"]  # of the same rows, seed and epochs
    assert warm.val_loss <= cold
    print(f"\nval_loss: cold {cold:.4f}, warm {warm.val_loss:.4f}; Trainer {warm.seconds['Trainer']} s")


def test_unchanged_run_after_a_push_is_cached_whole(runs_of_warm_start, warm):
    again = runs_of_warm_start(1000)
    assert again.executed == ALWAYS
    assert again.text.splitlines()[-1].startswith("NOTHING TO DO")


def test_other_features_start_cold_and_say_so(runs_of_warm_start, warm, reference_schema_file, tmp_path):
    text = Path(reference_schema_file).read_text()
    fewer = re.sub(r'feature \{\s+name: "wind_speed_m_s".*?\n\}\n', "", text, flags=re.DOTALL)
    assert fewer != text
    (tmp_path / "schema.pbtxt").write_text(fewer)
    run = runs_of_warm_start(
        1000,
        f"schema_gen.schema_file={tmp_path / 'schema.pbtxt'}",
        "example_gen.ignore_columns=[wind_speed_m_s]",
    )
    reason = r"cold: version \d+ does not fit: it takes wind_speed_m_s, which the rows no longer have"
    assert re.search(rf"^Start   {reason}$", run.text, re.MULTILINE), run.text
    assert re.search(reason, run.log)
