"""The README's section on one's own data, word for word: another problem, with whole numbers, up to predictions."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.pusher.versions import list_versions

pytestmark = pytest.mark.e2e

SLUICE = str(Path(sys.executable).parent / "sluice")


@pytest.fixture(scope="module")
def folder(project_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    section = (project_root / "README.md").read_text().split("## Your own data")[1]
    config, schema = re.findall(r"```(?:yaml)?\n(.*?)```", section, re.DOTALL)[:2]
    (folder / "my.yaml").write_text(config)
    (folder / "schema.pbtxt").write_text(schema)
    (folder / "data").mkdir()
    generator = np.random.default_rng(0)
    ages, incomes = generator.integers(18, 90, 600), generator.uniform(0, 100, 600).round(2)
    rows = [f"{age},{income},{int(age > 50)}" for age, income in zip(ages, incomes, strict=True)]
    (folder / "data" / "rows.csv").write_text("\n".join(["age,income,bought", *rows]) + "\n")
    (folder / "new.csv").write_text("id,age,income\n" + "".join(f"n{i},{20 + i},3\n" for i in range(60)))
    return folder


def sluice(folder, *arguments):
    return subprocess.run([SLUICE, *arguments], cwd=folder, capture_output=True, text=True)


def test_own_data_lead_to_a_model_that_predicts_them(folder):
    run = sluice(folder, "run", "my.yaml", "--set", "trainer.num_epochs=30")
    assert run.returncode == 0, run.stdout
    assert len(list_versions(folder / "output" / "serving_model" / "mine")) == 1
    predict = sluice(folder, "predict", "new.csv", "--output", "out.csv", "--id", "id", "--config", "my.yaml")
    assert predict.returncode == 0, predict.stderr
    header, *lines = (folder / "out.csv").read_text().splitlines()
    assert header == "id,predicted_class,probability_0,probability_1"
    predicted = {line.split(",")[0]: line.split(",")[1] for line in lines}
    assert [predicted["n0"], predicted["n59"]] == ["0", "1"]
    assert list(predicted) == [f"n{i}" for i in range(60)]
