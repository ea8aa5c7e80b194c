"""What a run prints of DataGate's report."""

import io
import json

import pytest

from pipeline.gate_lines import print_gate
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
