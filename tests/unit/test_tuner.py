"""The search: its config, its space, what is tried first and what counts as best."""

import json
import tempfile

import keras_tuner
import pytest

from components.run_report.training_facts import collect_training
from components.tuner import best_values, packed
from components.tuner.module import Search, _oracle
from pipeline.config import load_config
from pipeline.config_errors import ConfigError

OWN = {"learning_rate": 0.01, "hidden_units": [64], "optimizer": "adam", "batch_size": None}
SPACE = {
    "learning_rate": {"min": 0.001, "max": 0.1},
    "hidden_units": [[32], [64, 64]],
    "optimizer": [],
    "batch_size": [16, 32],
}
SEARCH = {"objective": "val_loss", "seed": 0, "num_epochs": 9, "max_trials": 4, "search_space": SPACE}


def search_with(measure, algorithm="random_search", **settings):
    """Runs a search whose trials are measured by a function of their values and epochs."""
    settings = {**SEARCH, "algorithm": algorithm, **settings}
    search = Search(_oracle(settings, OWN), measure, settings["num_epochs"])
    search.search(verbose=0)
    return search


def learning_rates(search):
    return [trial.hyperparameters.values["learning_rate"] for trial in search.oracle.trials.values()]


@pytest.mark.parametrize("algorithm", ["random_search", "hyperband"])
def test_own_values_are_the_first_trial_and_a_full_one(algorithm):
    tried = []
    search = search_with(lambda values, epochs: tried.append((dict(values), epochs)) or 1.0, algorithm)
    assert tried[0] == ({"learning_rate": 0.01, "hidden_units": "[64]", "batch_size": None}, 9)
    assert all(0.001 <= rate <= 0.1 for rate in learning_rates(search))
    assert {values["hidden_units"] for values, _ in tried[1:]} <= {"[32]", "[64, 64]"}
    assert {values["batch_size"] for values, _ in tried[1:]} <= {16, 32}


@pytest.mark.parametrize("algorithm", ["random_search", "hyperband"])
def test_own_values_stay_where_nothing_is_better(algorithm):
    search = search_with(lambda values, epochs: float(values["learning_rate"] != 0.01), algorithm)
    best = best_values(search.get_best_hyperparameters()[0].get_config())
    assert best == {"learning_rate": 0.01, "hidden_units": [64]}


def test_greatest_accuracy_is_best():
    search = search_with(lambda values, _: values["learning_rate"], objective="val_accuracy")
    assert search.get_best_hyperparameters()[0].values["learning_rate"] == max(learning_rates(search))


def test_hyperband_takes_the_best_of_the_full_trials_alone():
    search = search_with(lambda values, epochs: epochs + values["learning_rate"], "hyperband")
    epochs = {trial.hyperparameters.values.get("tuner/epochs", 9) for trial in search.oracle.trials.values()}
    assert epochs == {1, 3, 9}
    assert len(search.oracle.trials) == search.oracle.max_trials  # of its own accord
    assert search.get_best_hyperparameters()[0].values.get("tuner/epochs", 9) == 9


def test_same_seed_tries_the_same():
    rates = [learning_rates(search_with(lambda *_: 1.0, seed=seed)) for seed in (0, 0, 1)]
    assert rates[0] == rates[1] != rates[2]
    assert len(rates[0]) == 4


def test_trial_that_diverges_is_passed_over():
    def measure(values, epochs):
        if values["learning_rate"] != 0.01:
            return 1.0
        raise keras_tuner.errors.FailedTrialError("loss is nan")

    search = search_with(measure)
    assert search.get_best_hyperparameters()[0].values["learning_rate"] != 0.01


def test_search_in_which_all_diverges_is_an_error():
    def measure(values, epochs):
        raise keras_tuner.errors.FailedTrialError("loss is nan")

    with pytest.raises(ValueError, match=r"^training diverged in every full trial. Lower trainer.learning_rate"):
        search_with(measure).get_best_hyperparameters()


def test_fault_of_a_trial_that_is_no_divergence_ends_the_search():
    def measure(values, epochs):
        raise OSError("no space left")

    with pytest.raises(keras_tuner.errors.FatalError, match=r"^trial 1: OSError: no space left"):
        search_with(measure)


