"""Modules that are imported on demand, small ones made here and those of a run."""

import json
import subprocess
import sys
import threading
from types import ModuleType

import pytest

from components import imports
from components.imports import quick_imports

USE_ALL_OF_IT = """
import json, sys
from components.imports import ON_DEMAND, quick_imports
with quick_imports():
    import pipeline.local_runner
asleep = [name for name in ON_DEMAND if type(sys.modules.get(name)).__name__ == "_Module"]
absent = [name for name in ("google.cloud.aiplatform", "kubernetes", "sklearn", "matplotlib.pyplot")
          if name not in sys.modules]

import keras
import keras_tuner
import matplotlib.pyplot
import nltk
import numpy as np
import scipy.stats
from rouge_score import rouge_scorer
from sklearn.linear_model import LogisticRegression
from tensorflow_model_analysis.metrics.rouge import Rouge
from tfx import v1 as tfx
from tfx.components import StatisticsGen, Tuner

rows, labels = np.eye(4), np.array([0, 0, 1, 1])
done = {
    "nltk": nltk.edit_distance("abc", "abd"),
    "scipy": round(float(scipy.stats.norm.cdf(0)), 3),
    "sklearn": LogisticRegression().fit(rows, labels).predict(rows).tolist(),
    "wrapper": keras.wrappers.SKLearnClassifier.__name__,
    "rouge": rouge_scorer.RougeScorer(["rouge1"], use_stemmer=True).score("gates open", "gate opens")["rouge1"].recall,
    "tfma": Rouge("rouge1").get_config()["name"],
    "tuner": keras_tuner.Hyperband.__name__,
    "lines": len(matplotlib.pyplot.plot([0, 1])),
    "components": [tfx.components.Transform.__name__, Tuner.__name__, StatisticsGen.__name__],
}
print(json.dumps({"asleep": asleep, "absent": absent, "done": done}))
"""


@pytest.fixture(scope="module")
def used():
    script = [sys.executable, "-c", USE_ALL_OF_IT]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_run_starts_without_what_it_does_not_touch(used):
    assert {"keras.wrappers", "nltk", "scipy.stats"} <= set(used["asleep"])
    assert used["absent"] == ["google.cloud.aiplatform", "kubernetes", "sklearn", "matplotlib.pyplot"]


def test_what_was_left_out_works_when_it_is_used(used):
    assert used["done"] == {
        "nltk": 1,
        "scipy": 0.5,
        "sklearn": [0, 0, 1, 1],
        "wrapper": "SKLearnClassifier",
        "rouge": 1.0,
        "tuner": "Hyperband",
        "tfma": "rouge1",
        "lines": 1,
        "components": ["Transform", "Tuner", "StatisticsGen"],
    }


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes modules into a package of its own that is imported on demand."""

    def write(**sources):
        folder = tmp_path / "demanded"
        folder.mkdir(exist_ok=True)
        for name, source in {"__init__": "", **sources}.items():
            (folder / f"{name}.py").write_text(source)
        names = ["demanded", *(f"demanded.{name}" for name in sources if name != "__init__")]
        monkeypatch.setattr(imports, "ON_DEMAND", tuple(names))
        monkeypatch.syspath_prepend(str(tmp_path))
        for name in names:
            monkeypatch.delitem(sys.modules, name, raising=False)
        with quick_imports():
            import demanded
        return demanded

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "demanded"]:
        del sys.modules[name]


COUNTED = (
    "import builtins, time\nbuiltins.executed = getattr(builtins, 'executed', 0) + 1\ntime.sleep(0.2)\nvalue = 7\n"
)


@pytest.fixture
def executions(monkeypatch):
    import builtins

    monkeypatch.setattr(builtins, "executed", 0, raising=False)
    return lambda: builtins.executed


def test_module_is_executed_at_its_first_use_and_is_itself_then(package, executions):
    module = package(__init__=COUNTED)
    assert (executions(), module.__name__, module.__spec__.name) == (0, "demanded", "demanded")
    assert "value" not in vars(module)
    assert (module.value, executions()) == (7, 1)
    assert type(module) is ModuleType
    assert sys.modules["demanded"] is module
    with pytest.raises(AttributeError, match="module 'demanded' has no attribute 'nothing'"):
        _ = module.nothing
    assert executions() == 1


def test_threads_that_use_it_at_once_wait_for_it(package, executions):
    module = package(__init__=COUNTED)
    barrier, found = threading.Barrier(8), []

    def use():
        barrier.wait()
        found.append(module.value)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, executions()) == ([7] * 8, 1)


def test_module_of_a_package_needs_no_execution_of_the_package(package, executions):
    module = package(__init__=COUNTED, part="name = 'part'\n")
    assert (module.part.name, executions()) == ("part", 0)
    from demanded import part

    assert part is module.part
    assert (module.value, executions()) == (7, 1)


def test_module_that_cannot_be_executed_says_so_every_time(package):
    module = package(__init__="raise OSError('broken')")
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            _ = module.value


def test_package_sees_what_it_imports_of_itself(package):
    module = package(__init__="from demanded.part import value\ntwice = value * 2\n", part="value = 4\n")
    assert module.twice == 8


def test_later_imports_are_as_ever(package, tmp_path):
    package()
    (tmp_path / "demanded" / "late.py").write_text("value = 1\n")
    import demanded.late

    assert type(demanded.late) is ModuleType
