"""What SECURITY.md says of inputs: hostile YAML, paths that lead elsewhere, and code that must not be there."""

import ast
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tfx.orchestration import metadata

from components.infra_validator.graph_scan import forbidden_operations
from components.model_manifest import MANIFEST_FILE, ManifestError, digest_of, make_manifest, write_manifest
from components.pusher.push import push_model
from components.run_report.facts import facts_text
from components.transform.vocabularies import vocabulary_name
from pipeline.cleaning import find_doomed
from pipeline.cli import main
from pipeline.config import load_config
from pipeline.config_errors import ConfigError
from pipeline.rehearsal.spec import SpecError, load_spec
from pipeline.run_record import RunPaths
from pipeline.serving.client import ServerError, connect
from pipeline.serving.models import ServedModel
from pipeline.serving.server import HOST, running_server

LONG = "x" * 5000
OUTSIDE = ("../x", "a/../../x", "/etc/passwd", "~/x", "a\nb", "a\0b", "", LONG)


def nested(first, each, times=10, width=10):
    """Ten lines that stand for `width ** times` values."""
    lines = [f"a0: &a0 {first}"]
    for number in range(1, times):
        lines.append(f"a{number}: &a{number} {each.format(', '.join([f'*a{number - 1}'] * width))}")
    return "\n".join(lines)


HOSTILE_YAML = {
    "python": ("a: !!python/object/apply:os.system ['touch hacked']", "could not determine a constructor for the tag"),
    "python name": ("a: !!python/name:os.system", "could not determine a constructor for the tag"),
    "python module": ("!!python/object/new:subprocess.Popen [touch hacked]", "could not determine a constructor"),
    "laughs": (nested("[x, x]", "[{}]"), r"its aliases \(\*name\) stand for too much"),
    "merges": (nested("{k: 1}", "{{<<: [{}]}}"), r"its aliases \(\*name\) stand for too much"),
    "itself": ("a: &a [*a]", r"its aliases \(\*name\) stand for too much"),
    "deep lists": ("a: " + "[" * 100_000, "maximum recursion depth exceeded"),
    "deep sections": ("a: " + "{a: " * 20_000, "maximum recursion depth exceeded"),
    "twice": ("a: 1\na: 2", "line 2: .*the key 'a' is there more than once"),
    "unhashable": ("? [a]\n: 1", "found unhashable key"),
    "digits": ("a: " + "9" * 5000, "Exceeds the limit"),
}


@pytest.mark.parametrize("name", HOSTILE_YAML)
def test_hostile_yaml_is_refused_in_a_sentence_and_soon(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, message = HOSTILE_YAML[name]
    file = tmp_path / "hostile.yaml"
    file.write_text(text)
    start = time.perf_counter()
    with pytest.raises(ConfigError, match=rf"hostile\.yaml: .*{message}"):
        load_config(str(file))
    with pytest.raises(SpecError, match=message.removeprefix("line 2: .*")):
        load_spec(file)
    assert time.perf_counter() - start < 30
    assert not Path("hacked").exists()


def test_hostile_override_is_refused(reference_config_file):
    for value in ("!!python/name:os.system", "&a [*a]", nested("[x]", "[{}]").replace("\n", ", ").join("{}")):
        with pytest.raises(ConfigError, match=r"--set trainer\.custom=.*the value is not YAML"):
            load_config(reference_config_file, [f"trainer.custom={value}"])


def test_aliases_of_a_sensible_size_are_written_out(reference_config_file, tmp_path):
    custom = "{a: &a {x: 1}, b: *a, c: {<<: *a, y: 2}}"
    (tmp_path / "my.yaml").write_text(f"extends: {reference_config_file}\ntrainer:\n  custom: {custom}\n")
    found = load_config(str(tmp_path / "my.yaml")).trainer.custom
    assert found == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}


def test_file_of_100_mb_is_not_read(tmp_path):
    file = tmp_path / "large.yaml"
    with file.open("wb") as stream:
        stream.truncate(100 << 20)
    start = time.perf_counter()
    with pytest.raises(ConfigError, match=r"large\.yaml: is not YAML: it is larger than 256 KiB\."):
        load_config(str(file))
    with pytest.raises(SpecError, match=r"large\.yaml: is not YAML or JSON: it is larger than 4096 KiB\."):
        load_spec(file)
    assert time.perf_counter() - start < 1


