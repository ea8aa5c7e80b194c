"""Metadata on a MariaDB server: what the end-to-end tests with `--metadata mysql` do not ask for.

Its last test looks for user and password in all that the others left.
"""

import base64
import itertools
import os
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Context, ContextType, Execution, ExecutionType
from tfx.orchestration import metadata

from pipeline.metadata_store import claim
from pipeline.run_outcome import MetadataError
from pipeline.run_record import COMPONENTS, RunPaths

pytestmark = pytest.mark.e2e

LAX = ("--set", "evaluator.thresholds=[{metric: accuracy, lower_bound: 0.5}]")


class Commands:
    """`sluice` on a server; keeps what each process printed, where it ran and what others saw of it."""

    def __init__(self, server, new_command):
        self.server = server
        self.new_command = new_command
        self.folders = set()
        self.said = []
        self.seeds = itertools.count(1)

    def run(self, *fault, root=None, server=None):
        command = self.new_command(*fault, root=root, server=server or self.server)
        self.folders.add(command.root.parent)
        return command

    def new_model(self):
        return (*LAX, "--set", f"trainer.seed={next(self.seeds)}")

    def start(self, run, *arguments, environment=()):
        return subprocess.Popen(
            arguments, cwd=run.cwd, env=run.environment | dict(environment), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def end(self, process):
        stdout, stderr = process.communicate(timeout=300)
        self.said += [stdout, stderr]
        return process.returncode, stdout, stderr

    def __call__(self, run, *arguments, environment=()):
        """Runs `sluice` with other arguments than `run`."""
        return self.end(self.start(run, run.command[0], *arguments, environment=environment))


@pytest.fixture(scope="module")
def commands(database_server, new_command):
    return Commands(database_server, new_command)


@pytest.fixture(scope="module")
def pushed(commands):
    """A root with one push, and the result of that run."""
    run = commands.run()
    result = run(*commands.new_model())
    commands.said += [result.stdout, result.stderr]
    return run, result


def test_run_is_pushed_and_the_next_one_takes_it_from_the_cache(pushed, commands, problems_of):
    run, first = pushed
    assert (first.exit_code, set(first.states.values())) == (0, {"done"}), first.stdout
    assert first.stderr == ""
    assert not (run.root / "metadata" / "reference" / "metadata.db").exists()
    again = run(*LAX, "--set", "trainer.seed=1")
    assert (again.exit_code, again.executed) == (0, {"DataGate"})
    assert problems_of(run.root, commands.server, num_runs=2) == []
    exit_code, stdout, _ = commands(run, "history", "--root", run.root, "--json")
    assert (exit_code, stdout.count('"run_id"')) == (0, 2)
    assert commands(run, "report", "--root", run.root)[0] == 0


def test_killed_run_is_found_and_continued(pushed, commands, problems_of):
    run, _ = pushed
    model = commands.new_model()
    killed = commands.run("Trainer", "publishing", "kill", root=run.root)
    exit_code, _, _ = commands.end(commands.start(run, *killed.command, *model))
    assert exit_code == -signal.SIGKILL
    result = run(*model)
    assert result.exit_code == 0
    assert ") was killed in Trainer; " in result.stdout
    assert {name for name in COMPONENTS[:6] if result.states[name] != "cached"} == {"DataGate"}
    assert problems_of(run.root, commands.server) == []


def test_refused_model_is_not_pushed(pushed, commands, problems_of):
    run, _ = pushed
    refused = run("--set", "evaluator.thresholds=[{metric: accuracy, lower_bound: 0.999}]")
    assert (refused.exit_code, refused.states["Pusher"]) == (3, "done")
    assert problems_of(run.root, commands.server) == []


def test_clean_removes_what_is_old(pushed, commands, problems_of):
    run, _ = pushed
    assert run(*commands.new_model()).exit_code == 0
    exit_code, stdout, stderr = commands(run, "clean", "--root", run.root, *run.metadata, "--keep", "1")
    assert (exit_code, stderr) == (0, "")
    assert re.search(r"^[1-9]\d* folders of artifacts and [1-9]\d* logs, .* removed; ", stdout, re.MULTILINE)
    assert problems_of(run.root, commands.server) == []
    assert run(*commands.new_model()).exit_code == 0


def test_two_pipelines_at_once_share_a_new_database(commands, problems_of):
    run = commands.run()
    names = ("one", "two")
    both = [
        commands.start(run, *run.command, *commands.new_model(), "--root", run.root / name, "--set",
                       f"pipeline_name={name}")
        for name in names
    ]  # fmt: skip
    for process in both:
        exit_code, stdout, stderr = commands.end(process)
        assert (exit_code, stderr) == (0, ""), stdout
    for name in names:
        connection = commands.server.connection(run.metadata[-1].rpartition("=")[2])
        assert connection.mysql.database == commands.server.database_of(run.root / name)
        assert problems_of(run.root / name, commands.server, name=name, num_runs=1) == []


def test_root_of_another_run_of_the_same_name_is_refused_and_touches_nothing(pushed, commands):
    run, _ = pushed
    before = commands.server.dump()
    other = run.root.with_name("other")
    exit_code, stdout, _ = commands.end(commands.start(run, *run.command, "--root", other))
    assert exit_code == 1
    sentence = f"the metadata of pipeline reference in this database are those of root {run.root}; this root is {other}"
    assert sentence in stdout.splitlines()[-1]
    exit_code, _, stderr = commands(run, "clean", "--root", other, *run.metadata, "--keep", "1", "--unknown")
    assert (exit_code, len(stderr.splitlines())) == (1, 1)
    assert sentence in stderr
    assert commands.server.dump() == before


def test_root_that_was_removed_and_made_anew_is_refused(commands):
    run = commands.run()
    assert run(*commands.new_model()).exit_code == 0
    run.root.rename(run.root.with_name("away"))
    exit_code, stdout, _ = commands.end(commands.start(run, *run.command))
    assert exit_code == 1
    assert f"root {run.root}, removed since or on another machine" in stdout.splitlines()[-1]


def test_one_of_many_roots_at_once_gets_the_pipeline(commands, tmp_path):
    connection = commands.server.connection(commands.server.make_database(tmp_path))
    barrier = threading.Barrier(8)

    def try_to_claim(number):
        paths = RunPaths(tmp_path / str(number), "reference", "")
        barrier.wait()
        try:
            with metadata.Metadata(connection) as handle:
                claim(handle, paths)
        except MetadataError as err:
            return str(err)
        return ""

    with ThreadPoolExecutor(8) as pool:
        refusals = sorted(pool.map(try_to_claim, range(8)))
    assert refusals[0] == ""
    assert all("the metadata of pipeline reference in this database are those of root" in each for each in refusals[1:])


def test_pipeline_of_another_tool_is_refused(commands):
    run = commands.run()
    database = run.metadata[-1].split("=")[1]
    store = MetadataStore(commands.server.connection(database))
    context = Context(type_id=store.put_context_type(ContextType(name="pipeline")), name="reference")
    execution = Execution(type_id=store.put_execution_type(ExecutionType(name="Trainer")))
    store.put_execution(execution, [], [context])
    exit_code, stdout, _ = commands.end(commands.start(run, *run.command))
    assert exit_code == 1
    assert "in this database are those of root unknown, of another tool" in stdout.splitlines()[-1]


def refused(commands, run, *settings, environment=()):
    """Runs and returns the last line of a run whose store must be refused."""
    options = [word for setting in settings for word in ("--set", setting)]
    arguments = [*run.command, *options]
    exit_code, stdout, stderr = commands.end(commands.start(run, *arguments, environment=environment))
    assert (exit_code, stderr) == (1, ""), stdout
    assert "Traceback" not in stdout
    assert re.search(r"^ +ExampleGen ", stdout, re.MULTILINE) is None
    verdict = stdout.splitlines()[-1]
    clean = [run.command[0], "clean", "--root", run.root, *run.metadata, *options, "--keep", "1"]
    exit_code, _, stderr = commands.end(commands.start(run, *clean, environment=environment))
    assert exit_code == 1
    assert verdict.startswith(stderr.rstrip(".\n"))
    return verdict


def test_wrong_password_is_told_in_a_sentence(pushed, commands):
    run, _ = pushed
    wrong = {"SLUICE_METADATA_PASSWORD": "wrong"}
    place = f"the metadata store, MySQL at 127.0.0.1:{commands.server.port}, database {run.metadata[-1].split('=')[1]},"
    assert refused(commands, run, environment=wrong).startswith(
        f"FAILED: {place} refuses the user or the password of SLUICE_METADATA_USER and SLUICE_METADATA_PASSWORD; "
    )
    exit_code, stdout, stderr = commands(run, "doctor", *run.metadata, environment=wrong)
    assert (exit_code, stderr, stdout.splitlines()[-1]) == (1, "", "Not ready to run.")
    assert f"FAIL  metadata store              {place} refuses the user or the password of" in stdout


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["metadata.port=1"], "database sluice_.*, does not answer: .*Connection refused; "),
        (["metadata.host=null", "metadata.socket=/nowhere/socket"],
         "MySQL at /nowhere/socket, .* does not answer: .*No such file or directory; "),
        (["metadata.database=nobodys"], "has no such database, or none that the user of SLUICE_METADATA_USER may"),
    ],
    ids=["host", "socket", "database"],
)  # fmt: skip
def test_server_that_is_not_there_is_told_in_a_sentence(pushed, commands, settings, sentence):
    run, _ = pushed
    assert re.search(sentence, refused(commands, run, *settings))


