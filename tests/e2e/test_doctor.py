import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def test_doctor_finds_this_machine_ready(tmp_path):
    command = [str(Path(sys.executable).parent / "sluice"), "doctor", "--root", str(tmp_path / "output")]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout
    assert process.stderr == ""
    lines = process.stdout.splitlines()
    assert lines[-1] == "Ready to run."
    for name in ("Python", "glibc", "tensorflow", "ml-metadata", "tfx-bsl", "kfp", "C++ loader", "TF Serving", "disk"):
        assert any(line.startswith(f"ok    {name} ") for line in lines)
    assert any("FnApiRunner" in line for line in lines)
    assert not (tmp_path / "output").exists()
