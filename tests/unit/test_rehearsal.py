"""Specs that are not ours, compiled by the plain KFP SDK, executed as a backend would."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import kfp
import pytest
import yaml
from click.testing import CliRunner
from kfp import dsl

from pipeline.rehearsal.command import rehearse
from pipeline.rehearsal.conditions import ConditionError, holds
from pipeline.rehearsal.paths import PathMap

SLUICE = str(Path(sys.executable).parent / "sluice")


@dsl.component
def add(a: int, b: int) -> int:
    return a + b


@dsl.component
def write_rows(num_rows: int, rows: dsl.Output[dsl.Dataset]):
    with open(rows.path, "w") as file:
        file.write("row\n" * num_rows)
    rows.metadata["num_rows"] = num_rows


@dsl.component
def count_rows(rows: dsl.Input[dsl.Dataset]) -> int:
    with open(rows.path) as file:
        num_rows = len(file.readlines())
    assert rows.metadata["num_rows"] == num_rows
    return num_rows


@dsl.component
def report(status: dsl.PipelineTaskFinalStatus, file: str):
    with open(file, "w") as handle:
        handle.write(f"{status.state} {status.error_message}")


@dsl.container_component
def sh(script: str, argument: str = ""):
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c"], args=[script, "sh", argument])


@dsl.container_component
def say(word: str, said: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="alpine", command=["sh", "-c"], args=['mkdir -p "$(dirname "$1")"; printf %s "$0" > "$1"', word, said]
    )


def compiled(pipeline, tmp_path):
    file = tmp_path / "spec.yaml"
    kfp.compiler.Compiler().compile(pipeline, str(file))
    return file


@pytest.fixture
def run(tmp_path):
    """Rehearses a pipeline of kfp, or a file; returns its exit code, what it printed and its record."""

    def run_it(pipeline, *arguments):
        file = pipeline if isinstance(pipeline, Path) else compiled(pipeline, tmp_path)
        arguments = [str(file), "--root", str(tmp_path / "root"), "--max-backoff", "0", *arguments]
        result = CliRunner().invoke(rehearse, arguments)
        records = sorted((tmp_path / "root").glob("*/*/rehearsal.json"))
        record = json.loads(records[-1].read_text()) if records else {}
        record["states"] = {task["name"]: task["state"] for task in record.get("tasks", [])}
        return result.exit_code, result.output, record

    return run_it


@pytest.mark.e2e
def test_parameters_and_artifacts_go_from_task_to_task(run):
    @dsl.pipeline
    def pipeline(a: int = 2, b: int = 3) -> int:
        rows = write_rows(num_rows=add(a=a, b=b).output)
        return count_rows(rows=rows.output).output

    code, output, record = run(pipeline, "--parameter", "b=5")
    assert code == 0, output
    assert record["states"] == {"add": "succeeded", "write-rows": "succeeded", "count-rows": "succeeded"}
    outputs = {task["name"]: task["outputs"] for task in record["tasks"]}
    assert outputs["count-rows"]["parameters"] == {"Output": 7}
    assert outputs["write-rows"]["artifacts"]["rows"]["metadata"] == {"num_rows": 7}
    assert "Commands run in this environment; not pulled: python:3.11" in output
    assert output.splitlines()[-1].startswith("SUCCEEDED: tasks: 3 succeeded; ")


@pytest.mark.parametrize(
    ("word", "states"),
    [
        ("yes", {"say": "succeeded", "sh": "succeeded", "sh-2": "skipped", "say-2": "skipped"}),
        ("no", {"say": "succeeded", "sh": "skipped", "sh-2": "succeeded", "say-2": "succeeded"}),
    ],
)
def test_condition_decides_which_branch_runs(run, word, states):
    @dsl.pipeline
    def pipeline(word: str, n: int = 3):
        said = say(word=word).outputs["said"]
        with dsl.If(said == "yes"):
            sh(script="exit 0")
        with dsl.Elif(n > 2):
            sh(script='test "$1" = no', argument=said)
            say(word=said)

    code, output, record = run(pipeline, "--parameter", f"word={word}")
    assert code == 0, output
    assert {name.rpartition("/")[2]: state for name, state in record["states"].items()} == states


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("script", "code", "status"), [("exit 0", 0, "SUCCEEDED "), ("echo no rows; exit 7", 1, "FAILED")]
)
def test_exit_handler_learns_how_the_run_ended(run, tmp_path, script, code, status):
    @dsl.pipeline
    def pipeline(script: str, file: str):
        with dsl.ExitHandler(report(file=file)):
            sh(script=script)
            sh(script="exit 0").after(sh(script=script))

    exit_code, output, record = run(
        pipeline, "--parameter", f"script={script}", "--parameter", f"file={tmp_path}/status"
    )
    assert (exit_code, record["states"]["report"]) == (code, "succeeded"), output
    text = (tmp_path / "status").read_text()
    assert text.startswith(status)
    if code:
        assert "exited with 7: no rows" in text
        assert "FAILED: exit-handler-1/sh: exited with 7: no rows" in output.splitlines()[-1]


def test_failed_task_is_tried_again(run, tmp_path):
    @dsl.pipeline
    def pipeline(file: str):
        # Two failures, each told in a file outside the task's folder, which every attempt finds empty.
        flaky = sh(script='echo x >> "$1"; test $(wc -l < "$1") -ge 3', argument=file)
        flaky.set_retry(2, backoff_duration="1s", backoff_factor=2.0)
        sh(script="exit 0").after(flaky)

    code, output, record = run(pipeline, "--parameter", f"file={tmp_path}/attempts")
    assert code == 0, output
    assert [task["attempts"] for task in record["tasks"]] == [3, 1]
    assert "sh: attempt 2 exited with 1" in output


def test_what_needs_a_failed_task_does_not_run(run):
    @dsl.pipeline
    def pipeline():
        failing = sh(script="echo broken >&2; exit 3").set_retry(1)
        sh(script="exit 0").after(failing)
        sh(script="exit 0").after(sh(script="exit 0"))

    code, output, record = run(pipeline)
    assert code == 1
    # What was ready beside the failed task has been started with it; Kubeflow starts no more.
    assert record["states"] == {"sh": "failed", "sh-2": "not run", "sh-4": "succeeded", "sh-3": "not run"}
    assert output.splitlines()[-1].startswith("FAILED: sh after 2 attempts: exited with 3: broken (tasks: 1 failed, ")
    assert "spec/" not in output
    assert "/sh/log.txt" in output


def test_vertex_job_goes_on_with_what_needs_no_failed_task(run, tmp_path):
    @dsl.pipeline
    def pipeline():
        sh(script="exit 0").after(sh(script="exit 3"))
        sh(script="exit 0").after(sh(script="exit 0"))

    spec = yaml.safe_load(compiled(pipeline, tmp_path).read_text())
    for policy, last in (({}, "succeeded"), ({"failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST"}, "not run")):
        job = tmp_path / "job.json"
        job.write_text(json.dumps({"pipelineSpec": spec, "runtimeConfig": {"gcsOutputDirectory": "gs://b", **policy}}))
        code, output, record = run(job)
        assert (code, record["states"]["sh-4"], record["states"]["sh-3"]) == (1, "succeeded", last), output


def test_pipelines_in_pipelines_hand_values_in_and_out(run, tmp_path):
    @dsl.pipeline
    def inner(word: str) -> str:
        return say(word=word).outputs["said"]

    @dsl.pipeline
    def pipeline(file: str):
        sh(script='printf %s "$1" > ' + str(tmp_path / "word"), argument=inner(word="deep").output)

    code, output, record = run(pipeline, "--parameter", f"file={tmp_path}/word")
    assert code == 0, output
    assert list(record["states"]) == ["inner/say", "sh"]
    assert (tmp_path / "word").read_text() == "deep"


def test_importer_gives_an_artifact_at_its_local_place(run, tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text("x\n")

    @dsl.container_component
    def look(rows: dsl.Input[dsl.Dataset]):
        return dsl.ContainerSpec(image="alpine", command=["sh", "-c", 'test -f "$0/a.csv"'], args=[rows.path])

    @dsl.pipeline
    def pipeline():
        imported = dsl.importer(artifact_uri="gs://bucket/data/rows", artifact_class=dsl.Dataset, reimport=False)
        look(rows=imported.output)

    code, output, _ = run(pipeline, "--map", f"gs://bucket/data={tmp_path}")
    assert code == 0, output


def test_remote_folders_become_local_ones(run, tmp_path):
    @dsl.pipeline
    def pipeline(models: str):
        sh(script='mkdir -p "$1" && touch "$1/model"', argument=models)

    code, output, _ = run(pipeline, "--parameter", "models=s3://bucket/models")
    assert code == 0, output
    assert len(list((tmp_path / "root").glob("pipeline/*/remote/s3/bucket/models/model"))) == 1


def test_only_folders_of_object_stores_and_of_the_map_are_replaced_and_once(run, tmp_path):
    (tmp_path / "gs").mkdir()

    others = "redis://h:6379 https://x/y hdfs://h/x spark://h:1"

    @dsl.pipeline
    def pipeline(text: str = others):
        sh(script=f'test "$1" = "{others}" && test gs://b/x = {tmp_path}/gs/x', argument=text)

    maps = ("--map", f"gs://b={tmp_path}/gs", "--map", f"{tmp_path}={tmp_path}/gs")
    code, output, _ = run(pipeline, *maps[:2])
    assert code == 0, output
    paths = PathMap({"gs://b": tmp_path / "gs", str(tmp_path): tmp_path / "gs"}, tmp_path / "remote")
    assert paths.local(["gs://b/x", "s3://b/x", f"{tmp_path}/x"]) == [
        f"{tmp_path}/gs/x", f"{tmp_path}/remote/s3/b/x", f"{tmp_path}/gs/x",
    ]  # fmt: skip


def test_volume_is_a_folder_of_the_rehearsal_unless_mapped(run, tmp_path):
    @dsl.pipeline
    def pipeline():
        sh(script="touch /mnt/volume/file && test -f /mnt/volume/data/rows")

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows").touch()
    mounts = {"exec-sh": {"pvcMount": [{"mountPath": "/mnt/volume", "constant": "claim"}]}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": mounts}}}}
    file = compiled(pipeline, tmp_path)
    file.write_text(file.read_text() + "---\n" + yaml.safe_dump(platform))
    code, output, _ = run(file, "--map", f"/mnt/volume/data={tmp_path}/data")
    assert code == 0, output
    assert len(list((tmp_path / "root").glob("pipeline/*/volumes/mnt/volume/file"))) == 1


def test_environment_and_defaults_of_the_spec_reach_the_task(run):
    @dsl.pipeline
    def inner(word: str = "default"):
        task = sh(script='test "$GREETING $1" = "hello default"', argument=word)
        task.set_env_variable("GREETING", "hello")

    @dsl.pipeline
    def pipeline():
        inner()

    code, output, _ = run(pipeline)
    assert code == 0, output


@pytest.mark.parametrize(
    ("condition", "is_true"),
    [
        ("bool('false')", False),
        ("string(1.0) == '1'", True),
        ("int(inputs.parameter_values['n']) >= 3 && !(inputs.parameter_values['n'] == -1)", True),
        ("inputs.artifacts['a'].artifacts[0].metadata['ok'] == true || false", True),
        ("'&&' != \"!\"", True),
    ],
)
def test_conditions_mean_what_they_mean_in_cel(condition, is_true):
    artifacts = {"a": {"artifacts": [{"metadata": {"ok": True}}]}}
    assert holds(condition, {"n": 3.0}, artifacts) is is_true


@pytest.mark.parametrize("condition", ["1 + 1 == 2", "x", "'it's'", "inputs.parameter_values['no']", "a ? b : c"])
def test_condition_that_is_not_understood_is_named(condition):
    with pytest.raises(ConditionError, match=f"the condition {re.escape(condition)} cannot be evaluated"):
        holds(condition, {}, {})


def test_tasks_see_neither_the_working_directory_nor_pythonpath(run, monkeypatch):
    @dsl.pipeline
    def pipeline():
        sh(script='test -z "$(ls)" && test -z "$PYTHONPATH" && test "$(command -v python)" = ' + sys.executable)

    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    code, output, _ = run(pipeline)
    assert code == 0, output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "SpecError: --parameter: word: no default, and no value. Give --parameter NAME=VALUE."),
        (("--parameter", "wrod=x"), "--parameter: wrod is no parameter of this spec. It has: n, word."),
        (("--parameter", "word=x", "--parameter", "n=x"), "--parameter: n is a NUMBER_INTEGER. Received: 'x'."),
        (("--parameter", "word=x", "--parameter", "n=1_0"), "--parameter: n is a NUMBER_INTEGER. Received: '1_0'."),
        (("--map", "/=/"), "--map /=/: is not PREFIX=FOLDER."),
        (("--map", "gs://b="), "--map gs://b=: is not PREFIX=FOLDER."),
        (("--parameter", "word"), "word is not as in --parameter NAME=VALUE."),
        (("--map", "gs://b=/no/such/folder"), "--map: there is no folder /no/such/folder."),
    ],
)
def test_wrong_values_are_named_before_anything_runs(run, tmp_path, arguments, message):
    @dsl.pipeline
    def pipeline(word: str, n: int = 1):
        say(word=word)

    if arguments[:1] == ("--map",):
        arguments += ("--parameter", "word=x")
    code, output, _ = run(pipeline, *arguments)
    assert (code, (tmp_path / "root").exists()) == (2, False)
    assert message in output


def spec_of(**changes):
    task = {"componentRef": {"name": "c"}, "taskInfo": {"name": "t"}}
    spec = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "p"},
        "root": {"dag": {"tasks": {"t": task}}},
        "components": {"c": {"executorLabel": "e"}},
        "deploymentSpec": {"executors": {"e": {"container": {"image": "i", "command": ["true"]}}}},
    }
    return {**spec, **changes}


def tasks(**each):
    return {"dag": {"tasks": {name: {"componentRef": {"name": "c"}, **task} for name, task in each.items()}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a pipeline spec"),
        ("[1, 2]", "is not a pipeline spec"),
        ("a: [", "is not YAML or JSON: while parsing"),
        ("{", "is not YAML or JSON: Expecting property name"),
        ("tasks: {}", "is not a pipeline spec"),
        (spec_of(schemaVersion="2.0.0"), "schemaVersion is 2.0.0; backends run 2.1.0."),
        (spec_of(root={}), "has no tasks."),
        (spec_of(components={}), "task t: has the component c, which the spec does not have."),
        (spec_of(deploymentSpec={}), "task t: has an executor of kind (none); Kubeflow's backend runs containers"),
        (
            spec_of(deploymentSpec={"executors": {"e": {"resolver": {}}}}),
            "task t: has an executor of kind resolver; Kubeflow's backend runs containers and importers.",
        ),
        (
            spec_of(deploymentSpec={"executors": {"e": {"container": {"image": "i"}}}}),
            "task t: has no command; what its image would start is not known here.",
        ),
        (spec_of(pipelineInfo={"name": "../up"}), "the name '../up' cannot be that of a folder."),
        (spec_of(root=tasks(**{"a/b": {}})), "the name 'a/b' cannot be that of a folder."),
        (
            spec_of(components={"c": tasks(again={})}),
            "components hold each other: c -> c.",
        ),
        (
            {"pipelineSpec": spec_of(), "runtimeConfig": {"parameterValues": {"x": 1}}},
            "runtimeConfig.parameterValues: x: not among the spec's parameters.",
        ),
        ({"pipelineSpec": spec_of(), "runtimeConfig": []}, "runtimeConfig and its parameterValues must hold 'key: "),
        (spec_of(root=tasks(a={"dependentTasks": ["b"]})), "task a: needs the task b, which its DAG does not have."),
        (
            spec_of(root=tasks(a={"dependentTasks": ["b"]}, b={"dependentTasks": ["a"]})),
            "root: tasks wait for each other: ",
        ),
        (
            spec_of(root=tasks(a={"parameterIterator": {"itemInput": "x", "items": {"raw": "[1]"}}})),
            "task a: is a loop, which is not rehearsed.",
        ),
    ],
)
def test_file_that_no_backend_runs_is_refused_in_words(run, tmp_path, text, message):
    file = tmp_path / "spec.yaml"
    file.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    code, output, _ = run(file)
    assert code == 2
    assert f"SpecError: {file}: {message}" in output
    assert "Traceback" not in output


def test_file_that_is_not_there_is_refused(run, tmp_path):
    code, output, _ = run(tmp_path / "no.yaml")
    assert (code, "no.yaml: cannot be read: No such file or directory." in output) == (2, True)


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"command": ["no-such-program"]}, "no-such-program cannot be started: No such file or directory"),
        ({"args": ["x"]}, "exited with"),
        ({"command": ["echo"], "args": ["{{$.inputs.parameters['x']}}"]}, "names what the task does not have"),
        ({"command": ["echo"], "args": ["{{$.what}}"]}, "{{$.what}} is no placeholder that is known"),
        (
            {"command": ["sh", "-c", "echo nonsense > {{$.outputs.output_file}}"]},
            "wrote an executor output that is none",
        ),
    ],
)
def test_task_that_cannot_work_fails_with_the_reason(run, tmp_path, container, message):
    file = tmp_path / "spec.yaml"
    container = {"image": "i", **container}
    file.write_text(yaml.safe_dump(spec_of(deploymentSpec={"executors": {"e": {"container": container}}})))
    code, output, _ = run(file)
    assert code == 1
    assert message in output or container.get("args") == ["x"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interruption_ends_the_task_and_all_that_it_started(tmp_path, number):
    @dsl.pipeline
    def pipeline(file: str):
        sh(script='sleep 60 & echo $! > "$1"; wait', argument=file)

    command = [SLUICE, "rehearse", compiled(pipeline, tmp_path), "--parameter", f"file={tmp_path}/pid"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output.splitlines()[-1]) == (130, "INTERRUPTED")
    stat_file = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    deadline = time.monotonic() + 10
    while _is_alive(stat_file):  # a process takes a moment to die of the signal that it got
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(stat_file):
    try:
        return stat_file.read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