@pytest.mark.parametrize(("version", "age"), [(8, "an older"), (99, "a newer")])
def test_tables_of_another_mlmd_are_told_in_a_sentence(pushed, commands, version, age):
    run, _ = pushed
    table = f"{run.metadata[-1].split('=')[1]}.MLMDEnv"
    ((right,),) = commands.server.execute(f"SELECT schema_version FROM {table}")
    commands.server.execute(f"UPDATE {table} SET schema_version = %s", version)
    try:
        assert f"has tables of {age} MLMD: " in refused(commands, run)
    finally:
        commands.server.execute(f"UPDATE {table} SET schema_version = %s", right)


def test_user_without_rights_is_told_in_a_sentence(commands):
    run = commands.run()
    database = run.metadata[-1].split("=")[1]
    user = run.environment["SLUICE_METADATA_USER"]
    commands.server.execute(f"REVOKE ALL ON {database}.* FROM {user}")
    commands.server.execute(f"GRANT SELECT ON {database}.* TO {user}")
    exit_code, stdout, _ = commands.end(commands.start(run, *run.command))
    assert exit_code == 1
    assert "denies MLMD its tables: the user of SLUICE_METADATA_USER needs all rights" in stdout.splitlines()[-1]


@pytest.fixture
def other_server(commands):
    """A server that a test may stop."""
    server = type(commands.server)()
    yield server
    server.remove()


