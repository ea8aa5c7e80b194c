import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

SLUICE = Path(sys.executable).parent / "sluice"
IMAGE = "registry.example/sluice:1"


def test_script_writes_what_the_command_writes(project_root, tmp_path):
    config_file = project_root / "pipeline" / "configs" / "kubeflow.yaml"
    script = [sys.executable, project_root / "kubeflow" / "compile.py", "kubeflow", IMAGE]
    command = [SLUICE, "compile", config_file, "--target", "kubeflow", "--image", IMAGE]
    subprocess.run(script, cwd=tmp_path, check=True)
    subprocess.run([*command, "--output", "by-command.yaml"], cwd=tmp_path, check=True)
    assert (tmp_path / "reference-kubeflow.yaml").read_text() == (tmp_path / "by-command.yaml").read_text()


def test_submitting_script_sends_what_the_command_sends(project_root, tmp_path):
    config_file = project_root / "pipeline" / "configs" / "kubeflow.yaml"
    options = ["--run-name", "one", "--dry-run"]
    script = [sys.executable, project_root / "kubeflow" / "submit.py", "kubeflow", IMAGE, *options]
    command = [SLUICE, "submit", config_file, "--target", "kubeflow", "--image", IMAGE, *options]
    environment = os.environ | {"KF_PIPELINES_ENDPOINT": "https://ml.example.com"}
    printed = [
        subprocess.run(each, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
        for each in (script, command)
    ]
    assert printed[0] == printed[1]
    assert "POST https://ml.example.com/apis/v2beta1/runs\n" in printed[0]


@pytest.mark.parametrize(
    ("script", "usage"),
    [
        ("compile.py", "compile.py vertex|kubeflow IMAGE\n"),
        ("submit.py", "submit.py vertex|kubeflow IMAGE [--dry-run] [--wait] ...\n"),
    ],
)
def test_script_says_how_it_is_called(project_root, script, usage):
    command = [sys.executable, project_root / "kubeflow" / script, "airflow", IMAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith(usage)
