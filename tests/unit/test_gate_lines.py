"""What a run prints of the reports of ExampleGen and DataGate."""

import dataclasses
import io
import json

import pytest

from components.example_gen.input_report import InputReport, write_report
from pipeline.gate_lines import print_gate, print_input
from pipeline.run_record import ComponentRun, RunPaths
from pipeline.terminal import Terminal


@pytest.fixture
def printed(tmp_path):
    """Returns the lines that are printed of a report, of a run that passed the gate or that was refused there."""

    def lines(report, *, is_refused=False):
        paths = RunPaths(tmp_path, "p", "run")
        components = [ComponentRun("DataGate", "done", 0.1, outputs={"findings": str(tmp_path)})]
        file = paths.gate_file if is_refused else tmp_path / "gate.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"findings": [], "drift": None, "skew": None} | report))
        stream = io.StringIO()
        print_gate(Terminal(stream), [] if is_refused else components, paths)
        return [line.rstrip() for line in stream.getvalue().splitlines() if line.strip()]

    return lines


def distance(feature, value, threshold=0.15, note=""):
    measure = "" if value is None else "jensen_shannon"
    return {"feature": feature, "measure": measure, "value": value, "threshold": threshold, "note": note}


def comparison(*distances, against="version 7", note=""):
    return {"against": against, "note": note, "severity": "warn", "distances": distances}


@pytest.mark.parametrize("is_refused", [True, False])
def test_warnings_alone_are_printed(printed, is_refused):
    findings = [{"severity": each, "sentence": f"a\n{each}"} for each in ("fail", "warn", "ignore")]
    assert printed({"findings": findings}, is_refused=is_refused) == ["Data    warning: a warn"]


def test_run_that_did_not_reach_the_gate_prints_nothing(tmp_path):
    stream = io.StringIO()
    print_gate(Terminal(stream), [], RunPaths(tmp_path, "p", "run"))
    assert stream.getvalue() == ""


def test_distances_are_printed_with_their_thresholds(printed):
    lines = printed({"drift": comparison(distance("ph", 0.31), distance("rain", 0.1, 0.05), distance("wind", 0.0))})
    assert lines[0] == "Drift   from version 7: 2 of 3 features above their threshold"
    assert [line.split() for line in lines if line.startswith("  ")][1:] == [
        ["ph", "Jensen-Shannon", "0.310", "0.15"],
        ["rain", "Jensen-Shannon", "0.100", "0.05"],
        ["wind", "Jensen-Shannon", "0.000", "0.15"],
    ]


def test_only_the_largest_distances_are_printed(printed):
    lines = printed({"skew": comparison(*(distance(f"f{n}", 0.5 - n / 100) for n in range(20)))})
    assert [line.split()[0] for line in lines if line.startswith("  f") and "feature" not in line] == [
        f"f{n}" for n in range(12)
    ]
    assert lines[-1] == "Skew    and 8 features that differ less"


def test_feature_without_a_distance_is_named(printed):
    lines = printed({"drift": comparison(distance("ph", 0.1), distance("new", None, note="has no values"))})
    assert lines[-1] == "Drift   not measured: 'new' has no values"


@pytest.mark.parametrize(
    ("drift", "lines"),
    [
        (comparison(against="", note="nothing is served yet"), []),
        (comparison(distance("ph", 0.0)), ["Drift   none: no feature differs from version 7"]),
        (
            comparison(note="it was pushed without statistics"),
            ["Drift   not measured against version 7: it was pushed without statistics"],
        ),
    ],
)
def test_nothing_to_compare_takes_a_line_at_most(printed, drift, lines):
    assert printed({"drift": drift}) == lines


def test_input_is_told_with_what_is_unusual_about_it(tmp_path):
    report = InputReport(
        num_files=2,
        rows={"train": 6, "eval": 3},
        num_quarantined=1,
        duplicate_rows=2,
        duplicate_row_examples=("a.csv row 3 is a.csv row 1", "b.csv row 2 is a.csv row 1"),
        ids=("key", "day"),
        duplicate_ids=1,
        duplicate_id_examples=("b.csv row 2 is a.csv row 1",),
        notes=("b.csv has no column 'age'; it is missing in every row",),
    )
    runs = []
    for component in ("ExampleGen", "UnlabelledExampleGen", "Trainer"):
        (tmp_path / component).mkdir()
        runs.append(ComponentRun(component, "cached", 0.0, outputs={"examples": str(tmp_path / component)}))
    write_report(report, str(tmp_path / "ExampleGen"))
    write_report(dataclasses.replace(report, num_quarantined=0, duplicate_rows=0, duplicate_ids=0, notes=()),
                 str(tmp_path / "UnlabelledExampleGen"))  # fmt: skip
    stream = io.StringIO()
    print_input(Terminal(stream), runs)  # the third has none, as of the stock ExampleGen
    assert stream.getvalue().splitlines() == [
        "Input   2 files, 9 rows (train 6, eval 3)",
        "Input   warning: 1 row with faults left out (10.00%)",
        "Input   warning: 2 duplicate rows (such as: a.csv row 3 is a.csv row 1; b.csv row 2 is a.csv row 1)",
        "Input   warning: 1 row with the key and day of another (such as: b.csv row 2 is a.csv row 1)",
        "Input   warning: b.csv has no column 'age'; it is missing in every row",
        f"Input   they are kept in {tmp_path}/ExampleGen/quarantine.jsonl",
        "Input   unlabelled: 2 files, 9 rows (train 6, eval 3)",
    ]
