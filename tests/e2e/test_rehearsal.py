"""The compiled pipeline, executed by the commands in its own spec, ends as the local runner does."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.model_manifest import check_model, read_manifest
from components.pusher.versions import list_versions
from components.run_report.facts import load_facts

pytestmark = pytest.mark.e2e
SLUICE = str(Path(sys.executable).parent / "sluice")


class Rehearsals:
    """Compiles the reference pipeline with a target's profile, and rehearses it, in an empty folder."""

    def __init__(self, folder, configs_dir, environment):
        self.folder, self.configs_dir, self.environment = folder, configs_dir, environment

    def command(self, *arguments):
        return subprocess.run(
            [SLUICE, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )

    def __call__(self, target, *arguments, overrides=()):
        """Returns the exit code, the last line, the record and where versions would be pushed."""
        options = [option for override in overrides for option in ("--set", override)]
        compiled = self.command("compile", str(self.configs_dir / f"{target}.yaml"), "--target", target, *options)
        assert compiled.returncode == 0, compiled.stderr
        suffix = "json" if target == "vertex" else "yaml"
        process = self.command("rehearse", f"reference-{target}.{suffix}", "--max-backoff", "0", *arguments)
        run_dir = max((self.folder / "output" / "rehearsals" / "reference").iterdir())
        record = json.loads((run_dir / "rehearsal.json").read_text())
        record["states"] = {task["name"].rpartition("/")[2]: task["state"] for task in record["tasks"]}
        assert process.stderr == ""
        return process.returncode, process.stdout, record, run_dir


@pytest.fixture
def rehearse(tmp_path, project_root, sluice):
    environment = {**sluice.environment, "GCS_BUCKET_NAME": "bucket"}
    return Rehearsals(tmp_path, project_root / "pipeline" / "configs", environment)


@pytest.fixture
def data_dir(reference_csv):
    return reference_csv.parent


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_rehearsal_pushes_the_model_that_the_local_runner_pushes(rehearse, target, data_dir, reference, tmp_path):
    (tmp_path / "models").mkdir()
    folders = {
        "vertex": ("gs://bucket/sluice/data", "gs://bucket/sluice/models"),
        "kubeflow": ("/mnt/sluice/data", "/mnt/sluice/models"),
    }[target]
    maps = ("--map", f"{folders[0]}={data_dir}", "--map", f"{folders[1]}={tmp_path}/models")
    code, output, record, run_dir = rehearse(target, *maps)
    assert code == 0, output
    assert set(record["states"].values()) == {"succeeded"}
    assert output.splitlines()[-1].startswith("SUCCEEDED: tasks: 13 succeeded; ")

    (version,) = list_versions(tmp_path / "models")
    model_dir = str(tmp_path / "models" / str(version))
    rehearsed = check_model(model_dir, "")
    pushed = read_manifest(str(reference.root / "serving_model" / "reference" / str(reference.versions[0])))
    assert rehearsed["run_id"].startswith("projects/rehearsal/")
    for key in ("schema_digest", "data_digest", "metrics", "span"):
        assert rehearsed[key] == pushed[key]
    facts = report_facts_of(run_dir)
    for part in ("row", "training", "data"):
        assert facts[part].keys() == reference.facts[part].keys()
    assert facts["evaluation"]["confusion"] == reference.facts["evaluation"]["confusion"]
    assert facts["row"]["raw"] == reference.facts["row"]["raw"]
    assert rehearsed.keys() == pushed.keys()
    assert set(rehearsed["files"]) == set(pushed["files"])


def report_facts_of(run_dir):
    (page,) = run_dir.rglob("index.html")
    facts = load_facts(page.with_name("facts.json"))
    assert (facts["problems"], facts["run"]) == ([], None)
    return facts


@pytest.fixture
def webhook():
    """A server that keeps what is posted to it."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()
    server.server_close()


def test_refused_model_fails_the_run_and_the_webhook_hears_of_it(rehearse, data_dir, tmp_path, webhook):
    url, received = webhook
    (tmp_path / "models").mkdir()
    values = ("--parameter", f"input_dir={data_dir}", "--parameter", f"serving_model_dir={tmp_path}/models")
    bound = ("--parameter", "accuracy_lower_bound=0.999")
    options = [f"notification.webhook_url={url}"]
    code, output, record, run_dir = rehearse("kubeflow", *values, *bound, overrides=options)
    assert code == 1
    assert {name for name, state in record["states"].items() if state != "succeeded"} == {"Pusher"}
    assert (
        "FAILED: tfx-dag/Pusher: exited with 3: ERROR:root:NOT PUSHED: accuracy 0.941 (95%: 0.910 to 0.962) < 0.999"
        in output
    )
    assert list_versions(tmp_path / "models") == []
    assert not report_facts_of(run_dir)["evaluation"]["blessed"]
    (message,) = received
    assert message["state"] == "FAILED"
    assert "NOT PUSHED: accuracy 0.941 (95%: 0.910 to 0.962) < 0.999 on 322 eval rows" in message["text"]
    assert (message["event"], message["pipeline"]) == ("refused", "reference")


def test_refused_data_stops_the_run_after_its_retries(rehearse, edited_csv, tmp_path):
    def with_impossible_ph(lines):
        return [lines[0], *([*cells[:7], "99", *cells[8:]] for cells in lines[1:])]

    values = (
        "--parameter",
        f"input_dir={edited_csv(with_impossible_ph)}",
        "--parameter",
        f"serving_model_dir={tmp_path}/m",
    )
    code, output, record, _ = rehearse("kubeflow", *values, overrides=["tasks.DataGate.max_retries=1"])
    assert code == 1
    attempts = {task["name"].rpartition("/")[2]: task["attempts"] for task in record["tasks"]}
    assert attempts["DataGate"] == 2
    assert {name for name, state in record["states"].items() if state == "not run"} == {
        "Transform", "Trainer", "Baseline", "InfraValidator", "Evaluator", "Pusher", "RunReport",
    }  # fmt: skip
    assert record["states"]["ExitHandler"] == "succeeded"
    assert "FAILED: tfx-dag/DataGate after 2 attempts: exited with 4: ERROR:root:DATA REFUSED: 'ph' in the " in output


def test_compiled_files_are_the_same_everywhere(rehearse, project_root, tmp_path):
    texts = set()
    for seed, folder in (("1", tmp_path / "a"), ("2", tmp_path / "b")):
        folder.mkdir()
        environment = rehearse.environment | {"PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"}
        command = [SLUICE, "compile", "--target", "vertex", "--image", "sluice:1"]
        process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        texts.add((folder / "reference-vertex.yaml").read_text() + (folder / "reference-vertex.json").read_text())
        assert process.stdout == (
            "reference: 13 tasks in sluice:1 -> reference-vertex.yaml, reference-vertex.json\n"
            "Parameters without a default: input_dir, serving_model_dir; give them when it is rehearsed or submitted.\n"
        )
    (text,) = texts
    assert str(project_root) not in text
    assert not Path(rehearse.environment["NETWORK_GUARD_FILE"]).exists()
