"""Severities, drift and skew through the real command, on data edited one way or the other."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.e2e


def edit_cells(cells):
    def change(lines):
        for row, column, value in cells:
            lines[row][lines[0].index(column)] = value
        return lines

    return change


def drop_ph(lines):
    index = lines[0].index("ph")
    return [cells[:index] + cells[index + 1 :] for cells in lines]


def shift_ph(lines):
    index = lines[0].index("ph")
    values = np.array([float(cells[index]) for cells in lines[1:]])
    for cells, value in zip(lines[1:], np.clip(values + values.std(), 0, 14), strict=True):
        cells[index] = repr(float(value))
    return lines


EDITS = {
    "FLOAT_TYPE_HAS_NAN": (
        edit_cells([(57, "rainfall_mm", "nan")]),
        r"'rainfall_mm' in the \w+ split: 1 of \d+ rows \(",
    ),
    "FLOAT_TYPE_BIG_FLOAT": (
        edit_cells([(57, "ph", "99")]),
        r"'ph' in the \w+ split: at least 1 of \d+ rows .* up to 99",
    ),
    "SCHEMA_MISSING_COLUMN": (drop_ph, r"'ph' in the train split: (\d+) of \1 rows \(100\.00%\) without a value"),
    "INT_TYPE_BIG_INT": (
        edit_cells([(57, "gate_action", "7")]),
        r"'gate_action' in the \w+ split: 1 of \d+ .* up to 7",
    ),
}


def gate_report(run):
    (gate,) = (component for component in run.record["components"] if component["component"] == "DataGate")
    folder = gate["outputs"].get("findings", run.root / "reports" / "reference" / run.record["run_id"])
    return json.loads(Path(folder, "gate.json").read_text())


@pytest.mark.parametrize("anomaly", EDITS)
def test_severity_of_an_anomaly_decides(reference, sluice, edited_csv, tmp_path, anomaly):
    change, sentence = EDITS[anomaly]
    # What comes behind the gate takes long, and is not what is tested.
    (tmp_path / "stop.py").write_text(
        "def preprocessing_fn(inputs, custom_config): raise RuntimeError('behind the gate')"
    )
    # The columnar ExampleGen refuses most of it before the gate sees it.
    options = ["--set", f"example_gen.input_dir={edited_csv(change)}", "--set", "example_gen.executor=csv"]
    options += ["--set", f"transform.module_file={tmp_path / 'stop.py'}"]
    runs = {}
    for severity in ("fail", "warn", "ignore"):
        runs[severity] = sluice(*options, "--set", f"data_gate.rules=[{{anomaly: {anomaly}, severity: {severity}}}]")
        findings = gate_report(runs[severity])["findings"]
        assert {each["severity"] for each in findings if each["anomaly"] == anomaly} == {severity}
        assert (severity == "warn") == bool(re.search(f"Data    warning: {sentence}", runs[severity].stdout))
    assert runs["fail"].exit_code == 4
    assert re.search(f"^DATA REFUSED: {sentence}", runs["fail"].last_line)
    for severity in ("warn", "ignore"):
        assert runs[severity].exit_code == 1
        assert runs[severity].last_line.startswith("FAILED: Transform: RuntimeError: behind the gate")


def test_nan_that_is_let_through_poisons_no_column(reference, sluice, edited_csv):
    change, _ = EDITS["FLOAT_TYPE_HAS_NAN"]
    options = [f"example_gen.input_dir={edited_csv(change)}", "example_gen.executor=csv", "data_gate.severity=warn"]
    options += ["evaluator.thresholds=[{metric: accuracy, lower_bound: 1.0}]"]  # other tests need what is served
    run = sluice(*(word for option in options for word in ("--set", option)))
    assert run.exit_code == 3, run.stdout
    assert run.trace[-1]["loss"] < 0.35


def test_report_counts_rows_and_classes(reference):
    splits = gate_report(reference)["splits"]
    assert sum(split["rows"] for split in splits.values()) == 1000
    for split in splits.values():
        assert sum(split["classes"].values()) == split["rows"]
        assert list(split["classes"]) == ["hold", "release", "flush"]


def test_too_few_rows_of_a_class_are_refused_with_the_count(reference, sluice):
    refused = sluice("--set", "data_gate.min_rows_per_class={train: 300, eval: 0}")
    assert refused.exit_code == 4
    classes = gate_report(refused)["splits"]["train"]["classes"]
    for name, count in classes.items():
        told = f"{count} of {sum(classes.values())} rows" in refused.stdout and f"of class '{name}'" in refused.stdout
        assert told == (count < 300)


def test_first_run_has_nothing_to_compare_with(reference):
    report = gate_report(reference)
    assert (report["drift"]["against"], report["drift"]["note"]) == ("", "nothing is served yet")
    assert "Drift " not in reference.stdout


def test_unchanged_data_have_not_drifted(reference, sluice):
    again = sluice()
    assert re.search(r"^Drift   none: no feature differs from version \d+$", again.stdout, re.MULTILINE)
    assert again.states["DataGate"] == "done"


def test_drift_is_warned_of_or_refused(reference, sluice, edited_csv):
    options = ["--set", f"example_gen.input_dir={edited_csv(shift_ph)}", "--set", "trainer.num_epochs=1"]
    warned = sluice(*options)
    assert warned.exit_code in (0, 3)
    (served,) = re.findall(r"^Drift   from version (\d+): 1 of 11 features above their threshold$", warned.stdout, re.M)
    pattern = rf"Data    warning: 'ph' in the train split: Jensen-Shannon divergence 0\.\d+ from what version {served}"
    assert re.search(pattern, warned.stdout)
    distances = gate_report(warned)["drift"]["distances"]
    assert [each["feature"] for each in distances if each["value"] > 0.15] == ["ph"]
    assert len(distances) == 11

    refused = sluice(*options, "--set", "data_gate.drift.severity=fail")
    assert refused.exit_code == 4
    assert refused.last_line.startswith("DATA REFUSED: 'ph' in the train split: Jensen-Shannon divergence 0.")
    assert gate_report(refused)["drift"]["distances"] == distances
    passed = sluice(*options, "--set", "data_gate.drift={severity: fail, thresholds: {ph: 1.0}}")
    assert passed.states["DataGate"] == "done"
    assert "Data    warning" not in passed.stdout


def test_skew_against_logged_requests_is_warned_of(reference, sluice, reference_csv, tmp_path):
    header, *lines = [line.split(",") for line in reference_csv.read_text().splitlines()]
    rows = [dict(zip(header[:-1], map(float, cells), strict=False)) for cells in lines]
    bodies = [json.dumps({"instances": [row | {"rainfall_mm": row["rainfall_mm"] + 40}]}) for row in rows]
    (tmp_path / "requests.jsonl").write_text("\n".join([*bodies, "{"]))
    skewed = sluice("--set", f"data_gate.skew={{requests: {tmp_path}/requests.jsonl}}")
    assert skewed.exit_code == 0
    assert f"warning: left out of {tmp_path}/requests.jsonl: line 1001 is not JSON" in skewed.stdout
    assert "warning: 'rainfall_mm' in the train split: Jensen-Shannon divergence" in skewed.stdout
    assert re.search(r"^Skew    from 1000 requests of .*: 1 of 10 features above their threshold$", skewed.stdout, re.M)