def test_nothing_is_left_and_nothing_is_printed(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    search_with(lambda *_: 1.0)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().out == ""


def test_values_come_out_as_they_went_in():
    values = {name: packed(name, value) for name, value in OWN.items()}
    found = best_values({"values": {**values, "tuner/epochs": 3}})
    assert found == {"learning_rate": 0.01, "hidden_units": [64], "optimizer": "adam"}  # null stands for the config's


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("tuner.algorithm=grid", r"tuner.algorithm: .*'grid'"),
        ("tuner={algorithm: hyperband, max_trials: 5}", r"tuner.max_trials: is of random_search; how many trials"),
        ("tuner.max_trials=1", r"tuner.max_trials: .*2"),
        ("tuner.objective=val_top_2_accuracy", r"val_top_2_accuracy, but top_2_accuracy is not among trainer.metrics"),
        ("tuner.search_space.learning_rate={min: 0.1, max: 0.01}", r"learning_rate: min 0.1 must be below max 0.01"),
        ("tuner.search_space.learning_rate={min: 0, max: 1}", r"learning_rate.min: .*0"),
        ("tuner.search_space.hidden_units=[[8], [8]]", r"hidden_units: names a choice twice"),
        ("tuner.search_space.hidden_units=[[0]]", r"hidden_units.*0"),
        ("tuner.search_space.optimizer=[sdg]", r"optimizer.*'sdg'"),
        (
            "tuner.search_space={learning_rate: null, hidden_units: []}",
            r"tuner.search_space: leaves nothing to search for. Give one of: learning_rate, hidden_units, optimizer",
        ),
        ("tuner.hyperparameters=nowhere.txt", r"tuner.hyperparameters: there is no local file .*nowhere.txt"),
        ("trainer.warm_start=2", r"trainer.warm_start: "),
    ],
)
def test_wrong_config_is_told_in_a_sentence(reference_config_file, settings, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        load_config(reference_config_file, [settings])
    assert str(error.value).count("--set") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"is no best_hyperparameters.txt of a Tuner"),
        ("[]", r"is no best_hyperparameters.txt of a Tuner"),
        ('{"values": {"hidden_units": "64"}}', r"holds hidden_units 64, which is no trainer.hidden_units"),
        ('{"values": {"hidden_units": "x"}}', r"is no best_hyperparameters.txt of a Tuner"),
        ('{"values": {"learning_rate": -1.0}}', r"holds learning_rate -1.0, which is no trainer.learning_rate"),
        ('{"values": {"dropout": 0.5}}', r"holds none of learning_rate, hidden_units, optimizer, batch_size"),
    ],
)
def test_foreign_file_of_hyperparameters_is_told_in_a_sentence(reference_config_file, tmp_path, text, sentence):
    file = tmp_path / "best_hyperparameters.txt"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"tuner.hyperparameters: .*best_hyperparameters.txt {sentence}"):
        load_config(reference_config_file, [f"tuner.hyperparameters={file}"])


def test_reused_hyperparameters_stand_above_the_trainer_s_and_exclude_a_search(reference_config_file, tmp_path):
    file = tmp_path / "best.json"
    file.write_text(json.dumps({"values": {"learning_rate": 0.02, "hidden_units": "[8, 4]"}}))
    config = load_config(reference_config_file, [f"tuner.hyperparameters={file}"])
    assert (config.hyperparameters["learning_rate"], config.hyperparameters["hidden_units"]) == (0.02, [8, 4])
    assert config.run_parameters()["learning_rate"] == 0.02
    with pytest.raises(ConfigError, match=r"takes the place of tuning. Set either this or tuner.algorithm"):
        load_config(reference_config_file, [f"tuner.hyperparameters={file}", "tuner.algorithm=hyperband"])


def test_network_of_the_user_s_own_needs_a_tuner_of_its_own(reference_config_file, tmp_path):
    module_file = tmp_path / "module.py"
    module_file.write_text("def run_fn(fn_args): ...\ndef tuner_fn(fn_args): ...\n")
    settings = [f"trainer.module_file={module_file}", "tuner.algorithm=random_search"]
    with pytest.raises(ConfigError, match=r"tunes Sluice's own network, but trainer.module_file is another"):
        load_config(reference_config_file, settings)
    assert load_config(reference_config_file, [*settings, f"tuner.module_file={module_file}"]).tuner.algorithm


def test_search_is_told_what_is_null_in_the_config(reference_config_file):
    config = load_config(reference_config_file, ["tuner.algorithm=random_search", "trainer.num_epochs=7"])
    search = config.tuner.search(config.trainer)
    assert (search["max_trials"], search["num_epochs"]) == (10, 7)
    assert set(search["search_space"]) == set(SPACE)


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        (None, "learning_rate 0.02, hidden_units [8], as found by an earlier run"),
        (
            [{"trial_id": "1", "score": 0.1}, {"trial_id": "0", "score": 0.2, "learning_rate": 0.01}],
            "learning_rate 0.02, hidden_units [8]; scored 0.1000, the config's own 0.2000; best of 2 trials",
        ),
        (
            [{"trial_id": "3", "score": 0.1}, {"trial_id": "1", "score": 0.3, "tuner/epochs": 1}],
            "learning_rate 0.02, hidden_units [8]; scored 0.1000, the config's own diverged; best of 2 trials",
        ),
    ],
)
def test_report_tells_what_was_found_and_how_good_it_is(tmp_path, trials, said):
    best = {"learning_rate": 0.02, "hidden_units": [8]}
    (tmp_path / "training_trace.json").write_text(json.dumps([{"epoch": 1, "seconds": 1.0, "loss": 0.5}]))
    (tmp_path / "training_start.json").write_text(json.dumps({"tuned": best, "start": ""}))
    artifacts = {"model_run": str(tmp_path)}
    if trials:
        values = {name: packed(name, value) for name, value in best.items()}
        (tmp_path / "tuner_results.json").write_text(json.dumps([values | each for each in trials]))
        artifacts["tuner_results"] = str(tmp_path)
    training = collect_training(artifacts, [], None)
    assert (training["tuned"], training["start"]) == (said, "")
