"""The wheel beside the session's packages, with the checkout out of reach, as in the container image."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from components.source_digest import source_digest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def installed_dir(project_root, tmp_path_factory):
    """The wheel, built from a copy of what the image's Dockerfile copies, and installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("schema", "components", "pipeline"):
        shutil.copytree(project_root / name, folder / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(project_root / name, folder / "project" / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder / "installed", folder / "project"], check=True)
    return folder / "installed"


@pytest.fixture
def python(installed_dir, tmp_path):
    """Runs the base interpreter, which the environment's .pth files lead to no checkout, in an empty folder."""
    path = [installed_dir, Path(__file__).parent / "network_guard", sysconfig.get_path("purelib")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "NETWORK_GUARD_FILE": str(tmp_path / "network"),
    }
    (tmp_path / "empty").mkdir()

    def run(*arguments):
        command = [Path(sys.executable).resolve(), *arguments]
        return subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True)

    return run


def test_nothing_of_the_checkout_can_be_imported(python, installed_dir, project_root):
    code = "import schema, components, pipeline; print(schema.__file__, components.__file__, pipeline.__file__)"
    files = python("-c", code).stdout.split()
    assert files == [str(installed_dir / name / "__init__.py") for name in ("schema", "components", "pipeline")]
    assert str(project_root) not in python("-c", "import sys; print(*sys.path, sep='\\n')").stdout.split()


def test_source_digest_is_the_checkout_s(python, project_root, installed_dir):
    names = ("components/trainer/executor.py", "components/trainer/module.py")
    code = "import sys; from components.source_digest import source_digest; print(source_digest(*sys.argv[1:]))"
    installed = python("-c", code, *(str(installed_dir / name) for name in names)).stdout.strip()
    assert installed == source_digest(*(str(project_root / name) for name in names))


def test_reference_pipeline_pushes_from_an_empty_folder(python, installed_dir, tmp_path):
    validated = python("-m", "pipeline", "validate")
    assert validated.returncode == 0, validated.stderr
    assert validated.stdout.startswith(str(installed_dir / "pipeline" / "configs" / "reference.yaml"))
    pushed = python("-m", "pipeline", "run", "--root", "output")
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert pushed.stdout.splitlines()[-1].startswith("PUSHED: ")
    assert not (tmp_path / "network").exists()