def until(process, component):
    while f"  {component} " not in (line := process.stdout.readline()):
        assert line, process.stderr.read()


def test_server_that_stops_during_a_run_is_told_in_a_sentence(commands, other_server, problems_of):
    run = commands.run(server=other_server)
    model = commands.new_model()
    process = commands.start(run, *run.command, *model)
    until(process, "Transform")
    other_server.stop()
    exit_code, stdout, stderr = commands.end(process)
    other_server.start()
    assert (exit_code, stderr) == (1, ""), stdout
    assert "Trainer is tried again in" in stdout
    verdict = rf"FAILED: Trainer: the metadata store, MySQL at 127.0.0.1:{other_server.port}, .* does not answer: .*"
    assert re.fullmatch(verdict, stdout.splitlines()[-1])
    result = run(*model)
    assert result.exit_code == 0, result.stdout
    assert {name for name in COMPONENTS[:6] if result.states[name] != "cached"} == {"DataGate"}
    assert problems_of(run.root, other_server, num_runs=2) == []


def test_server_that_restarts_during_a_run_fails_nothing(commands, other_server, problems_of):
    run = commands.run(server=other_server)
    process = commands.start(run, *run.command, *commands.new_model())
    until(process, "Transform")
    other_server.stop()
    other_server.start()
    exit_code, stdout, stderr = commands.end(process)
    assert (exit_code, stderr) == (0, ""), stdout
    assert problems_of(run.root, other_server, num_runs=1) == []


