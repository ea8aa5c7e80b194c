"""What a webhook and a command are told, and what comes of their faults."""

import http.server
import json
import sys
import threading
import time

import pytest

from components.exit_handler import notifier
from components.exit_handler.executor import event_of

MESSAGE = {"text": "reference: PUSHED: accuracy 0.954 >= 0.900", "event": "pushed", "exit_code": 0}


@pytest.fixture
def webhook():
    """A server on this machine that answers with the codes of a list, and keeps what it was told."""
    codes, received = [200], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/services/T0KEN?key=SECRET", codes, received
    server.shutdown()
    server.server_close()


def command(source):
    return [sys.executable, "-c", source]


def test_webhook_is_told_as_json(webhook):
    url, _, received = webhook
    assert notifier.notify(MESSAGE, webhook_url=url) == []
    assert received == [("/services/T0KEN?key=SECRET", "application/json", MESSAGE)]


@pytest.mark.parametrize(
    ("codes", "attempts", "problem"),
    [
        ([500, 200], 2, None),
        ([500, 502], 2, "it answered 502"),
        ([404], 1, "it answered 404"),
        ([302], 1, "it answered 302"),
    ],
)
def test_webhook_that_fails_is_asked_once_more(webhook, codes, attempts, problem):
    url, answers, received = webhook
    answers[:] = codes
    problems = notifier.notify(MESSAGE, webhook_url=url)
    assert len(received) == attempts
    assert problems == ([f"the webhook at http://127.0.0.1 was not told: {problem}."] if problem else [])


def test_unreachable_webhook_is_said_without_its_secrets(caplog):
    (problem,) = notifier.notify(MESSAGE, webhook_url="http://127.0.0.1:1/services/T0KEN?key=SECRET")
    assert problem == "the webhook at http://127.0.0.1 was not told: ConnectionError."
    assert "T0KEN" not in caplog.text
    assert "SECRET" not in caplog.text


def test_command_gets_the_message_on_standard_input_and_in_its_environment(tmp_path):
    source = (
        "import json, sys, os; told = [json.load(sys.stdin), os.environ['SLUICE_EVENT'], os.environ['SLUICE_TEXT']]; "
    )
    source += f"json.dump(told, open({str(tmp_path / 'told.json')!r}, 'w'))"
    assert notifier.notify(MESSAGE, command=command(source)) == []
    assert json.loads((tmp_path / "told.json").read_text()) == [MESSAGE, "pushed", MESSAGE["text"]]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (command("raise SystemExit(3)"), "exited with 3."),
        (["no-such-program"], "was not run: No such file or directory."),
        (["/"], "was not run: Permission denied."),
    ],
)
def test_command_that_fails_is_said(words, problem):
    assert notifier.notify(MESSAGE, command=words) == [f"the command {words[0]} {problem}"]


def test_command_that_reads_nothing_is_no_problem():
    assert notifier.notify(MESSAGE | {"text": "\0" + "x" * 10**6}, command=["true"]) == []


def test_command_that_hangs_is_killed_with_its_children(tmp_path):
    source = "import subprocess, sys, time\n"
    source += f"child = subprocess.Popen(['sleep', '60']); open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
    source += "time.sleep(60)"
    start = time.monotonic()
    (problem,) = notifier.notify(MESSAGE, command=command(source), command_timeout_secs=2)
    assert problem.endswith("was killed after 2 s.")
    assert time.monotonic() - start < 20
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while _is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ({"state": "SUCCEEDED"}, "pushed"),
        ({"state": "FAILED", "error": {"message": "Pusher: NOT PUSHED: accuracy 0.812 < 0.850"}}, "refused"),
        ({"state": "FAILED", "error": {"message": "DATA REFUSED: 'ph' ..."}}, "refused"),
        ({"state": "FAILED", "error": {"message": "Trainer: out of memory"}}, "failed"),
        ({"state": "CANCELLED"}, "failed"),
        ({}, "failed"),
    ],
)
def test_event_of_a_compiled_run(status, event):
    assert event_of(status) == event
