"""`sluice report`, `sluice history` and `sluice compare` on records and facts that lie there."""

import copy
import json
import re
from html.parser import HTMLParser

import pydantic
import pytest
from click.testing import CliRunner

from components.run_report.facts import Facts, facts_text
from pipeline.cli import main
from pipeline.reports import command
from pipeline.reports.compare import compare_facts
from pipeline.run_record import ComponentRun, ExitCode, RunPaths, RunRecord, Summary

IDS = ("20261101T080000.000000", "20261102T080000.000000", "20261103T080000.000000", "20261103T090000.000000")


def write_run(root, run_id, facts=None, *, exit_code=ExitCode.PUSHED, verdict="PUSHED: accuracy 0.9", **summary):
    paths = RunPaths(root, "reference", run_id)
    components = (ComponentRun("ExampleGen", "done", 1.0, 1000, {"examples": "e"}, 0.5),)
    started = paths.started.isoformat(timespec="seconds")
    summary = Summary(started=started, **{"outcome": "pushed", **summary})
    RunRecord(run_id, exit_code, verdict, 17.25, components, summary).write(paths.record_file)
    if facts:
        facts["run"]["run_id"] = run_id
        paths.facts_file.write_text(facts_text(facts), encoding="utf-8")
    return paths


@pytest.fixture
def root(tmp_path, report_facts):
    facts = report_facts.make_facts()
    digests = {"data_digest": "d" * 64, "code_digest": "c" * 64}
    write_run(tmp_path, IDS[0], facts, version="101", accuracy=0.9, rows=1000, **digests)
    digests["code_digest"] = "b" * 64
    write_run(tmp_path, IDS[1], copy.deepcopy(facts), version="102", accuracy=0.925, rows=1000, **digests)
    write_run(tmp_path, IDS[2], version="102", outcome="nothing to do", accuracy=0.925, rows=1000, **digests)
    write_run(tmp_path, IDS[3], exit_code=4, verdict="DATA REFUSED: rows.csv\x1b[31m", outcome="data refused")
    served = tmp_path / "serving_model" / "reference" / "102" / "saved_model.pb"
    served.parent.mkdir(parents=True)
    served.touch()
    return tmp_path


@pytest.fixture
def sluice(root):
    def run(*arguments):
        return CliRunner().invoke(main, [*arguments, "--root", str(root)])

    return run


def test_history_lists_runs_newest_first_and_marks_what_changed(sluice):
    lines = [line.split() for line in sluice("history").output.splitlines() if line.strip().startswith("2026")]
    assert [line[0] for line in lines] == [each[:15] for each in reversed(IDS)]
    assert lines[1][3:] == ["nothing", "to", "do", "0.925", "17.2", "1000", "dddddddd", "bbbbbbbb", "102"]
    assert lines[2][-3:] == ["dddddddd", "bbbbbbbb*", "102"]
    assert lines[3][-3:] == ["dddddddd", "cccccccc", "101"]


def test_history_shows_as_many_as_it_is_told(sluice):
    output = sluice("history", "--limit", "1").output
    assert output.count("2026110") == 1
    assert "and 3 older; --limit 4 shows all" in output


def test_history_is_json_for_machines(sluice):
    runs = json.loads(sluice("history", "--json", "--limit", "2").stdout)
    assert [run["run_id"] for run in runs] == [IDS[3], IDS[2]]
    assert (runs[1]["outcome"], runs[1]["accuracy"], runs[1]["version"]) == ("nothing to do", 0.925, "102")
    assert runs[0].keys() == {"run_id", "exit_code", "verdict", "seconds"} | set(Summary.__dataclass_fields__)


def test_history_lists_runs_of_an_older_sluice_and_names_damaged_ones(root, sluice):
    record_file = RunPaths(root, "reference", IDS[0]).record_file
    record = json.loads(record_file.read_text())
    del record["summary"], record["format"]
    record_file.write_text(json.dumps(record))
    RunPaths(root, "reference", IDS[1]).record_file.write_text("{")
    result = sluice("history")
    assert result.exit_code == 0
    assert re.search(rf"{IDS[0][:15]} +pushed +17\.2", result.stdout)
    assert result.stderr == f"Left out, for their run.json cannot be read: {IDS[1]}\n"