def dotted(node):
    """`yaml.load` of the expression that names it; empty of any other."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unsafe_code(tree):
    """Yields what in a module may run what it reads, by its line."""
    modules = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle", "telnetlib", "xmlrpc"}
    calls = {"eval", "exec", "compile", "__import__", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all",
             "tempfile.mktemp", "os.system", "os.popen", "pd.read_pickle", "shutil.unpack_archive"}  # fmt: skip
    methods = {"load_model", "load_weights", "from_config", "deserialize", "extractall", "deserialize_keras_object"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            yield from ((node.lineno, name) for name in names if name.partition(".")[0] in modules)
        if not isinstance(node, ast.Call):
            continue
        name, keywords = dotted(node.func), {each.arg: each.value for each in node.keywords}
        if name in calls or name.rpartition(".")[2] in methods:
            yield node.lineno, name
        if name in ("yaml.load", "yaml.load_all") and [dotted(each) for each in node.args[1:]] != ["_StrictLoader"]:
            yield node.lineno, name
        given = {word: getattr(value, "value", None) for word, value in keywords.items()}  # None unless it is literal
        if given.get("verify", True) is False or {given.get("shell", False), given.get("allow_pickle", False)} != {
            False
        }:
            yield node.lineno, name


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from dill import loads", "yaml.load(text)", "yaml.load(text, yaml.Loader)", "eval(text)",
     "yaml.unsafe_load(text)", "exec(text)", "tempfile.mktemp()", "run('ls', shell=True)", "run('ls', shell=is_set)",
     "get(url, verify=False)", "np.load(file, allow_pickle=True)", "keras.models.load_model(file)",
     "archive.extractall(folder)"],
)  # fmt: skip
def test_unsafe_code_is_found(text):
    assert list(unsafe_code(ast.parse(text)))


def test_code_loads_nothing_that_can_run(project_root):
    files = [file for name in ("schema", "components", "pipeline", "kubeflow", ".ci")
             for file in (project_root / name).rglob("*.py")]  # fmt: skip
    assert len(files) > 200
    found = [
        (str(file.relative_to(project_root)), *each)
        for file in files
        for each in unsafe_code(ast.parse(file.read_text()))
    ]
    assert found == []


def problem(reference_config_file, key, value):
    try:
        load_config(reference_config_file, [f"{key}={json.dumps(value)}"])
    except ConfigError as err:
        return str(err)
    return ""


@pytest.mark.parametrize("value", OUTSIDE)
@pytest.mark.parametrize("key", ["pipeline_name", "example_gen.pattern"])
def test_what_becomes_part_of_a_path_stays_under_it(key, value, reference_config_file):
    assert re.match(
        rf"ConfigError|--set: {key}|.*(has no|no {re.escape(value[:9])}).* file",
        problem(reference_config_file, key, value),
    )


@pytest.mark.parametrize("key", ["example_gen.pattern", "bulk_inferrer.pattern"])
@pytest.mark.parametrize("pattern", ["data/../../*.csv", "a/../*.csv", "x/..", "{SPAN}/../../*.csv"])
def test_pattern_does_not_climb_out_of_input_dir(key, pattern, reference_config_file):
    assert "must stay under input_dir" in problem(reference_config_file, key, pattern)


@pytest.mark.parametrize("value", OUTSIDE)
@pytest.mark.parametrize(
    "key", ["example_gen.input_dir", "schema_gen.schema_file", "trainer.module_file", "bulk_inferrer.input_dir"]
)
def test_file_of_the_user_s_own_is_where_it_is_or_an_error(key, value, reference_config_file):
    assert problem(reference_config_file, key, value).startswith(f"--set: {key}: ")


@pytest.mark.parametrize("value", OUTSIDE)
def test_config_to_extend_is_a_config_or_an_error(value, tmp_path):
    (tmp_path / "my.yaml").write_text(f"extends: {json.dumps(value)}\n")
    with pytest.raises(ConfigError, match=r"cannot be read|must be the path of a config|holds no 'key: value' lines"):
        load_config(str(tmp_path / "my.yaml"))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with one run that pushed version 7, and a secret outside."""
    monkeypatch.chdir(tmp_path)
    paths = RunPaths(tmp_path / "output", "reference", "20261101T080000.000000")
    (paths.serving_model_dir / "7").mkdir(parents=True)
    (paths.serving_model_dir / "7" / "saved_model.pb").touch()
    paths.record_file.parent.mkdir(parents=True)
    record = '{"run_id": "20261101T080000.000000", "exit_code": 0, "verdict": "v", "seconds": 1.0, "components": []}'
    paths.record_file.write_text(record)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "run.json").write_text(record)
    (tmp_path / "elsewhere" / "saved_model.pb").write_text("mine")
    (tmp_path / "rows.csv").write_text("a\n1\n")
    return paths


