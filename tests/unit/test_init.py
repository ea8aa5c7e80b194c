"""What `sluice init` decides about columns, what it writes, and what it refuses."""

import gzip
import os
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from components.example_gen.csv_table import CsvOptions
from components.example_gen.tables import open_table
from pipeline.cli import main
from pipeline.config import PipelineConfig, load_config
from pipeline.init.decision import InitError
from pipeline.init.decisions import Wishes, decide
from pipeline.init.hints import hints
from pipeline.init.profiles import null_words, profile_tables
from schema import feature_roles, load_schema

NUM_ROWS = 200
COLUMNS = {
    "x": [i / 7 for i in range(NUM_ROWS)],
    "y": ["yes" if (i * 7) % 10 < 4 else "no" for i in range(NUM_ROWS)],
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a CSV of columns, `x` and the label `y` among them, into the working directory."""
    monkeypatch.chdir(tmp_path)

    def run(name="rows.csv", **columns):
        frame = pd.DataFrame(COLUMNS | columns)
        frame.to_parquet(name) if name.endswith(".parquet") else frame.to_csv(name, index=False)
        return name

    return run


def init(*arguments):
    return CliRunner().invoke(main, ["init", *arguments])


def decided(file, **wishes):
    options = CsvOptions()
    profiles = profile_tables([open_table(file, options)])
    null_words(profiles, options)
    decisions = decide(profiles, Wishes("y", **wishes))
    return {each.profile.name: each for each in decisions}, list(hints(decisions))


@pytest.mark.parametrize(
    ("values", "role", "why"),
    [
        ([i % 5 / 2 for i in range(NUM_ROWS)], "numeric", "numbers from 0 to 2"),
        ([i % 9 for i in range(NUM_ROWS)], "numeric", "whole numbers from 0 to 8"),
        (["NA" if i % 9 == 0 else str(i % 7) for i in range(NUM_ROWS)], "numeric", "whole numbers from 0 to 6"),
        (["007" if i % 2 else "012" for i in range(NUM_ROWS)], "categorical", "2 categories, listed in the schema"),
        (["red" if i % 3 else "blue" for i in range(NUM_ROWS)], "categorical", "2 categories, listed in the schema"),
        ([f"town {i % 120}" for i in range(NUM_ROWS)], "left out", "120 categories in 200 rows: most are too rare"),
        ([i % 3 == 0 for i in range(NUM_ROWS)], "categorical", "true or false"),
        ([f"C-{i}" for i in range(NUM_ROWS)], "id", "has another value in every row"),
        (list(range(1000, 1000 + NUM_ROWS)), "id", "has another value in every row"),
        (["same"] * NUM_ROWS, "left out", "is constant: 'same'"),
        ([None] * NUM_ROWS, "left out", "has no value in any row"),
        ([f"2024-01-{i % 28 + 1:02}" for i in range(NUM_ROWS)], "left out", "is a date or time; derive numbers"),
        ([f"{i} said something that is much longer than a name" for i in range(NUM_ROWS)], "left out", "is free text"),
        (["A" if each == "yes" else "B" for each in COLUMNS["y"]], "left out", "is 'y' under another name"),
    ],
    ids=["number", "integer", "NA", "leading zeros", "text", "many texts", "boolean", "id", "numbered", "constant",
         "empty", "date", "free text", "label again"],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_column_is_decided_by_what_it_holds(write, values, role, why, ending):
    if ending == "parquet" and "NA" in values:
        pytest.skip("a Parquet file has a word of its own for what is missing")
    found, _ = decided(write(f"rows.{ending}", it=values))
    assert found["it"].role == role
    assert why in found["it"].why


@pytest.mark.parametrize(
    ("name", "values", "role"),
    [
        ("region_code", [i % 4 * 100 for i in range(NUM_ROWS)], "categorical"),
        ("customer_id", [i * 13 % 1009 for i in range(NUM_ROWS)], "id"),
        ("account_id", [i % 40 for i in range(NUM_ROWS)], "numeric"),
    ],
)
def test_name_decides_where_numbers_do_not(write, name, values, role):
    found, told = decided(write(**{name: values}))
    assert found[name].role == role
    assert any("is that of an id" in each for each in told) == (name == "account_id")


def test_missing_cells_make_a_column_optional(write):
    found, _ = decided(write(it=[None if i % 4 == 0 else i / 3 for i in range(NUM_ROWS)]))
    assert not found["it"].feature.HasField("shape")
    assert found["it"].profile.num_missing == NUM_ROWS / 4
    assert found["x"].feature.HasField("shape")


def test_column_that_tells_the_label_is_flagged(write):
    by_value = [("a", "b")[each == "yes"] + str(i % 2) for i, each in enumerate(COLUMNS["y"])]
    by_range = [(100 if each == "yes" else 0) + i % 60 for i, each in enumerate(COLUMNS["y"])]
    _, told = decided(write(code=by_value, score=by_range, fair=[i % 6 for i in range(NUM_ROWS)]))
    assert [re.match(r"(\w+): tells 'y' by itself", each)[1] for each in told] == ["code", "score"]


def test_rare_class_is_told(write):
    _, told = decided(write(y=["rare" if i % 40 == 3 else "common" for i in range(NUM_ROWS)]))
    assert told == ["y: class 'rare' has 5 rows, too few to learn or to judge."]
    _, told = decided(write(y=["rare" if i % 10 == 3 else "common" for i in range(NUM_ROWS)]))
    assert told == ["y: class 'rare' has 20 rows, the largest 180; training balances them."]


def test_wishes_come_first(write):
    file = write(w=[1.0, 2.5] * 100, a=["k", "l"] * 100, b=[i % 3 for i in range(NUM_ROWS)])
    found, _ = decided(file, weight="w", ids=("a",), ignored=("b",))
    assert {name: each.role for name, each in found.items()} == {
        "x": "numeric", "y": "label", "w": "weight", "a": "id", "b": "left out",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, "a"] * 100, "the label 'y': 100 of 200 rows have none. Remove those rows."),
        (["a"] * NUM_ROWS, "every row has the same value, 'a'; there is nothing to learn"),
        ([i / 3 for i in range(NUM_ROWS)], "it holds numbers with fractions. This pipeline predicts classes"),
        ([f"n{i}" for i in range(NUM_ROWS)], "it has 200 different values in 200 rows; classes are fewer"),
        ([0.0, 1.0] * 100, "its classes are written with decimals. Write them as whole numbers"),
        (["2024-01-01", "2024-01-02"] * 100, "it is time, which cannot be a class"),
    ],
)
def test_label_that_is_none_is_refused(write, values, message):
    with pytest.raises(InitError, match=message):
        decided(write(y=values))


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0, 1, 2, 0] * 50, ("0", "1", "2")),
        ([-1, 1] * 100, ("-1", "1")),
        ([3, 10, 2, 3] * 50, ("2", "3", "10")),
        ([True, False] * 100, ("False", "True")),
        (["b", "a"] * 100, ("a", "b")),
    ],
)
def test_label_of_any_kind_becomes_classes(write, values, names):
    result = init(write(y=values), "--label", "y")
    assert result.exit_code == 0, result.output
    roles = feature_roles(load_schema("rows/schema.pbtxt"), "y")
    assert roles.class_names == names


def test_config_is_whole_and_loads(write):
    missing = [None if i % 4 == 0 else i for i in range(NUM_ROWS)]
    result = init(write(n=missing, c=["k"] * NUM_ROWS), "--label", "y")
    assert result.exit_code == 0, result.output
    config = load_config("rows/pipeline.yaml")
    assert config.pipeline_name == "rows"
    assert config.transform.missing_indicator
    assert config.example_gen.ignore_columns == ("c",)
    assert config.evaluator.thresholds[0].lower_bound == 0.8  # half way from 60 % to 100 %
    text = Path("rows/pipeline.yaml").read_text()
    for name, field in PipelineConfig.model_fields.items():
        if name not in ("image", "tasks", "vertex", "kubeflow"):  # of a compiled pipeline
            assert re.search(rf"^{name}:", text, re.MULTILINE), name
            for key in set(getattr(field.annotation, "model_fields", {})) - {"module_file"}:
                assert re.search(rf"^  {key}:", text, re.MULTILINE), f"{name}.{key}"


def test_table_and_next_command_are_printed(write):
    result = init(write(c=["k"] * NUM_ROWS), "--label", "y")
    assert "200 rows, 3 columns" in result.output
    assert re.search(r"x +numeric +FLOAT +200 +numbers from 0 to 28.4286", result.output)
    assert re.search(r"c +left out +1 +is constant: 'k'", result.output)
    assert result.output.splitlines()[-1] == "Next:    sluice run rows/pipeline.yaml"


def test_folder_pattern_and_other_delimiter_are_found(write, tmp_path):
    for day in (1, 2):
        pd.DataFrame(COLUMNS).to_csv(f"day-{day}.txt", index=False, sep=";")
    result = init("day-*.txt", "--label", "y", "--name", "days")
    assert result.exit_code == 0, result.output
    assert "2 files, 400 rows" in result.output
    assert "Cells are divided by ';'." in result.output
    config = load_config("days/pipeline.yaml")
    assert (config.example_gen.delimiter, config.example_gen.pattern) == (";", "day-*.txt")
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "a.csv.gz").write_bytes(gzip.compress((tmp_path / write()).read_bytes()))
    assert init("all", "--label", "y").exit_code == 0
    assert load_config("all/pipeline.yaml").example_gen.pattern == "*.csv.gz"


def test_words_for_missing_are_found_and_said(write):
    result = init(write(n=["NA" if i % 9 == 0 else "?" if i % 10 == 0 else i for i in range(NUM_ROWS)]), "--label", "y")
    assert "Missing values are also written ?, NA." in result.output
    assert load_config("rows/pipeline.yaml").example_gen.null_values == ("", "?", "NA")


def test_existing_files_are_kept_unless_forced(write):
    file = write()
    assert init(file, "--label", "y").exit_code == 0
    before = os.stat("rows/schema.pbtxt").st_mtime_ns
    result = init(file, "--label", "y")
    assert result.exit_code == 2
    assert "rows/schema.pbtxt and rows/pipeline.yaml exist already. Give --force to write over them." in result.output
    assert os.stat("rows/schema.pbtxt").st_mtime_ns == before
    assert init(file, "--label", "y", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "--label", "y"], "there is no file nowhere.csv"),
        (["rows.csv", "--label", "yy"], "--label: rows.csv has no column 'yy'. Did you mean 'y'?"),
        (["rows.csv", "--label", "z9"], "--label: rows.csv has no column 'z9'. Its columns: x, y."),
        (["rows.csv", "--label", "y", "--id", "k"], "--id: rows.csv has no column 'k'"),
        (["rows.csv", "--label", "y", "--ignore", "y"], "'y' is given twice"),
        (["rows.csv", "--label", "y", "--ignore", "x"], "no column is left to predict the label from"),
        (["text.csv", "--label", "y", "--weight", "t"], "the weight 't' must be a number of at least 0 in every row"),
        (["empty.csv", "--label", "y"], "empty.csv is empty"),
        (["header.csv", "--label", "y"], "header.csv has no rows"),
        (["twice.csv", "--label", "y"], "twice.csv has the column 'x' 2 times"),
        (["latin.csv", "--label", "y"], "latin.csv line 1: is not utf-8 text"),
        (["mixed", "--label", "y"], "mixed holds .csv, .parquet. Name one kind of files by a quoted pattern"),
        (["*.cs?", "--label", "y"], "has other columns than"),
        (["rows.csv", "--label", "y", "--output-dir", "text.csv"], "text.csv is no folder. Give --output-dir."),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(write, tmp_path, arguments, message):
    write()
    write("text.csv", t=["a", "b"] * 100)
    for name, content in {
        "empty.csv": b"", "header.csv": b"x,y\n", "twice.csv": b"x,x,y\n1,2,3\n", "latin.csv": b"x,\xe9\n1,2\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    (tmp_path / "mixed").mkdir()
    for name in ("a.csv", "b.parquet"):
        (tmp_path / "mixed" / name).write_text("x,y\n1,2\n")
    if arguments[0] == "*.cs?":
        for name in ("empty.csv", "header.csv", "twice.csv", "latin.csv"):
            (tmp_path / name).unlink()
    result = init(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "rows").exists()


def test_label_written_in_several_cases_is_two_classes(write):
    file = write(y=[("True", "TRUE", "false", "False")[i % 4] for i in range(NUM_ROWS)])
    assert init(file, "--label", "y").exit_code == 0
    assert len(feature_roles(load_schema("rows/schema.pbtxt"), "y").class_names) == 2


def test_nan_in_parquet_is_missing_and_said(write):
    values = [float("nan") if i % 4 == 0 else i / 3 for i in range(NUM_ROWS)]
    pq.write_table(pa.table(COLUMNS | {"it": values}), "rows.parquet")  # pandas would write null
    result = init("rows.parquet", "--label", "y")
    assert re.search(r"it +numeric +FLOAT +50 ", result.output), result.output
    assert load_config("rows/pipeline.yaml").example_gen.null_values == ("", "NaN")


def test_word_for_missing_that_is_a_category_elsewhere_is_told(write):
    result = init(
        write(n=["NA" if i % 9 == 0 else i for i in range(NUM_ROWS)], land=["NA", "DE", "FR", "IT"] * 50),
        "--label",
        "y",
    )
    assert "Look at land: 50 cells that say NA are taken for missing" in result.output
    result = init(
        write(n=["none" if i % 9 == 0 else i for i in range(NUM_ROWS)], y=["none", "some"] * 100),
        "--label",
        "y",
        "--force",
    )
    assert result.exit_code == 2
    assert (
        "the label 'y': its class none stands for a missing value among the numbers of another column" in result.output
    )


def test_numbers_that_are_too_large_stay_numbers_and_are_told(write):
    found, told = decided(write(it=["1e300" if i == 7 else i / 3 for i in range(NUM_ROWS)]))
    assert found["it"].role == "numeric"
    assert told == [
        "it: 1 cells are no finite 32-bit numbers; a run refuses such rows, or keeps them aside with "
        "example_gen.bad_rows: quarantine."
    ]


def test_large_whole_numbers_keep_their_digits(write):
    found, _ = decided(write(it=[3_000_000_001 + i for i in range(NUM_ROWS)]))
    assert found["it"].role == "id"


def test_uneven_rows_are_told(write, tmp_path):
    file = tmp_path / write()
    file.write_text(file.read_text() + "1\n2,no,3\n")
    result = init("rows.csv", "--label", "y")
    assert result.exit_code == 0
    assert "Look at rows with another number of cells than the header line: 2. A run refuses them" in result.output


def test_names_of_files_and_columns_do_no_harm(write):
    for name in ("yes.csv", "null.csv", "été 2.csv"):
        result = init(write(name, **{"a\nb": ["k"] * NUM_ROWS, 'say "x"': [1, 2] * 100}), "--label", "y")
        assert result.exit_code == 0, result.output
    result = init(write("a*b.csv"), "--label", "y")
    assert "the name a*b.csv holds one of * ? [ ] { }, which patterns have. Rename the file." in result.output


def test_feature_with_the_name_of_a_served_input_is_left_out(write):
    found, _ = decided(write(examples=[i % 7 for i in range(NUM_ROWS)]))
    assert (found["examples"].role, found["examples"].why[:36]) == ("left out", "has the name of an input of the serv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--encoding", "nonsense"], "--encoding: Python knows no 'nonsense'. Expected one such as utf-8"),
        (["--delimiter", ";;"], "--delimiter: ';;' is not one character"),
        (["--delimiter", ""], "--delimiter: '' is not one character"),
    ],
)
def test_option_that_is_none_is_refused(write, options, message):
    result = init(write(), "--label", "y", *options)
    assert (result.exit_code, message in result.output) == (2, True), result.output


def test_text_of_another_encoding_is_named(write, tmp_path):
    (tmp_path / write()).write_bytes("x,y\n1.5,grün\n2.5,rot\n".encode("latin-1") * 1 + b"3,rot\n" * 50)
    result = init("rows.csv", "--label", "y")
    assert "column 'y' has text that is not UTF-8. Give --encoding." in result.output
    assert init("rows.csv", "--label", "y", "--encoding", "latin-1").exit_code == 0


def test_nothing_is_left_or_lost_when_what_is_written_does_not_load(write, tmp_path):
    file = write()
    assert init(file, "--label", "y").exit_code == 0
    before = Path("rows/pipeline.yaml").read_text()
    result = init(file, "--label", "y", "--force", "--name", "Not A Name!" * 20)
    assert result.exit_code in (0, 2)
    os.rename("rows/schema.pbtxt", "kept.pbtxt")
    (tmp_path / "rows" / "schema.pbtxt").mkdir()
    result = init(file, "--label", "y", "--force")
    assert result.exit_code == 2
    assert Path("rows/pipeline.yaml").read_text() == before


def test_parquet_with_text_that_is_none_is_named(write):
    bad = pa.array([b"gr\xfcn", b"rot"] * 100).view(pa.string())
    pq.write_table(pa.table(COLUMNS | {"t": bad}), "rows.parquet")
    result = init("rows.parquet", "--label", "y")
    assert (result.exit_code, result.output) == (2, "Error: rows.parquet holds text that is not UTF-8.\n")
