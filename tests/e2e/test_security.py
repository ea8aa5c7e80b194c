"""Secrets of the environment, put where people have them, are in nothing that Sluice writes or prints."""

import base64
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.e2e

SLUICE = str(Path(sys.executable).parent / "sluice")
SECRETS = {  # with what escapes change
    name: f'canary"{name}/+\\é&9f3a7c'
    for name in ("aws", "google", "metadata", "proxy", "webhook", "command", "header", "dotenv", "unused")
}
BROKEN_MODULE = """
def run_fn(fn_args):
    import os
    token = os.environ["AWS_SECRET_ACCESS_KEY"]
    raise RuntimeError("the training broke")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("secrets")


@pytest.fixture(scope="module")
def environment(folder):
    account = folder / "account.json"
    account.write_text(json.dumps({"type": "service_account", "private_key": SECRETS["google"]}))
    notified = folder / "notified"
    notified.mkdir()
    return os.environ | {
        "AWS_SECRET_ACCESS_KEY": SECRETS["aws"],
        "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        "GOOGLE_API_KEY": SECRETS["google"],
        "SLUICE_METADATA_PASSWORD": SECRETS["metadata"],
        "http_proxy": f"http://me:{quote(SECRETS['proxy'], safe='')}@127.0.0.1:9",
        "https_proxy": f"http://me:{quote(SECRETS['proxy'], safe='')}@127.0.0.1:9",
        "HOOK": f"https://me:{quote(SECRETS['webhook'], safe='')}@hooks.invalid/{quote(SECRETS['header'], safe='')}",
        "TOKEN": SECRETS["command"],
        "UNUSED": SECRETS["unused"],
        "HOME": str(folder / "home"),
    }


@pytest.fixture(scope="module")
def commands(folder, environment, reference_config_file):
    """What each command printed, with its exit code; all wrote into the folder `work`."""
    work = folder / "work"
    work.mkdir()
    (folder / "compiled").mkdir()
    (work / "broken.py").write_text(BROKEN_MODULE)
    notification = 'notification: {webhook_url: "${HOOK}", command: ["false", "${TOKEN}"]}\n'
    (work / "my.yaml").write_text(f"extends: {reference_config_file}\n{notification}")
    (work / "wrong.yaml").write_text(f'extends: {reference_config_file}\nnotification: {{webhook_url: "${{TOKEN}}"}}\n')
    quick = ["--set", "trainer.num_epochs=5"]
    arguments = {
        "validate": ["validate", "my.yaml"],
        "validate wrong": ["validate", "wrong.yaml"],
        "run": ["run", "my.yaml", *quick],
        "run broken": ["run", "my.yaml", "--set", "trainer.module_file=broken.py"],
        "report": ["report", "--config", "my.yaml"],
        "compare": ["compare", "last~1", "last", "--html", "comparison.html"],
        "history": ["history", "--config", "my.yaml", "--json"],
        "doctor": ["doctor"],
        "compile": ["compile", "my.yaml", "--target", "vertex", "--image", "i", "--output", "../compiled/spec.yaml"],
    }
    return {name: run([SLUICE, *each], work, environment) for name, each in arguments.items()}


def run(command, cwd, environment):
    process = subprocess.run(command, cwd=cwd, env=environment, capture_output=True)
    return process.returncode, process.stdout + process.stderr


def spellings(secret):
    """Every way in which a text may have been written down, as bytes."""
    texts = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1],
             quote(secret), quote(secret, safe=""), secret.replace("&", "&amp;").replace('"', "&#34;"),
             secret.replace("&", "&amp;").replace('"', "&quot;")}  # fmt: skip
    found = {text.encode() for text in texts} | {secret.encode("utf-16-le")}
    for shift in range(3):  # base64 within a longer text begins at any of three places
        encoded = base64.b64encode(b" " * shift + secret.encode())
        found |= {encoded[4:-4], encoded[4:-4].replace(b"+", b"-").replace(b"/", b"_")}
    return found | {secret.encode().hex().encode(), secret.rpartition("&")[0].encode()}


def unpacked(content, name):
    """Yields bytes and what is packed in them, however deep."""
    yield name, content
    if content[:2] == b"\x1f\x8b":
        yield from unpacked(gzip.decompress(content), f"{name} (gzip)")
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from unpacked(archive.read(member), f"{name}/{member}")


def leaks(folder):
    """Returns in which files which secrets are."""
    wanted = {(name, spelling) for name, secret in SECRETS.items() for spelling in spellings(secret)}
    found = set()
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            for path, content in unpacked(file.read_bytes(), str(file.relative_to(folder))):
                found |= {(name, path) for name, spelling in wanted if spelling in content}
    return found


def test_search_finds_a_secret_however_it_is_written(tmp_path):
    secret = SECRETS["aws"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", gzip.compress(secret.encode()))
    contents = {
        "plain": secret.encode(),
        "zip": packed.getvalue(),
        "json": json.dumps({"a": secret}).encode(),
        "url": f"http://me:{quote(secret, safe='')}@host".encode(),
        "html": b"<td>" + secret.replace("&", "&amp;").replace('"', "&#34;").encode(),
        **{f"base64 {n}": base64.b64encode(b"x" * n + secret.encode() + b"yz") for n in range(4)},
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(b"before" + content if name not in ("zip",) else content)
    assert {path.partition("/")[0] for _, path in leaks(tmp_path)} == set(contents)


def test_commands_did_what_they_should(commands):
    codes = {name: code for name, (code, _) in commands.items()}
    expected = dict.fromkeys(codes, 0) | {"run broken": 1, "validate wrong": 2}
    assert codes == expected, {name: text[-2000:] for name, (code, text) in commands.items() if code != expected[name]}
    assert b"PUSHED: accuracy" in commands["run"][1]
    assert b"the training broke" in commands["run broken"][1]
    assert commands["run"][1].count(b"Notice ") == 2  # neither webhook nor command could be told, and it says so


def test_no_secret_is_printed(commands, folder):
    printed = folder / "printed"
    printed.mkdir()
    for name, (_, text) in commands.items():
        (printed / name).write_bytes(text)
    assert leaks(printed) == set()


def test_no_secret_is_in_logs_metadata_artifacts_models_or_reports(commands, folder):
    assert commands
    work = folder / "work"
    root = work / "output"
    written = {file.relative_to(root).parts[0] for file in root.rglob("*") if file.is_file()}
    assert {"logs", "metadata", "pipelines", "serving_model", "reports"} <= written
    assert leaks(work) == set()


def test_notification_alone_is_in_a_compiled_spec_as_the_config_s_table_says(commands, folder):
    assert commands
    assert sorted(file.name for file in (folder / "compiled").iterdir()) == ["spec.json", "spec.yaml"]
    assert {name for name, _ in leaks(folder / "compiled")} == {"webhook", "header", "command"}


def test_wheel_holds_the_packages_and_nothing_that_lies_beside_them(folder, environment, project_root):
    project = folder / "project"
    for name in ("schema", "components", "pipeline", "kubeflow"):
        shutil.copytree(project_root / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(project_root / name, project / name)
    for name in (".env", "account.json", "pipeline/.env", "pipeline/account.json", "components/run_report/token.txt"):
        (project / name).write_text(SECRETS["dotenv"])
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    code, printed = run([*pip, "--wheel-dir", folder / "wheel", project], folder, environment)
    assert code == 0, printed
    (wheel,) = (folder / "wheel").glob("*.whl")
    assert leaks(folder / "wheel") == set()
    assert {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()} == {
        "schema", "components", "pipeline", "sluice-0.1.0.dist-info"
    }  # fmt: skip
