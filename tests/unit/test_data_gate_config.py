"""What the config section `data_gate` takes, and how it names what it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.config_errors import ConfigError


def test_settings_reach_the_gate(reference_config_file, tmp_path):
    (tmp_path / "requests.jsonl").write_text("")
    overrides = [
        "data_gate.rules=[{feature: ph, anomaly: FLOAT_TYPE_BIG_FLOAT, split: eval, severity: warn}]",
        "data_gate.drift.thresholds={ph: 0.2}",
        f"data_gate.skew={{requests: {tmp_path}/requests.jsonl, severity: fail, threshold: 0.3}}",
    ]
    config = load_config(reference_config_file, overrides)
    assert config.data_gate.settings("gate_action") == {
        "severity": "fail",
        "rules": [{"feature": "ph", "anomaly": "FLOAT_TYPE_BIG_FLOAT", "split": "eval", "severity": "warn"}],
        "min_rows": {"train": 1, "eval": 1, "test": 1},
        "min_rows_per_class": {"train": 1, "eval": 0, "test": 0},
        "drift": {"severity": "warn", "threshold": 0.15, "thresholds": {"ph": 0.2}},
        "skew": {"severity": "fail", "threshold": 0.3, "thresholds": {}},
        "label": "gate_action",
    }
    assert config.run_parameters()["serving_requests"] == f"{tmp_path}/requests.jsonl"
    assert "serving_requests" not in load_config(reference_config_file).run_parameters()
    deployed = load_config(reference_config_file, [*overrides, "vertex.serving_requests=gs://bucket/requests"])
    assert deployed.run_parameters(deployed.vertex)["serving_requests"] == "gs://bucket/requests"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data_gate.rules=[{feature: phh, severity: warn}]",
            r"data_gate: rules\[0\]\.feature: 'phh' is not a feature of the schema\. "
            r"Expected one of: water_level_m, .*, gate_action\. Did you mean 'ph'\?",
        ),
        (
            "data_gate.rules=[{anomaly: float_type_has_nan, severity: warn}]",
            r"data_gate\.rules\[0\]\.anomaly: 'float_type_has_nan' is not an anomaly\. "
            r"Expected one of: UNKNOWN_TYPE, .*\. Did you mean 'FLOAT_TYPE_HAS_NAN'\?",
        ),
        (
            "data_gate.rules=[{anomaly: COMPARATOR_L_INFTY_HIGH, severity: warn}]",
            r"'COMPARATOR_L_INFTY_HIGH' is not an anomaly\.",
        ),
        ("data_gate.rules=[{split: eval, severity: warn}]", r"names no anomaly\. Give feature, anomaly or both\."),
        ("data_gate.rules=[{feature: ph}]", r"rules\[0\]\.severity: is missing\."),
        ("data_gate.rules=[{feature: ph, split: tests, severity: warn}]", r"'tests' is not one of its values\."),
        ("data_gate.severity=warning", r"'warning' is not one of its values\.\nExpected one of: fail, warn, ignore\."),
        ("data_gate.min_rows.eval=0", r"data_gate\.min_rows\.eval: .*greater than or equal to 1"),
        ("data_gate.min_rows_per_class.train=-1", r"min_rows_per_class\.train: .*greater than or equal to 0"),
        ("data_gate.drift.threshold=1.5", r"data_gate\.drift\.threshold: .*less than or equal to 1"),
        ("data_gate.drift.thresholds={phh: 0.2}", r"data_gate: drift\.thresholds\.phh: 'phh' is not a feature"),
        ("data_gate.skew={requests: no.jsonl}", r"data_gate\.skew\.requests: there is no local file .*/no\.jsonl\."),
        ("data_gate.skew={severity: warn}", r"data_gate\.skew\.requests: is missing\."),
        (
            "kubeflow={serving_requests: /mnt/requests}",
            r"serving_requests /mnt/requests lies on none of the volumes",
        ),
    ],
)
def test_mistake_is_named_with_its_key(reference_config_file, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(reference_config_file, [override])


def test_classes_are_counted_only_of_a_categorical_label(reference_config_file, reference_schema_file, tmp_path):
    text = Path(reference_schema_file).read_text().replace(" is_categorical: true", "")
    (tmp_path / "schema.pbtxt").write_text(text)
    override = f"schema_gen.schema_file={tmp_path}/schema.pbtxt"
    with pytest.raises(
        ConfigError, match=r"min_rows_per_class: .*'gate_action' has is_categorical: true in its int_dom"
    ):
        load_config(reference_config_file, [override])
    load_config(reference_config_file, [override, "data_gate.min_rows_per_class={train: 0, eval: 0}"])


def test_comparisons_can_be_turned_off(reference_config_file):
    config = load_config(reference_config_file, ["data_gate.drift=null"])
    assert (config.data_gate.drift, config.data_gate.skew) == (None, None)


def test_names_of_anomalies_need_neither_tensorflow_nor_tfx():
    code = "import sys, pipeline.config; print({'tensorflow', 'tfx', 'tensorflow_data_validation'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
