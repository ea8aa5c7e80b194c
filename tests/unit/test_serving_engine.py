import os

import pytest

from components.pusher.versions import assign_label
from pipeline.serving import engine


@pytest.fixture
def base_dir(tmp_path):
    folder = tmp_path / "reference"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "saved_model.pb").touch()
    return folder


def test_the_newest_version_is_served_by_name(base_dir):
    assert engine.model_server_command(base_dir, rest_port=1, grpc_port=2) == [
        "tensorflow_model_server",
        "--rest_api_port=1",
        "--port=2",
        "--model_name=reference",
        f"--model_base_path={base_dir}",
        "--file_system_poll_wait_seconds=1",
        "--enable_profiler=false",
    ]


def test_models_config_is_followed_where_there_is_one(base_dir):
    assign_label(base_dir, 1, "stable")
    command = engine.model_server_command(base_dir, rest_port=1, grpc_port=2)
    assert command[3:6] == [
        f"--model_config_file={base_dir}/models.config",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    assert not any(flag.startswith("--model_base_path") for flag in command)


def test_the_container_is_closed_to_the_outside(base_dir, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "getgid", lambda: 0)
    command = engine.docker_command(base_dir, rest_port=8501, grpc_port=8500)
    image = command.index(engine.IMAGE)
    assert command[:image] == [
        *("docker", "run", "--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        "--user=65534:65534",
        "--publish=127.0.0.1:8501:8501",
        "--publish=127.0.0.1:8500:8500",
        f"--mount=type=bind,source={base_dir},target={base_dir},readonly",
        "--entrypoint=tensorflow_model_server",
    ]
    assert command[image + 1 :] == engine.model_server_command(base_dir, rest_port=8501, grpc_port=8500)[1:]


def test_the_container_sees_the_models_where_models_config_says(base_dir):
    assign_label(base_dir, 1, "stable", base_path="/models/reference")
    command = engine.docker_command(base_dir, rest_port=8501, grpc_port=8500)
    assert f"--mount=type=bind,source={base_dir},target=/models/reference,readonly" in command
    assert "--model_config_file=/models/reference/models.config" in command


def test_the_binary_is_looked_for_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not engine.has_model_server()
    binary = tmp_path / "tensorflow_model_server"
    binary.touch(mode=0o755)
    assert engine.has_model_server()
