"""Tables of all kinds through `sluice init` and the command that it prints, unedited, up to predictions."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import tensorflow as tf
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MinMaxScaler
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.run_report.facts import load_facts

pytestmark = pytest.mark.e2e

SLUICE = str(Path(sys.executable).parent / "sluice")
WORST = 0.02  # below logistic regression


class Sluice:
    """Command lines of `sluice` in one folder and one process."""

    def __init__(self, folder):
        self.folder = folder
        worker = [sys.executable, str(Path(__file__).parent / "gate_worker.py")]
        self.process = subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)

    def __call__(self, *arguments):
        output_file = self.folder / "terminal.txt"
        self.process.stdin.write(json.dumps([str(output_file), arguments]) + "\n")
        self.process.stdin.flush()
        exit_code = int(self.process.stdout.readline())
        return exit_code, output_file.read_text()

    def facts(self, output):
        """Returns what the report tells of the run that printed `output`."""
        page = self.folder / re.search(r"^Report  (.+)$", output, re.MULTILINE)[1]
        facts = load_facts(page.with_name("facts.json"))
        assert facts["problems"] == []
        return facts

    def examples(self, name, split, label):
        """Returns features `[num_rows, num_features]` and labels of a split, as the run's ExampleGen wrote them."""
        newest = max((self.folder / "output" / "pipelines" / name / "ExampleGen" / "examples").iterdir())
        files = [str(file) for file in (newest / f"Split-{split}").iterdir()]
        records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
        batch = ExamplesToRecordBatchDecoder().DecodeBatch(records)
        columns = {key: column.flatten().to_pylist() for key, column in zip(batch.schema.names, batch, strict=True)}
        labels = columns.pop(label)
        return np.array(list(columns.values())).T, np.array(labels).astype(str)


@pytest.fixture(scope="module")
def sluice(tmp_path_factory):
    run = Sluice(tmp_path_factory.mktemp("tables"))
    yield run
    run.process.stdin.close()
    run.process.wait()


@pytest.mark.parametrize(
    ("name", "ending"),
    [("iris", "csv"), ("wine", "parquet"), ("breast_cancer", "csv"), ("digits", "parquet")],
)
def test_model_is_pushed_and_as_good_as_logistic_regression(sluice, name, ending):
    found = getattr(datasets, f"load_{name}")(as_frame=True)
    names = [str(each) for each in found.target_names]
    target = found.target if name == "digits" else [names[value] for value in found.target]
    frame = found.data.assign(target=target)
    file = sluice.folder / f"{name}.{ending}"
    frame.to_parquet(file) if ending == "parquet" else frame.to_csv(file, index=False)

    exit_code, output = sluice("init", file.name, "--label", "target")
    assert exit_code == 0, output
    next_command = output.splitlines()[-1].removeprefix("Next:    sluice ").split()
    exit_code, output = sluice(*next_command)
    assert exit_code == 0, output
    accuracy = float(re.search(r"^PUSHED: accuracy (\d\.\d+) >= \d\.\d+ on \d+ eval rows", output, re.MULTILINE)[1])

    pipeline_name = name.replace("_", "-")
    features, labels = sluice.examples(pipeline_name, "train", "target")
    eval_features, eval_labels = sluice.examples(pipeline_name, "eval", "target")
    scaler = MinMaxScaler().fit(features)
    regression = LogisticRegression(max_iter=5000).fit(scaler.transform(features), labels)
    baseline = regression.score(scaler.transform(eval_features), eval_labels)
    print(f"{name} ({ending}): accuracy {accuracy:.3f}, logistic regression {baseline:.3f}")
    assert len(labels) + len(eval_labels) == len(frame)
    facts = sluice.facts(output)
    assert facts["evaluation"]["classes"] == sorted(names)
    assert np.trace(facts["evaluation"]["confusion"]) / facts["evaluation"]["rows"] == pytest.approx(accuracy, abs=6e-4)
    assert accuracy >= baseline - WORST
    version = max((sluice.folder / "output" / "serving_model" / pipeline_name).glob("[0-9]*"))
    manifest = json.loads((version / "sluice_manifest.json").read_text())
    assert manifest["roles"]["class_names"] == sorted(names)


def make_table(num_rows=1200):
    random = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "customer_id": [f"C{i:05}" for i in range(num_rows)],
            "age": random.integers(18, 90, num_rows),
            "income": random.lognormal(10, 0.5, num_rows).round(2),
            "town": random.choice(["Ulm", "Bonn", "Rome, IT", "Köln"], num_rows, p=[0.4, 0.3, 0.2, 0.1]),
            "is_member": random.random(num_rows) < 0.5,
            "region_code": random.choice([101, 205, 307, 999], num_rows),
            "country": "DE",
            "months": random.uniform(0.5, 2, num_rows).round(3),
        }
    )
    score = (table.age - 50) / 20 + 1.2 * (table.town == "Ulm") - 1.5 * (table.town == "Rome, IT")
    score += 1.1 * table.is_member + 0.8 * (table.region_code == 205) + random.normal(0, 0.5, num_rows)
    table["bought"] = np.where(score > 0.6, "yes", "no")
    for column in ("age", "income", "town", "is_member", "region_code"):
        table[column] = table[column].astype(object)
        table.loc[random.random(num_rows) < 0.05, column] = None
    return table


@pytest.fixture(scope="module")
def mixed(sluice):
    """A pushed model of a table with all kinds of columns; its run's output."""
    make_table().to_csv(sluice.folder / "mixed.csv", index=False)
    exit_code, output = sluice("init", "mixed.csv", "--label", "bought", "--weight", "months")
    assert exit_code == 0, output
    exit_code, output = sluice("run", "mixed/pipeline.yaml")
    assert exit_code == 0, output
    new = make_table(60).drop(columns=["bought", "months"])
    new.loc[:9, "town"] = "Paris"
    new.to_csv(sluice.folder / "new.csv", index=False)
    return output