@pytest.mark.parametrize("damage", [{"accuracy": "high"}, {"rows": None, "started": 7}, []])
def test_history_names_runs_whose_summary_is_damaged(root, sluice, damage):
    record_file = RunPaths(root, "reference", IDS[1]).record_file
    record = json.loads(record_file.read_text()) | {"exit_code": 99, "summary": damage or "none"}
    record_file.write_text(json.dumps(record))
    result = sluice("history")
    assert result.exit_code == 0
    assert result.stderr == f"Left out, for their run.json cannot be read: {IDS[1]}\n"


def test_history_without_runs_says_how_to_make_one(tmp_path):
    result = CliRunner().invoke(main, ["history", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert re.search(r"^Error: there is no run in \S+/reports/reference yet\. `sluice run` makes one\.$", result.stderr)


@pytest.mark.parametrize(
    ("name", "run"),
    [("last~2", 1), ("last~3", 0), ("20261101", 0), (IDS[1], 1), ("101", 0), ("102", 1), ("served", 1)],
)
def test_report_finds_a_run_by_its_names_and_renders_it_again(root, sluice, name, run):
    result = sluice("report", name)
    assert result.exit_code == 0, result.output
    page = RunPaths(root, "reference", IDS[run]).page_file
    assert result.output == f"{page}\n"
    assert page.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "last",
            rf"run {IDS[3]} has no report: \S+/facts\.json: No such file or directory\. Its record is \S+/run\.json",
        ),
        ("last~4", "last~4: there are 4 runs, so last~3 is the first"),
        ("2026110", f"'2026110' is the beginning of 4 runs. Name one of: last, {IDS[3]}, {IDS[2]}"),
        (
            "20261103",
            f"'20261103' is the beginning of 2 runs. Name one of: last, {IDS[3]}, {IDS[2]}; `sluice history` has",
        ),
        ("103", f"'103' is the beginning of no run. Name one of: last, {IDS[3]}"),
        ("", "'' is the beginning of no run"),
    ],
)
def test_report_of_no_run_says_which_there_are(sluice, name, message):
    result = sluice("report", name)
    assert result.exit_code == 2
    assert re.search(f"^Error: {message}", result.stderr)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ('{"format": 2}', "is not of format 1; another version of Sluice"),
    ],
)
def test_facts_that_cannot_be_read_are_named(root, sluice, content, message):
    RunPaths(root, "reference", IDS[0]).facts_file.write_text(content)
    result = sluice("report", "101")
    assert result.exit_code == 2
    assert re.search(f"^Error: the report of run {IDS[0]} cannot be read: .*{message}", result.stderr)


def test_report_is_json_for_machines(sluice):
    facts = json.loads(sluice("report", "101", "--json").stdout)
    pydantic.TypeAdapter(Facts).validate_python(facts, strict=True)
    assert facts["run"]["run_id"] == IDS[0]


def test_report_opens_in_the_browser(root, sluice, monkeypatch):
    opened = []
    monkeypatch.setattr(command.webbrowser, "open", lambda uri: opened.append(uri) or True)
    assert sluice("report", "101", "--open").exit_code == 0
    assert opened == [RunPaths(root, "reference", IDS[0]).page_file.as_uri()]
    monkeypatch.setattr(command.webbrowser, "open", lambda uri: False)
    assert "Error: there is no browser to open file:///" in sluice("report", "101", "--open").stderr


