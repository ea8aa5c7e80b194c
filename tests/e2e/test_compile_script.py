import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

IMAGE = "registry.example/sluice:1"


def test_script_writes_what_the_command_writes(project_root, tmp_path):
    config_file = project_root / "pipeline" / "configs" / "kubeflow.yaml"
    script = [sys.executable, project_root / "kubeflow" / "compile.py", "kubeflow", IMAGE]
    command = [Path(sys.executable).parent / "sluice", "compile", config_file, "--target", "kubeflow", "--image", IMAGE]
    subprocess.run(script, cwd=tmp_path, check=True)
    subprocess.run([*command, "--output", "by-command.yaml"], cwd=tmp_path, check=True)
    assert (tmp_path / "reference-kubeflow.yaml").read_text() == (tmp_path / "by-command.yaml").read_text()


def test_script_says_how_it_is_called(project_root):
    command = [sys.executable, project_root / "kubeflow" / "compile.py", "airflow", IMAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("compile.py vertex|kubeflow IMAGE\n")
