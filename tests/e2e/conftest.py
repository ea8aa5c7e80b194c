"""Runs the real command: the reference pipeline once per session, and a copy of the project that may be edited."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.pusher.versions import list_versions

# A shell makes what it starts in the background ignore SIGINT, and a child inherits that.
HEARING = ("env", "--default-signal=INT")
NETWORK_GUARD = Path(__file__).parent / "network_guard"


@dataclass(frozen=True)
class Result:
    """What a run printed and left; `versions` are those that were there when it ended."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    record: dict
    root: Path
    versions: list[int]

    @property
    def last_line(self):
        return self.stdout.splitlines()[-1]

    @property
    def states(self):
        return {run["component"]: run["state"] for run in self.record["components"]}

    @property
    def executed(self):
        return {name for name, state in self.states.items() if state != "cached"}

    @property
    def log(self):
        return (self.root / "logs" / "reference" / f"{self.record['run_id']}.log").read_text(errors="replace")

    @property
    def report_dir(self):
        return self.root / "reports" / "reference" / self.record["run_id"]

    @property
    def facts(self):
        assert (self.report_dir / "index.html").read_text().startswith("<!DOCTYPE html>")
        return json.loads((self.report_dir / "facts.json").read_text())

    @property
    def trace(self):
        (trainer,) = (run for run in self.record["components"] if run["component"] == "Trainer")
        return json.loads(Path(trainer["outputs"]["model_run"], "training_trace.json").read_text())


class Command:
    """`sluice run` with one root and no way out of this machine.

    `server` has the metadata, or a file under the root if it is None; then `metadata` are the options that say so.
    """

    server = None

    def __init__(self, command, root, cwd, server=None):
        self.server = server or Command.server
        self.metadata = self.server.set_options(self.server.make_database(root)) if self.server else []
        self.command = [*command, "run", "--root", str(root), *self.metadata]
        self.root = root
        self.cwd = cwd
        self.guard_file = root.parent / f"{root.name}.network"
        self.environment = os.environ | {
            "PYTHONPATH": str(NETWORK_GUARD),
            "NETWORK_GUARD_FILE": str(self.guard_file),
            **(self.server.credentials if self.server else {}),
        }

    @property
    def hearing_command(self):
        return [*HEARING, *self.command]

    def __call__(self, *arguments):
        start = time.perf_counter()
        process = subprocess.run(
            [*self.hearing_command, *arguments], cwd=self.cwd, env=self.environment, capture_output=True, text=True
        )
        seconds = time.perf_counter() - start
        record_file = max((self.root / "reports" / "reference").glob("*/run.json"))
        record = json.loads(record_file.read_text())
        versions = list_versions(self.root / "serving_model" / "reference")
        return Result(process.returncode, process.stdout, process.stderr, seconds, record, self.root, versions)


def load_module(name):
    """Loads a module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mariadb = load_module("mariadb")


@pytest.fixture(scope="session")
def database_server():
    """A MariaDB server."""
    if mariadb.MARIADBD is None:
        if os.environ.get("CI"):
            pytest.fail("There is no mariadbd. CI installs it with apt-get: see .ci/run.")
        pytest.skip("There is no mariadbd on this machine: apt-get install mariadb-server")
    server = mariadb.MariaDb()
    yield server
    server.remove()


@pytest.fixture(scope="session", autouse=True)
def metadata_server(request):
    """The server that `--metadata mysql` asks for, else None."""
    if request.config.getoption("--metadata") == "mysql":
        Command.server = request.getfixturevalue("database_server")
    return Command.server


@pytest.fixture(scope="session")
def new_command(tmp_path_factory):
    """Makes a `sluice run` with a root of its own; `fault`, of `fault_driver.py`, comes to each of its runs."""

    def make(*fault, root=None, server=None):
        root = root or tmp_path_factory.mktemp("runs") / "output"
        driver = (sys.executable, str(Path(__file__).with_name("fault_driver.py")), *fault)
        command = driver if fault else [str(Path(sys.executable).parent / "sluice")]
        return Command(command, root, root.parent, server)

    return make


@pytest.fixture(scope="session")
def problems_of():
    """What `consistency.py` finds under a root and in its metadata store."""
    find = load_module("consistency").problems_of

    def problems(root, server=None, **options):
        server = server or Command.server
        return find(root, connection=server and server.connection(server.database_of(root)), **options)

    return problems


@pytest.fixture(scope="session")
def sluice(tmp_path_factory):
    """The installed command on the reference pipeline."""
    folder = tmp_path_factory.mktemp("reference")
    run = Command([str(Path(sys.executable).parent / "sluice")], folder / "output", folder)
    run.command += ["--set", "pusher.keep_versions=null"]  # the tests push often, and come back to the first version
    return run


@pytest.fixture(scope="session")
def reference(sluice):
    """The first run of the reference pipeline."""
    return sluice()


@pytest.fixture(scope="session")
def project_copy(tmp_path_factory, project_root):
    """A copy of the code whose reference pipeline has run once; `run` runs it again."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("schema", "components", "pipeline"):
        shutil.copytree(project_root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    run = Command([sys.executable, "-m", "pipeline"], folder / "output", folder)
    assert run().exit_code == 0
    return folder, run


@pytest.fixture
def edited_csv(reference_csv, tmp_path):
    """Writes a copy of the reference data, its rows changed by a function, into a folder of its own."""

    def write(change):
        lines = [line.split(",") for line in reference_csv.read_text().splitlines()]
        (tmp_path / "data").mkdir()
        text = "\n".join(",".join(cells) for cells in change(lines)) + "\n"
        (tmp_path / "data" / "rows.csv").write_text(text)
        return str(tmp_path / "data")

    return write