COMMANDS = {
    "report": ["report", "{}"],
    "compare": ["compare", "{}", "last"],
    "promote": ["versions", "promote", "--", "{}"],
    "predict": ["predict", "rows.csv", "--output", "o.csv", "--model-version", "{}"],
    "from": ["run", "--from", "{}"],
    "span": ["run", "--span", "{}"],
}


@pytest.mark.parametrize("name", ["../../../elsewhere", "/etc", "~", "a\nb", "-1", "9" * 5000, "7/../7", LONG])
@pytest.mark.parametrize("command", COMMANDS)
def test_name_on_the_command_line_is_looked_up_and_never_a_path(command, name, root, tmp_path):
    before = sorted(map(str, tmp_path.rglob("*")))
    result = CliRunner().invoke(main, [name if each == "{}" else each for each in COMMANDS[command]])
    assert result.exit_code == 2, result.output[:500]
    assert isinstance(result.exception, SystemExit)
    assert re.search("Error: |no run|no version|InputError", result.output)
    assert sorted(map(str, tmp_path.rglob("*"))) == before


@pytest.mark.parametrize("command", [["history"], ["report"], ["versions", "list"], ["clean", "--keep", "1"], ["run"]])
def test_root_that_cannot_be_is_a_sentence(command):
    result = CliRunner().invoke(main, [*command, "--root", LONG])
    assert result.exit_code == 2
    assert re.search(r"--root'?: x+.* cannot be used: File name too long\.", " ".join(result.output.split()))


def test_report_is_not_written_through_a_link(root, tmp_path, report_facts):
    facts = report_facts.make_facts()
    root.facts_file.write_text(facts_text(facts))
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    root.page_file.symlink_to(mine)
    assert CliRunner().invoke(main, ["report"]).exit_code == 0
    assert mine.read_text() == "mine"
    assert root.page_file.read_text().startswith("<!DOCTYPE html>")


def test_link_among_the_versions_is_pruned_and_what_it_leads_to_stays(root, tmp_path):
    (root.serving_model_dir / "3").symlink_to(tmp_path / "elsewhere")
    assert CliRunner().invoke(main, ["versions", "prune", "--keep", "1"]).output.startswith("Removed: 3.")
    assert (tmp_path / "elsewhere" / "saved_model.pb").read_text() == "mine"


def put_artifact(connection, uri, pipeline_name="reference"):
    """Puts an artifact of an old run into a metadata store."""
    store = metadata_store.MetadataStore(connection)
    types = {
        name: store.put_context_type(metadata_store_pb2.ContextType(name=name)) for name in ("pipeline", "pipeline_run")
    }
    pipeline, run, newest = (
        metadata_store_pb2.Context(name=name, type_id=types[kind])
        for name, kind in (
            (pipeline_name, "pipeline"),
            ("20260101T000000.000000", "pipeline_run"),
            ("20270101", "pipeline_run"),
        )
    )
    ids = store.put_contexts([pipeline, run, newest])
    store.put_parent_contexts([metadata_store_pb2.ParentContext(child_id=each, parent_id=ids[0]) for each in ids[1:]])
    kind = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Model"))
    live = metadata_store_pb2.Artifact.LIVE
    (artifact,) = store.put_artifacts([metadata_store_pb2.Artifact(type_id=kind, uri=uri, state=live)])
    store.put_attributions_and_associations(
        [metadata_store_pb2.Attribution(artifact_id=artifact, context_id=ids[1])], []
    )