def test_doctor_finds_the_server(pushed, commands):
    run, _ = pushed
    socket = ("--set", "metadata.host=null", "--set", f"metadata.socket={commands.server.socket}")
    for options, place in (((), f"127.0.0.1:{commands.server.port}"), (socket, commands.server.socket)):
        exit_code, stdout, stderr = commands(run, "doctor", *run.metadata, *options)
        assert (exit_code, stderr) == (0, ""), stdout
        assert re.search(
            rf"^ok    metadata store +\S+MariaDB\S* at {place}, database sluice_\w+$", stdout, re.MULTILINE
        )


def test_module_that_logs_all_it_finds_logs_no_credentials(pushed, commands):
    run, _ = pushed
    module = Path(__file__).parent / "modules" / "tell_everything.py"
    failed = run("--set", f"trainer.module_file={module}")
    commands.said += [failed.stdout, failed.stderr]
    assert failed.exit_code == 1
    assert failed.last_line.startswith("FAILED: Trainer: RuntimeError: everything is told")
    for told in ("environment: {", "arguments: [", "MetadataStore with DB connection initialized"):
        assert told in failed.log
    assert found_in(failed.log.encode()) == set()


def test_no_process_shows_the_password_to_others(pushed, commands):
    run, _ = pushed
    process = commands.start(run, *run.command, "--no-cache", *commands.new_model())
    seen, children = b"", 0
    while process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                seen += (folder / "cmdline").read_bytes() + b"\n"
                if f"PPid:\t{process.pid}\n" in (folder / "status").read_text():
                    children += 1
                    seen += (folder / "environ").read_bytes()
            except OSError:
                continue  # it has ended
        time.sleep(0.2)
    exit_code, stdout, _ = commands.end(process)
    assert (exit_code, children > 0) == (0, True), stdout
    assert f"--root\0{run.root}".encode() in seen
    assert found_in(seen) == set()


def found_in(content):
    return {core for core, forms in FORMS.items() if any(form in content for form in forms)}


def forms_of(core):
    """Returns what a text that holds `core` looks like, escaped or encoded, wherever in it `core` begins."""
    in_base64 = [base64.b64encode(b"x" * shift + core.encode())[4:-4] for shift in range(3)]
    return (core.encode(), core.encode("utf-16-le"), core.encode().hex().encode(), *in_base64)


FORMS = {core: forms_of(core) for core in ("canaryuser7q", "CanaryPw5x93")}  # of mariadb.py


def test_credentials_are_nowhere(pushed, commands):
    user, password = (commands.server.credentials[f"SLUICE_METADATA_{name}"] for name in ("USER", "PASSWORD"))
    assert found_in(repr((user, password)).encode()) == set(FORMS)  # the search finds them where they are
    for shift in range(3):
        assert found_in(base64.b64encode(b"-" * shift + f"{user}:{password}".encode())) == set(FORMS)
    files = [file for folder in commands.folders for file in folder.rglob("*") if file.is_file()]
    assert {"run.json", "index.html", "facts.json", "saved_model.pb"} <= {file.name for file in files}
    assert any(file.suffix == ".log" for file in files)
    assert [file for file in files if found_in(file.read_bytes()) or found_in(os.fsencode(file))] == []
    assert found_in("".join(commands.said).encode()) == set()
    dump = commands.server.dump()
    assert b"Trainer" in dump
    assert found_in(dump) == set()
