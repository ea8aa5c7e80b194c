import json
from pathlib import Path

import pytest

from pipeline.run_record import ComponentRun, RunPaths, RunRecord, last_full_run_seconds


@pytest.fixture
def paths(tmp_path):
    return RunPaths(tmp_path, "p", "r3")


def write_run(root, run_id, states, seconds):
    components = tuple(ComponentRun(f"C{index}", state, 1.0) for index, state in enumerate(states))
    RunRecord(run_id, 0, "PUSHED", seconds, components).write(RunPaths(root, "p", run_id).record_file)


def test_record_is_json(paths):
    write_run(paths.root, "r3", ["done"], 2.5)
    record = json.loads(paths.record_file.read_text())
    assert (record["run_id"], record["seconds"], record["components"][0]["state"]) == ("r3", 2.5, "done")


def test_newest_run_that_executed_all_is_compared_with(paths):
    assert last_full_run_seconds(paths) is None
    write_run(paths.root, "r1", ["done", "done"], 30.0)
    write_run(paths.root, "r2", ["done", "cached"], 20.0)
    assert last_full_run_seconds(paths) == 30.0


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"components": [{"state": "done"}], "seconds": "x"}'])
def test_damaged_record_is_passed_over(paths, damage):
    write_run(paths.root, "r1", ["done"], 30.0)
    write_run(paths.root, "r2", ["done"], 20.0)
    (paths.record_file.parents[1] / "r2" / "run.json").write_text(damage)
    assert last_full_run_seconds(paths) == 30.0


def test_files_are_laid_out_as_tfx_does(paths):
    relative = [path.relative_to(paths.root) for path in (paths.metadata_file, paths.serving_model_dir)]
    assert relative == [Path("metadata/p/metadata.db"), Path("serving_model/p")]
