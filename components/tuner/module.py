"""The Tuner component's module file: TFX calls `tuner_fn`. Runs in the Tuner's process."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components.trainer.fitting import Fitting, create_early_stopping
from components.trainer.guards import check_losses
from components.tuner import PROGRESS_LOGGER, TUNED, best_values, packed

_EPOCHS = "tuner/epochs"  # Hyperband's name for those of a trial
_FACTOR = 3  # by which Hyperband multiplies epochs and divides trials from round to round; its paper's
Values = dict[str, Any]


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Returns the search for the best hyperparameters.

    Args:
        fn_args: As of the Trainer's `run_fn`, and in `custom_config` also `search`: `algorithm` (`random_search` or
            `hyperband`), `max_trials` (of random search), `num_epochs` (of a full trial), `objective` (a figure that
            Keras logs), `seed`, and `search_space` (`learning_rate` as `min` and `max`, and lists of choices).
    """
    search = fn_args.custom_config["search"]
    own = fn_args.custom_config["hyperparameters"]
    fitting = Fitting(fn_args)

    def measure(values: Values, num_epochs: int) -> float:
        return _measure(fitting, own | best_values({"values": values}), search["objective"], num_epochs)

    return TunerFnResult(tuner=Search(_oracle(search, own), measure, search["num_epochs"]), fit_kwargs={"verbose": 0})


class Search(keras_tuner.Tuner):
    """A search whose trials are trainings as the Trainer's, from the first epoch on, so that it repeats the best.

    Args:
        oracle: Proposes the trials.
        measure: Trains with values for so many epochs and returns the objective.
        num_epochs: Of a full trial.
    """

    def __init__(self, oracle: keras_tuner.Oracle, measure: Callable[[Values, int], float], num_epochs: int) -> None:
        self._folder = tempfile.TemporaryDirectory()  # of KerasTuner's state
        super().__init__(oracle, directory=self._folder.name, project_name="search")
        self._measure = measure
        self._num_epochs = num_epochs

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Runs the trials and leaves no files."""
        with self._folder:
            super().search(*args, **kwargs)

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Runs one, and tells before how far the search is.

        Raises:
            keras_tuner.errors.FailedTrialError: If training diverged; the search goes on.
            keras_tuner.errors.FatalError: If anything else went wrong.
        """
        best, name = self._completed()[:1], self.oracle.objective.name
        number, of = len(self.oracle.trials), f" of {self.oracle.max_trials}" * bool(self.oracle.max_trials)
        so_far = f", best {name} {best[0].score:.4f}" if best else ""
        logging.getLogger(PROGRESS_LOGGER).info("trial %d%s%s", number, of, so_far)
        values = trial.hyperparameters.values
        try:
            return {name: self._measure(values, values.get(_EPOCHS, self._num_epochs))}
        except keras_tuner.errors.FailedTrialError as err:
            logging.warning("Trial %d failed: %s", number, err)
            raise
        except Exception as err:  # which KerasTuner would take for a bad choice of values
            raise keras_tuner.errors.FatalError(f"trial {number}: {type(err).__name__}: {err}") from err

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """Returns those of the best full trials, which alone compare with what the Trainer does.

        Raises:
            ValueError: If there is none.
        """
        found = [trial.hyperparameters for trial in self._completed()]
        full = [each for each in found if each.values.get(_EPOCHS, self._num_epochs) >= self._num_epochs]
        if not full:
            raise ValueError(
                "training diverged in every full trial. Lower trainer.learning_rate and tuner.search_space."
            )
        return full[:num_trials]

    def _completed(self) -> list[Any]:
        trials = self.oracle.get_best_trials(len(self.oracle.trials))
        return [trial for trial in trials if trial.status == "COMPLETED"]  # KerasTuner adds the others, at the end


class _OwnFirst:
    """Makes an oracle's first trial that of the Trainer's own hyperparameters, for all epochs."""

    own: Values

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if not self.trials:  # type: ignore[attr-defined]
            return {"status": "RUNNING", "values": dict(self.own)}
        return super().populate_space(trial_id)  # type: ignore[misc]


class _RandomSearch(_OwnFirst, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Hyperband(_OwnFirst, keras_tuner.oracles.HyperbandOracle):
    pass


def _oracle(search: Mapping[str, Any], own: Mapping[str, Any]) -> keras_tuner.Oracle:
    objective = search["objective"]
    direction = "max" if objective.endswith("accuracy") else "min"
    settings = {
        "objective": keras_tuner.Objective(objective, direction),
        "hyperparameters": _search_space(search["search_space"]),
        "seed": search["seed"] + 1,  # KerasTuner draws one for 0
        "max_consecutive_failed_trials": None,  # a trial may diverge
    }
    if search["algorithm"] == "hyperband":
        oracle = _Hyperband(max_epochs=search["num_epochs"], factor=_FACTOR, **settings)
        sizes = (
            oracle._get_size(bracket, each)
            for bracket in range(oracle._get_num_brackets())
            for each in range(bracket + 1)
        )
        oracle.max_trials = 1 + sum(sizes)  # which TFX's executor reads
    else:
        oracle = _RandomSearch(max_trials=search["max_trials"], **settings)
    oracle.own = {name: packed(name, own[name]) for name in TUNED if name in settings["hyperparameters"].values}
    return oracle


def _search_space(space: Mapping[str, Any]) -> keras_tuner.HyperParameters:
    found = keras_tuner.HyperParameters()
    for name in TUNED:
        wanted = space[name]
        if isinstance(wanted, Mapping):
            found.Float(name, wanted["min"], wanted["max"], sampling="log")
        elif wanted:
            found.Choice(name, [packed(name, each) for each in wanted])
    return found


class _Guard(keras.callbacks.Callback):
    """Ends a trial that diverges."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        try:
            check_losses(logs or {}, epoch + 1)
        except ValueError as err:
            raise keras_tuner.errors.FailedTrialError(str(err)) from err


def _measure(fitting: Fitting, hyperparameters: Values, objective: str, num_epochs: int) -> float:
    """Trains once and returns the objective at the epoch whose weights the Trainer would keep."""
    keras.backend.clear_session()
    early_stopping = create_early_stopping(hyperparameters["early_stopping"])
    callbacks = [_Guard(), early_stopping] if early_stopping else [_Guard()]
    figures = fitting.fit(fitting.build(hyperparameters), hyperparameters, callbacks, num_epochs)[objective]
    return figures[early_stopping.best_epoch if early_stopping else -1]
