"""What an edit re-executes: what depends on it, and only that. The edits are made in a copy of the project."""

import os

import pytest

pytestmark = pytest.mark.e2e

ALWAYS = {"DataGate"}  # which looks at what is served
FROM_TRAINER = {"Trainer", "Baseline", "InfraValidator", "Evaluator", "Pusher", "RunReport", *ALWAYS}
FROM_TRANSFORM = {"Transform", *FROM_TRAINER}
FROM_STATISTICS = {"StatisticsGen", "ExampleValidator", *FROM_TRANSFORM}
FROM_DATA = {"ExampleGen", *FROM_STATISTICS}


@pytest.mark.parametrize(
    ("file", "executed"),
    [
        ("components/trainer/module.py", FROM_TRAINER),
        ("components/trainer/model.py", FROM_TRAINER),
        ("components/trainer/export.py", FROM_TRAINER),
        ("components/transform/preprocessing.py", FROM_TRANSFORM),
        ("schema/roles.py", FROM_DATA),
        ("schema/reference/schema.pbtxt", {"SchemaGen", *FROM_DATA}),
        ("components/run_report/observations.py", {"RunReport", *ALWAYS}),
        ("pipeline/terminal.py", ALWAYS),
    ],
)
def test_edit_of_a_file_re_executes_what_depends_on_it(project_copy, file, executed):
    folder, run = project_copy
    with (folder / file).open("a") as stream:
        stream.write("# an edit\n")
    result = run()
    assert result.exit_code == 0, result.stdout
    assert result.executed == executed


def test_touched_data_are_the_same_data(project_copy):
    folder, run = project_copy
    os.utime(folder / "schema" / "reference" / "data" / "reference.csv", (1, 1))
    assert run().executed == ALWAYS


def test_edit_of_the_data_with_size_and_time_kept_re_executes(project_copy):
    folder, run = project_copy
    file = folder / "schema" / "reference" / "data" / "reference.csv"
    times = file.stat()
    lines = file.read_text().splitlines(keepends=True)
    lines[1], lines[2] = lines[2], lines[1]
    file.write_text("".join(lines))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    result = run()
    assert result.executed == FROM_DATA


def test_config_of_the_trainer_re_executes_the_trainer(project_copy):
    _, run = project_copy
    assert run("--set", "trainer.num_epochs=6").executed == FROM_TRAINER


def test_model_of_an_earlier_config_is_served_again(project_copy):
    _, run = project_copy
    before = run().versions
    run("--set", "trainer.num_epochs=7")
    back = run()
    assert back.executed == {"Baseline", "Evaluator", "Pusher", "RunReport", *ALWAYS}
    assert len(set(back.versions) - set(before)) == 2
