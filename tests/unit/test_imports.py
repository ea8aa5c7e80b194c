"""Modules that are imported on demand, small ones made here and those of a run."""

import gc
import importlib
import json
import os
import pickle
import pkgutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from components import imports
from components.imports import quick_imports

ABSENT = [
    "google.cloud.aiplatform", "google.cloud.bigquery.client", "google.cloud.dataflow_v1beta3", "IPython.terminal",
    "ipywidgets", "jedi", "kubernetes", "matplotlib", "nltk.corpus", "prompt_toolkit", "scipy.linalg._basic",
    "scipy.ndimage._filters", "sklearn",
]  # fmt: skip
USE_ALL_OF_IT = """
import json, pkgutil, sys
from components.imports import ON_DEMAND, quick_imports
with quick_imports():
    import pipeline.local_runner
asleep = [name for name in ON_DEMAND if type(sys.modules.get(name)).__name__ == "_Module"]
absent = [name for name in sys.argv[1:] if name not in sys.modules]

from apache_beam.internal import pickler
from apache_beam.utils.interactive_utils import is_in_ipython
import IPython

from matplotlib.figure import Figure
Figure()
shells = [is_in_ipython(), IPython.version_info[0] >= 8, type(IPython).__name__]
from google.cloud import bigquery, dataflow

tokens = lambda text: nltk.wordpunct_tokenize(text)
import nltk
pickled = pickler.dumps(tokens)
slept = type(nltk).__name__ == "_Module"

import keras
import keras_tuner
import keras_tuner.src.utils
import matplotlib.pyplot
import numpy as np
import scipy.linalg, scipy.ndimage, scipy.stats
import tensorflow_model_analysis as tfma
import tf_keras
from rouge_score import rouge_scorer
from sklearn.linear_model import LogisticRegression
from tensorflow_model_analysis.metrics.rouge import Rouge
from tfx import v1 as tfx
from tfx.components import StatisticsGen, Tuner

rows, labels = np.eye(4), np.array([0, 0, 1, 1])
done = {
    "shells": shells,
    "shell": type(IPython.core.interactiveshell.InteractiveShell.instance()).__name__,
    "runs": [is_in_ipython(), IPython.get_ipython() is IPython.core.interactiveshell.InteractiveShell.instance()],
    "woken": type(IPython).__name__,
    "pickled": [slept, pickler.loads(pickled)("a gate")],
    "bigquery": bigquery.SchemaField("rows", "INTEGER").to_api_repr()["type"],
    "dataflow": dataflow.JobState.JOB_STATE_DONE.name,
    "image": tf_keras.preprocessing.image.apply_affine_transform(rows[..., None], theta=90).shape,
    "linalg": float(scipy.linalg.det(rows)),
    "ndimage": float(scipy.ndimage.maximum(rows)),
    "list": keras_tuner.src.utils.to_list(1),
    "widget": [tfma.view.render_plot.__name__, tfma.notebook.visualization.SlicingMetricsViewer.__mro__[1].__name__],
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
shadowed = []
for name in ON_DEMAND:
    _ = sys.modules[name].__doc__
    found = vars(sys.modules[name])
    for part in pkgutil.iter_modules(found.get("__path__") or []):
        full_name = f"{name}.{part.name}"
        if isinstance(found.get(part.name), type(sys)) and found[part.name] is not sys.modules.get(full_name):
            shadowed.append(full_name)
print(json.dumps({"asleep": asleep, "absent": absent, "done": done, "shadowed": shadowed}))
"""


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    script = [sys.executable, "-c", USE_ALL_OF_IT, *ABSENT]
    environment = os.environ | {"IPYTHONDIR": str(tmp_path_factory.mktemp("ipython"))}
    done = subprocess.run(script, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_run_starts_without_what_it_does_not_touch(used):
    assert set(imports.ON_DEMAND) - set(used["asleep"]) <= {"googleapiclient.discovery", "tqdm.notebook"}
    assert used["absent"] == ABSENT


def test_modules_of_packages_are_what_the_packages_call_so(used):
    # By star imports nltk.metrics is nltk.translate.metrics and nltk.util is nltk.stem.util, once nltk is executed.
    assert used["shadowed"] == ["nltk.metrics", "nltk.util"]


def test_what_was_left_out_works_when_it_is_used(used):
    assert used["done"] == {
        "shells": [False, True, "_Module"],
        "shell": "InteractiveShell",
        "runs": [True, True],
        "woken": "module",
        "pickled": [True, ["a", "gate"]],
        "bigquery": "INTEGER",
        "dataflow": "JOB_STATE_DONE",
        "image": [4, 4, 1],
        "linalg": 1.0,
        "ndimage": 1.0,
        "list": [1],
        "widget": ["render_plot", "DOMWidget"],
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
    from demanded import part

    assert (part.name, executions()) == ("part", 0)
    assert (module.part, executions()) == (part, 1)


def test_module_that_is_looked_up_has_what_the_package_imports(package):
    module = package(__init__="import demanded.part\ndemanded.part.more = 7\n", part="")

    assert module.part.more == 7


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


def test_what_is_set_before_its_first_use_stays(package, executions):
    module = package(__init__=COUNTED)
    module.value = 8
    assert (module.value, executions()) == (8, 1)


def test_it_is_pickled_by_name_and_stays_asleep(package, executions):
    module = package(__init__=COUNTED)
    assert pickle.loads(pickle.dumps(module)) is module
    assert executions() == 0


def test_its_data_is_found_before_its_first_use(package, executions):
    package(__init__=COUNTED)
    assert pkgutil.get_data("demanded", "__init__.py") == COUNTED.encode()
    assert executions() == 0


def test_threads_whose_modules_import_each_other_do_not_wait_forever(package, monkeypatch):
    import builtins

    monkeypatch.setattr(builtins, "both", threading.Barrier(2), raising=False)
    together = "import builtins\nbuiltins.both.wait(30)\n"
    package(__init__=f"{together}import demanded.late\nvalue = 1\n")
    folder = Path(sys.modules["demanded"].__path__[0])
    (folder / "late.py").write_text(f"{together}import demanded\nfound = getattr(demanded, 'value', None)\n")
    threads = [
        threading.Thread(target=getattr, args=(sys.modules["demanded"], "value"), daemon=True),
        threading.Thread(target=importlib.import_module, args=("demanded.late",), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert sys.modules["demanded"].value == 1


def test_imports_within_such_imports_leave_the_collector_off(package):
    with quick_imports():
        package()
        assert not gc.isenabled()
    assert gc.isenabled()
