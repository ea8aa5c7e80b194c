"""When `sluice run --if-new-data` has something to do."""

import shutil

import pytest

from pipeline.config import load_config
from pipeline.new_data import inputs_digest, nothing_new
from pipeline.run_record import ExitCode, RunPaths, RunRecord, Summary

RUN_ID = "20260101T000000.000000"


@pytest.fixture
def own(tmp_path, reference_csv, reference_schema_file, reference_config_file, project_root):
    """A config whose files lie in a folder of their own; returns their digest."""
    (tmp_path / "data").mkdir()
    shutil.copy(reference_csv, tmp_path / "data" / "rows.csv")
    shutil.copy(reference_schema_file, tmp_path / "schema.pbtxt")
    shutil.copy(project_root / "components" / "trainer" / "module.py", tmp_path)

    def digest(*overrides):
        own_files = (
            "example_gen.input_dir=data",
            "schema_gen.schema_file=schema.pbtxt",
            "trainer.module_file=module.py",
        )
        named = [each.replace("=", f"={tmp_path}/", 1) for each in own_files]
        return inputs_digest(load_config(reference_config_file, (*named, *overrides)))

    return digest


@pytest.mark.parametrize("file", ["data/rows.csv", "schema.pbtxt", "module.py"])
def test_digest_changes_with_each_file_and_comes_back(own, tmp_path, file):
    before, text = own(), (tmp_path / file).read_text()
    (tmp_path / file).write_text(f"{text}# more\n")
    assert own() != before
    (tmp_path / file).write_text(text)
    assert own() == before


def test_digest_changes_with_the_config_and_with_files_that_come(own, tmp_path):
    digests = {own(), own("trainer.seed=7"), own("example_gen.encoding=latin-1")}
    (tmp_path / "data" / "more.csv").write_text("")
    assert len({*digests, own()}) == 4


@pytest.mark.parametrize(
    ("exit_code", "digest", "is_served", "is_nothing_new"),
    [
        (ExitCode.PUSHED, "same", True, True),
        (ExitCode.PUSHED, "same", False, False),  # somebody removed the push
        (ExitCode.PUSHED, "other", True, False),
        (ExitCode.MODEL_REFUSED, "same", False, True),
        (ExitCode.DATA_REFUSED, "same", False, True),
        (ExitCode.FAILED, "same", True, False),
        (ExitCode.INTERRUPTED, "same", True, False),
        (ExitCode.TERMINATED, "same", True, False),
    ],
)
def test_only_a_run_that_decided_on_the_same_makes_another_idle(tmp_path, exit_code, digest, is_served, is_nothing_new):
    paths = RunPaths(tmp_path, "reference", RUN_ID)
    RunRecord(RUN_ID, exit_code, "the verdict", 1.0, (), Summary(inputs_digest=digest)).write(paths.record_file)
    if is_served:
        (paths.serving_model_dir / "1").mkdir(parents=True)
        (paths.serving_model_dir / "1" / "saved_model.pb").touch()
    sentence = f"NOTHING NEW: data and config are those of run {RUN_ID}: the verdict"
    assert nothing_new(paths, "same") == (sentence if is_nothing_new else "")


def test_first_run_is_never_idle(tmp_path):
    assert nothing_new(RunPaths(tmp_path, "reference", RUN_ID), "same") == ""