@pytest.mark.parametrize("uri", ["{}", "x/../../../elsewhere", "../../serving_model", "/etc", "Trainer/model/1"])
def test_clean_removes_nothing_outside_whatever_the_metadata_store_names(uri, root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "model" / "1").mkdir(parents=True)
    root.pipeline_root.mkdir(parents=True)
    (root.pipeline_root / "Trainer").symlink_to(elsewhere)
    (root.pipeline_root / "Evaluator" / "blessing" / "2").mkdir(parents=True)
    root.metadata_file.parent.mkdir(parents=True)
    connection = metadata.sqlite_metadata_connection_config(str(root.metadata_file))
    put_artifact(connection, uri.format(elsewhere / "model" / "1"))
    root.log_file.parent.parent.mkdir()
    (elsewhere / "mine.log").touch()
    root.log_file.parent.symlink_to(elsewhere)
    with metadata.Metadata(connection) as handle:
        doomed = find_doomed(handle, root, keep=1, with_unknown=True)
    assert (doomed.folders, doomed.logs) == ((root.pipeline_root / "Evaluator" / "blessing" / "2",), ())


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "assets/../../outside"])
def test_manifest_that_names_a_file_outside_of_the_model_is_refused(name, make_model, tmp_path):
    model = make_model()
    (tmp_path / "outside").write_text("mine")
    manifest = make_manifest(str(model))
    manifest["files"][name] = {"bytes": 4, "sha256": "0" * 64}
    write_manifest(str(model), manifest | {"digest": digest_of(manifest["files"])})
    with pytest.raises(ManifestError, match="outside is missing"):
        push_model(str(model), str(tmp_path / "base"), facts={})
    assert (model / MANIFEST_FILE).exists()
    assert not list((tmp_path / "base").iterdir())


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "", "a\0b"])
def test_model_with_an_asset_outside_of_it_is_refused(name):
    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.asset_file_def.add(filename="vocabulary_color")
    assert forbidden_operations(meta_graph) == []
    meta_graph.asset_file_def.add(filename=name)
    assert forbidden_operations(meta_graph) == [f"the asset {name!r} lies outside of the model's assets"]


@pytest.mark.parametrize("feature", ["../../x", "/etc/passwd", "a\0b", "a\nb", "~"])
def test_feature_s_name_becomes_a_plain_file_name(feature):
    assert re.fullmatch(r"vocabulary_\w+", vocabulary_name(feature))


@pytest.mark.parametrize(
    "path",
    ["/v1/models/../../etc/passwd", "/v1/models/..%2f..%2felsewhere", "/v1/models/doubler/versions/../1",
     "/v1/models/%2e%2e/versions/1", "/v1/models/doubler/labels/..%2f1/metadata", "/v1/models/doubler%00:predict",
     "/../../etc/passwd", "/v1/models/~", "/v1/models/" + LONG],
)  # fmt: skip
def test_server_answers_for_its_model_alone(path, saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "doubler" / "1")
    model = ServedModel("doubler", tmp_path / "doubler", lambda text: None)
    with running_server(model, rest_port=0, grpc_port=0, poll_secs=60) as ports, requests.Session() as session:
        request = requests.Request("GET", f"http://{HOST}:{ports.rest}/").prepare()
        request.url = f"http://{HOST}:{ports.rest}{path}"  # as it is, without a client's own tidying
        response = session.send(request)
        assert response.status_code in (400, 404)
        assert "root:" not in response.text
        assert set(response.json()) == {"error"}


@pytest.mark.parametrize("scheme", ["http", "grpc"])
@pytest.mark.parametrize("version", ["9" * 19, "9" * 5000])
def test_version_that_no_server_can_have_is_a_sentence(scheme, version):
    with pytest.raises(ServerError, match=r"no server has a version above 9223372036854775807\. Received: 9{19,40}\.$"):
        connect(f"{scheme}://{HOST}:9", "doubler", version)


def test_label_does_not_change_what_a_server_is_asked(saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "doubler" / "1")
    model = ServedModel("doubler", tmp_path / "doubler", lambda text: None)
    with running_server(model, rest_port=0, grpc_port=0, poll_secs=60) as ports:
        url = f"http://{HOST}:{ports.rest}"
        with pytest.raises(ServerError, match=r"Unrecognized servable version label: \.\./versions/1"):
            connect(url, "doubler", "../versions/1")


def test_secret_of_the_notification_is_in_no_error(reference_config_file):
    for value in ("canary-secret", "[canary-secret]", "{canary-secret: 1}"):
        with pytest.raises(ConfigError, match="webhook_url: ") as error:
            load_config(reference_config_file, [f"notification.webhook_url={value}"])
        assert "canary" not in str(error.value)
    with pytest.raises(
        ConfigError, match=r"notification: must be a section .*Received: what may be a secret\."
    ) as error:
        load_config(reference_config_file, ["notification=https://canary"])
    assert "canary" not in str(error.value)


def test_security_page_names_code_and_tests_that_there_are(project_root):
    text = (project_root / "SECURITY.md").read_text()
    names = re.findall(r"`((?:schema|components|pipeline|tests|kubeflow|\.ci)/[\w./]+)`", text)
    assert len(names) > 15
    assert [name for name in names if not (project_root / name).exists()] == []
    assert os.path.getsize(project_root / "SECURITY.md") < 10_000