def test_every_kind_of_column_is_trained_on(sluice, mixed):
    assert re.search(r"^PUSHED: accuracy 0\.\d+ >= 0\.\d+ on \d+ eval rows weighted by months; ", mixed, re.MULTILINE)
    schema = (sluice.folder / "mixed" / "schema.pbtxt").read_text()
    assert set(re.findall(r'name: "(\w+)"', schema)) == set(make_table(9).columns) - {"country"}
    assert 'tag: "id"' in schema
    assert 'tag: "weight"' in schema


def test_report_follows_a_row_through_every_kind_of_column(sluice, mixed):
    facts = sluice.facts(mixed)
    columns = {each["name"]: each for each in facts["data"]["features"]}
    kinds = {name: each["kind"] for name, each in columns.items()}
    assert kinds == dict.fromkeys(("age", "income"), "numeric") | dict.fromkeys(
        ("town", "is_member", "region_code"), "categorical"
    ) | {"customer_id": "id", "months": "weight", "bought": "label"}
    assert {each["value"] for each in columns["town"]["top"]} == {"Ulm", "Bonn", "Rome, IT", "Köln"}
    assert all(columns[name]["missing"] > 0 for name in ("age", "town", "is_member"))
    row, layers = facts["row"], {each["name"]: each["numbers"] for each in facts["row"]["layers"]}
    assert row["label"] in ("no", "yes")
    assert row["raw"][0]["name"] == "customer_id"
    assert len(row["transformed_numbers"]) == 7  # and whether age and income were missing
    assert sorted(set(layers["town_xf_one_hot"])) == [0.0, 1.0]
    assert layers["town_xf_one_hot"].index(1.0) == row["transformed_numbers"]["town_xf"]
    assert layers["logits"] == row["logits"]
    card = next((sluice.folder / "output" / "serving_model" / "mixed").glob("*/MODEL_CARD.md")).read_text()
    assert "| town | categorical | " in card
    assert "weighted by months" in card


def test_rows_with_unseen_and_missing_values_are_predicted(sluice, mixed):
    exit_code, output = sluice(
        "predict", "new.csv", "--config", "mixed/pipeline.yaml", "--id", "customer_id", "--output", "out.csv"
    )
    assert exit_code == 0, output
    assert "WARNING: town: 10 of 60 values are none of the schema's categories; predicted all the same." in output
    predicted = pd.read_csv(sluice.folder / "out.csv")
    assert predicted.customer_id.tolist() == make_table(60).customer_id.tolist()
    assert set(predicted.predicted_class) == {"yes", "no"}


def test_server_takes_missing_and_unseen_values(sluice, mixed):
    command = [SLUICE, "serve", "--config", "mixed/pipeline.yaml", "--rest-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, cwd=sluice.folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            urls = (re.search(r"REST (http://\S+)", line) for line in iter(process.stdout.readline, ""))
            url = next(match[1] for match in urls if match)
            deadline = time.monotonic() + 60
            while "AVAILABLE" not in requests.get(url, timeout=10).text:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            (version,) = (sluice.folder / "output" / "serving_model" / "mixed").glob("[0-9]*")
            request = json.loads((version / "request.json").read_text())
            rows = requests.post(f"{url}:predict", json=request, timeout=10).json()["predictions"]
            assert len(rows) == 3
            missing = {
                "age": [np.nan],
                "income": [np.nan],
                "is_member": [np.nan],
                "region_code": [np.nan],
                "town": [""],
            }
            body = json.dumps(request | {"instances": [missing]})  # `json=` refuses NaN, which TF Serving reads
            answer = requests.post(f"{url}:predict", data=body, timeout=10).json()["predictions"][0]
            examples = [{}, {"age": 40, "town": "Paris"}, {"age": 40, "town": "Madrid"}]
            body = {"signature_name": "classify", "examples": examples}
            classified = [
                dict(row) for row in requests.post(f"{url}:classify", json=body, timeout=10).json()["results"]
            ]
            np.testing.assert_allclose([classified[0][name] for name in ("no", "yes")], answer["probabilities"], 1e-5)
            assert classified[1] == classified[2]
            assert classified[1] != classified[0]
        finally:
            process.terminate()


def test_other_splits_and_a_quarantine_run_to_the_end(sluice, mixed):
    table = make_table(900).astype(object)
    table.loc[5, "age"] = "old"
    table.to_csv(sluice.folder / "mixed.csv", index=False)
    options = ["example_gen.bad_rows=quarantine", "example_gen.split={by: row, stratify: true}"]
    options += [
        "example_gen.split_buckets={train: 3, eval: 1, test: 1}",
        "trainer.class_weight=balanced",
        "evaluator.thresholds=[{metric: accuracy, lower_bound: 0.7}]",
    ]
    exit_code, output = sluice(
        "run", "mixed/pipeline.yaml", *(word for option in options for word in ("--set", option))
    )
    assert exit_code == 0, output
    rows = [int(each) for each in re.search(r"899 rows \(train (\d+), eval (\d+), test (\d+)\)", output).groups()]
    np.testing.assert_allclose(rows, [540, 180, 180], atol=2)
    assert "Input   warning: 1 row with faults left out (0.11%)" in output
    kept = Path(sluice.folder, re.search(r"they are kept in (\S+)", output)[1]).read_text()
    assert json.loads(kept)["reasons"] == ["column 'age' 'old' is not a whole number"]
    assert re.search(rf"^PUSHED: accuracy .* on {rows[2]} test rows weighted by months", output, re.MULTILINE)
