"""The container image's files: what they name is what the rest of the project uses."""

import importlib.metadata
import re
import shutil
import subprocess
import sys

import pytest
import yaml


@pytest.fixture(scope="module")
def dockerfile(project_root):
    return (project_root / "kubeflow" / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def copied(dockerfile):
    """What is copied from the repository, and not from an image."""
    return [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]


def test_both_stages_start_from_the_same_pinned_image(dockerfile):
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", bases[0])


def test_uv_is_the_one_of_the_checkout(dockerfile, project_root):
    version = re.search(r"^UV_VERSION := (\S+)$", (project_root / "Makefile").read_text(), re.MULTILINE)[1]
    assert f" uv=={version}\n" in dockerfile


def test_worker_starts_the_beam_that_submits(dockerfile):
    assert f"--from=apache/beam_python3.11_sdk:{importlib.metadata.version('apache-beam')} " in dockerfile


def test_builder_is_sent_what_is_copied_and_nothing_else(copied, project_root):
    lines = (project_root / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if not line.startswith(("#", "!"))] == ["*", "**/__pycache__"]
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(copied)


def test_image_runs_as_the_user_that_serves(dockerfile, project_root):
    (user,) = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    documents = yaml.safe_load_all((project_root / "kubeflow" / "serving" / "kubernetes.yaml").read_text())
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    security = deployment["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--id=1", "--provision_endpoint=host:1"], "boot --id=1 --provision_endpoint=host:1\n"),
        (["--worker_pool"], "boot --worker_pool\n"),
        (["printf", "%s|", "--id=1", "two words"], "--id=1|two words|"),
    ],
)
def test_entrypoint_starts_beam_for_flags_and_a_command_for_anything_else(project_root, arguments, output):
    script = (project_root / "kubeflow" / "entrypoint.sh").read_text()
    command = ["sh", "-c", script.replace("/opt/apache/beam/boot", "echo boot"), "entrypoint.sh", *arguments]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == output


@pytest.mark.parametrize(
    "step", ["RUN apt-get install --yes gcc", "RUN python3.11 -m pip list | cat", "ADD . /opt/project", "SHELL [a]"]
)
def test_rehearsal_refuses_a_step_that_it_cannot_execute(project_root, tmp_path, step):
    shutil.copytree(project_root / "kubeflow", tmp_path / "kubeflow")
    with (tmp_path / "kubeflow" / "Dockerfile").open("a") as file:
        file.write(f"{step}\n")
    command = [sys.executable, tmp_path / "kubeflow" / "rehearse_image.py", tmp_path / "image"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Dockerfile: {step}: cannot be rehearsed. ")
    assert not (tmp_path / "image" / "opt").exists()


def test_cloud_build_file_is_one(project_root):
    file = project_root / "kubeflow" / "cloudbuild.yaml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.cloudbuild", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (build,) = yaml.safe_load(file.read_text())["steps"]
    assert (project_root / build["args"][build["args"].index("--file") + 1]).is_file()
