"""`make audit` and `make sbom`: what is locked against what is known."""

import importlib.util
import json
import stat
import subprocess
import threading
import tomllib
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from packaging.requirements import Requirement

TODAY = date(2026, 11, 24)


@pytest.fixture(scope="module")
def audit(project_root):
    spec = importlib.util.spec_from_file_location("audit", project_root / ".ci" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def uv(project_root):
    (binary,) = project_root.glob(".tools/uv-*/bin/uv")
    return binary


def advisory(until=None, **changes):
    accepted = {"accepted": {"reason": "it is not reached", "until": until}} if until else {}
    known = {"id": "GHSA-1", "package": "Some_Package", "published": TODAY, "summary": "It breaks."}
    return {
        **known,
        "affected": [{"introduced": "1", "fixed": "1.5"}, {"introduced": "2.0", "fixed": "2.3"}],
        **accepted,
        **changes,
    }


@pytest.mark.parametrize(
    ("version", "is_found"),
    [("0.9", False), ("1.0", True), ("1.5", False), ("1.5rc1", True), ("1.10", False), ("2.0", True),
     ("2.2.post1", True), ("10.0", False), ("1!1.2", False)],
)  # fmt: skip
def test_versions_are_compared_as_versions(audit, version, is_found):
    assert bool(list(audit.affected([advisory()], {"some-package": version}))) == is_found


def test_fault_without_a_fix_is_in_every_version_since(audit):
    ranges = [{"introduced": "1.2"}]
    found = [list(audit.affected([advisory(affected=ranges)], {"some-package": each})) for each in ("1.1", "1.2", "99")]
    assert list(map(len, found)) == [0, 1, 1]


def test_package_that_is_not_locked_is_not_affected(audit):
    assert list(audit.affected([advisory()], {"another": "1.0"})) == []


@pytest.mark.parametrize(
    ("until", "num_open", "says"),
    [
        (None, 1, "NOT ACCEPTED"),
        (TODAY, 0, f"accepted until {TODAY}"),
        (TODAY - timedelta(days=1), 1, f"NOT ACCEPTED after {TODAY - timedelta(days=1)}"),
    ],
)
def test_what_is_not_accepted_or_no_longer_is_open(audit, capsys, until, num_open, says):
    assert audit.audit_offline(TODAY, [advisory(until)], {"some-package": "1.0"}, TODAY) == num_open
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(says)
    assert lines[0].endswith("Some_Package 1.0     GHSA-1: It breaks.")
    assert lines[1] == f"1 packages, 1 advisories known on {TODAY}: {num_open} open, {1 - num_open} accepted."


ENTRY = "known = 2026-11-24\n[[advisory]]\nid='a'\npackage='b'\npublished=2026-01-01\nsummary='c'\n"


@pytest.mark.parametrize(
    "text",
    [
        "not = toml =",
        "known = 2026-11-24",
        f"{ENTRY}affected = []",
        f"{ENTRY}affected = [{{fixed = 'about 3'}}]",
        f"{ENTRY}affected = [{{fixed = '3'}}]\naccepted = {{reason = ' ', until = 2027-01-01}}",
        f"{ENTRY}affected = [{{fixed = '3'}}]\naccepted = {{reason = 'it is never reached'}}",
        f"{ENTRY}affected = [{{fixed = '3'}}]\naccepted = {{reason = 'it is never reached', until = 'one day'}}",
    ],
)
def test_list_that_accepts_without_a_reason_or_an_end_is_refused(audit, tmp_path, text):
    (tmp_path / "advisories.toml").write_text(text)
    with pytest.raises(audit.AuditError, match="cannot be used"):
        audit.load_advisories(tmp_path / "advisories.toml")


def test_every_advisory_of_the_list_concerns_the_lock(audit, project_root):
    known, advisories = audit.load_advisories(project_root / ".ci" / "advisories.toml")
    versions = audit.locked_versions(project_root / "uv.lock")
    assert list(audit.affected(advisories, versions)) == advisories
    assert all(each["published"] <= known for each in advisories)
    assert len({each["id"] for each in advisories}) == len(advisories)


class _AdvisoryService(BaseHTTPRequestHandler):
    """As much of OSV's API as uv asks for: it knows one advisory of click, for all of its versions."""

    advisory = {
        "id": "GHSA-zzzz-zzzz-zzzz",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "click"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
            }
        ],
    }

    def do_POST(self):
        queries = json.loads(self.rfile.read(int(self.headers["content-length"])))["queries"]
        found = {"vulns": [{name: self.advisory[name] for name in ("id", "modified")}]}
        self._answer({"results": [found if each["package"]["name"] == "click" else {} for each in queries]})

    def do_GET(self):
        self._answer(self.advisory)

    def _answer(self, document):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def asking_uv(uv, tmp_path):
    """Makes a uv that asks an advisory service at a port of this machine."""

    def make(port):
        script = tmp_path / "uv"
        script.write_text(
            f'#!/bin/sh\ncommand=$1\nshift\nexec {uv} "$command" --service-url http://127.0.0.1:{port} "$@"\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return str(script)

    return make


def test_uv_is_asked_where_there_is_a_network(audit, asking_uv, project_root, monkeypatch, capsys):
    monkeypatch.chdir(project_root)
    server = HTTPServer(("127.0.0.1", 0), _AdvisoryService)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        uv = asking_uv(server.server_port)
        assert audit.audit_online(uv, [], TODAY) == 1
        assert "GHSA-zzzz-zzzz-zzzz" in capsys.readouterr().out
        assert audit.audit_online(uv, [advisory(TODAY, id="GHSA-zzzz-zzzz-zzzz")], TODAY) == 0
        assert audit.audit_online(uv, [advisory(TODAY, aliases=["GHSA-zzzz-zzzz-zzzz"])], TODAY) == 0
        ended = advisory(TODAY - timedelta(days=1), id="GHSA-zzzz-zzzz-zzzz")
        assert audit.audit_online(uv, [ended], TODAY) == 1
    finally:
        server.shutdown()
        server.server_close()


def test_no_network_is_said_and_leaves_the_list(audit, asking_uv, project_root, monkeypatch, capsys):
    monkeypatch.chdir(project_root)
    assert audit.audit_online(asking_uv(9), [], TODAY) is None
    assert capsys.readouterr().out.startswith("No answer from the advisory service: ")


def runtime_closure(project_root):
    """Names of what uv.lock says that sluice needs, on the machine that it is locked for."""
    packages = {each["name"]: each for each in tomllib.loads((project_root / "uv.lock").read_text())["package"]}
    found, pending = set(), [("sluice", ())]
    while pending:
        name, extras = pending.pop()
        package = packages[name]
        wanted = [*package.get("dependencies", ())]
        wanted += [each for extra in extras for each in package.get("optional-dependencies", {}).get(extra, ())]
        for each in wanted:
            marker = Requirement(f"x; {each['marker']}").marker if "marker" in each else None
            key = (each["name"], tuple(each.get("extra", ())))
            if key not in found and (marker is None or marker.evaluate()):
                found.add(key)
                pending.append(key)
    return {(name, packages[name]["version"]) for name, _ in found}


def test_sbom_names_every_package_that_a_run_needs(uv, project_root, tmp_path):
    file = tmp_path / "sluice.cdx.json"
    recipe = next(line for line in (project_root / "Makefile").read_text().splitlines() if "cyclonedx" in line)
    command = [uv, *recipe.split()[1:-1], file]
    subprocess.run(command, cwd=project_root, check=True, stdout=subprocess.DEVNULL)
    document = json.loads(file.read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["metadata"]["component"]["name"] == "sluice"
    named = {(each["name"], each["version"]) for each in document["components"]}
    expected = runtime_closure(project_root)
    assert len(expected) > 100
    assert named == expected
    assert all(each["purl"].startswith("pkg:pypi/") for each in document["components"])