def change(facts):
    """Returns facts in which one thing of each part is another, and what that is."""
    other = copy.deepcopy(facts)
    other["run"] |= {"outcome": "model refused", "config": facts["run"]["config"] + "\nadded: {deep: [1, 2]}\n"}
    other["data"]["splits"][0]["rows"] += 1
    other["digests"]["data"] = "e" * 64
    other["evaluation"]["metrics"][0]["candidate"] += 0.01
    other["evaluation"]["rules"][0]["state"] = "broken"
    other["evaluation"]["per_class"][0]["recall"] = None
    other["evaluation"]["slices"][0]["accuracy"] = 0.125
    other["run"]["components"][0]["seconds"] += 3.0
    other["versions"]["numpy"] = "2.0"
    return other


def test_comparison_shows_one_difference_in_each_part(report_facts):
    facts = report_facts.make_facts()
    comparison = compare_facts(facts, change(facts))
    rows = {part["title"]: [row["what"] for row in part["rows"]] for part in comparison["parts"]}
    first = facts["evaluation"]["metrics"][0]["name"]
    split, slice_ = facts["data"]["splits"][0]["name"], facts["evaluation"]["slices"][0]["slice"]
    assert rows == {
        "Outcome": ["outcome"],
        "Config": ["added.deep"],
        "Data": [f"{split} rows"],
        "Digests": ["data"],
        "Metrics": [first],
        "Rules": [rows["Rules"][0]],
        "Classes": [f"{facts['evaluation']['per_class'][0]['name']} recall"],
        "Slices": [f"accuracy where {slice_}"],
        "Seconds": [facts["run"]["components"][0]["component"]],
        "Versions": ["numpy"],
    }
    (metric,) = next(part["rows"] for part in comparison["parts"] if part["title"] == "Metrics")
    assert metric["change"] == pytest.approx(0.01)


def test_comparison_of_a_run_with_itself_has_no_difference(report_facts):
    facts = report_facts.make_facts()
    comparison = compare_facts(facts, copy.deepcopy(facts))
    assert not any(part["rows"] for part in comparison["parts"])
    assert all(part["same"] for part in comparison["parts"])


def test_comparison_with_a_run_that_was_refused_has_what_there_is(report_facts):
    comparison = compare_facts(report_facts.make_facts(), report_facts.refused_by_data())
    metrics = next(part for part in comparison["parts"] if part["title"] == "Metrics")
    assert all(row["b"] is None for row in metrics["rows"])
    json.dumps(comparison, allow_nan=False)


def test_compare_prints_what_differs(root, sluice, report_facts):
    facts = change(report_facts.make_facts())
    write_run(root, IDS[1], facts, version="102")
    result = sluice("compare", "101", "102")
    assert result.exit_code == 0
    assert result.output.startswith(f"a  {IDS[0]}\nb  {IDS[1]}\n")
    assert re.search(r"numpy +\S+ +2\.0", result.output)
    assert "The same in both: outcome (2), config" in result.output
    assert json.loads(sluice("compare", "101", "102", "--json").stdout)["b"] == IDS[1]


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_comparison_page_takes_hostile_names_as_text(root, sluice, report_facts, tmp_path):
    write_run(root, IDS[1], report_facts.make_hostile(), version="102")
    page = tmp_path / "page.html"
    result = sluice("compare", "101", "102", "--html", str(page))
    assert result.output.splitlines()[-1] == f"Page    {page}"
    assert "\x1b" not in result.output
    elements = Elements(page.read_text()).tags
    assert {tag for tag, _ in elements} <= {
        "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "a", "br", "bdi", "section", "div",
        "table", "caption", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert not any(name.startswith("on") for _, attributes in elements for name in attributes)
    links = [attributes["href"] for tag, attributes in elements if tag == "a"]
    assert links == [RunPaths(root, "reference", run_id).page_file.as_uri() for run_id in IDS[:2]]


def test_record_fits_its_schema(root):
    record = json.loads(RunPaths(root, "reference", IDS[0]).record_file.read_text())
    parsed = pydantic.TypeAdapter(RunRecord).validate_json(json.dumps(record), strict=True)
    assert (parsed.format, parsed.summary.version, parsed.components[0].started_secs) == (1, "101", 0.5)
    assert record.keys() == {"format", "run_id", "exit_code", "verdict", "seconds", "components", "summary"}
