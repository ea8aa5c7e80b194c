"""What `sluice predict` refuses before it predicts anything, and what it reads."""

import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.example_gen.csv_table import CsvOptions
from pipeline.prediction.features import check_cells, parse_features
from pipeline.prediction.predictors import check_server, find_version
from pipeline.prediction.request import check_request
from pipeline.prediction.tables import InputError, open_table, rechunk

SCHEMA = """
feature {
  name: "level" type: FLOAT shape { dim { size: 1 } }
  float_domain { min: 0 max: 10 disallow_nan: true disallow_inf: true }
}
feature { name: "gates" type: INT shape { dim { size: 1 } } int_domain { min: 0 max: 5 } }
feature { name: "wind" type: FLOAT shape { dim { size: 1 } } }
"""
MIXED = """
feature { name: "town" type: BYTES shape { dim { size: 1 } } string_domain { value: "Ulm" value: "Bonn" } }
feature { name: "colour" type: BYTES }
feature { name: "zone" type: INT int_domain { is_categorical: true } }
feature { name: "depth" type: FLOAT }
feature { name: "open" type: INT shape { dim { size: 1 } } bool_domain {} }
"""


@pytest.fixture(scope="module")
def features():
    return list(text_format.Parse(SCHEMA, schema_pb2.Schema()).feature)


@pytest.fixture
def csv_file(tmp_path):
    def write(text, name="rows.csv"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


@pytest.fixture
def parquet_file(tmp_path):
    def write(**columns):
        pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
        return tmp_path / "rows.parquet"

    return write


def parsed(file, features):
    table = open_table(file)
    names = [feature.name for feature in features]
    columns = [parse_features(chunk, features) for chunk in rechunk(table.batches(names), 2)]
    return {name: np.concatenate([part[name] for part in columns]) for name in names}


def refusal(file, features):
    with pytest.raises(InputError) as info:
        check_cells(open_table(file), features)
    return str(info.value).replace(f"{file.parent}/", "").splitlines()


def test_csv_cells_are_read_as_python_reads_numbers(csv_file, features):
    file = csv_file('wind,id,level,gates\n +1.5 ,a,"2",3\n1e3,b,2.5,+4\nnan,c,0.1,5\n')
    columns = parsed(file, features)
    np.testing.assert_array_equal(columns["level"], np.array([[2], [2.5], [0.1]], np.float32))
    np.testing.assert_array_equal(columns["gates"], np.array([[3], [4], [5]]))
    np.testing.assert_array_equal(columns["wind"], np.array([[1.5], [1000], [np.nan]], np.float32))
    assert {name: str(values.dtype) for name, values in columns.items()} == {
        "level": "float32",
        "gates": "int64",
        "wind": "float32",
    }


def test_parquet_columns_of_other_types_are_read_as_numbers(parquet_file, features):
    file = parquet_file(
        level=pa.array(["1", "2.5"]).dictionary_encode(), gates=pa.array([1.0, 2.0]), wind=pa.array([7, 2**60])
    )
    columns = parsed(file, features)
    np.testing.assert_array_equal(columns["level"][:, 0], np.float32([1, 2.5]))
    np.testing.assert_array_equal(columns["gates"][:, 0], [1, 2])
    np.testing.assert_array_equal(columns["wind"][:, 0], np.float32([7, 2**60]))


def test_wrong_cells_are_named_by_their_line_even_after_blank_lines_and_line_ends_in_quotes(csv_file, features):
    file = csv_file(
        'id,level,gates,wind\n\n"two\nlines",1,1,1\nx,,1.5,1\ny,abc,99999999999999999999,1\nz,nan,1,1\nz,1e39,1,1\n'
    )
    assert refusal(file, features) == [
        "rows.csv line 5: level: is empty.",
        "rows.csv line 6: level: 'abc' is not a number.",
        "rows.csv line 7: level: is NaN, which the schema forbids.",
        "rows.csv line 8: level: is infinite or too large for float32, which the schema forbids.",
        "rows.csv line 5: gates: '1.5' is not a whole number.",
        "rows.csv line 6: gates: '99999999999999999999' is not a whole number.",
    ]


def test_at_most_five_wrong_cells_of_a_feature_are_named(csv_file, features):
    lines = refusal(csv_file("level,gates,wind\n" + "1,1,x\n" * 12), features)
    assert lines[:5] == [f"rows.csv line {line}: wind: 'x' is not a number." for line in range(2, 7)]
    assert lines[5:] == ["rows.csv: 7 more such cells in wind."]


def test_wrong_parquet_cells_are_named_by_their_row(parquet_file, features):
    file = parquet_file(level=[1.0, None], gates=[0.5, 1.0], wind=[1, 2])
    assert refusal(file, features) == [
        "rows.parquet row 1 (counted from 0): level: is empty.",
        "rows.parquet row 0 (counted from 0): gates: '0.5' is not a whole number.",
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "level,gates,wind\n1,1,1\n1,1\n1,1,1,1\n",
            ["rows.csv line 3: 2 cells; the header line has 3.", "rows.csv line 4: 4 cells; the header line has 3."],
        ),
        ('level,gates,wind\n1,"1,1\n1,1,1\n', ["rows.csv line 3: 2 cells; the header line has 3."]),
        (b"level,gates,wind\n1,1,1\n1,1,\xff\n", ["rows.csv line 3: is not UTF-8 text."]),
    ],
)
def test_csv_that_cannot_be_read_to_its_end_is_named_by_line(csv_file, features, text, lines):
    assert refusal(csv_file(text), features) == lines


def test_values_outside_the_schema_s_domain_are_a_warning(csv_file, features):
    num_rows, warnings = check_cells(open_table(csv_file("level,gates,wind\n11,1,1\n-1,6,1\n1,1,1e9\n")), features)
    assert num_rows == 3
    assert warnings == [
        "WARNING: level: 2 of 3 values lie outside the schema's 0 to 10; predicted all the same.",
        "WARNING: gates: 1 of 3 values lie outside the schema's 0 to 5; predicted all the same.",
    ]


def test_all_problems_of_a_request_are_told_at_once(csv_file, features, tmp_path):
    file = csv_file("levl,gates,probability_a\n1,2,3\n")
    ids = ["station", "gates", "gates", "probability_a"]
    with pytest.raises(InputError) as info:
        check_request(file, tmp_path / "no" / "out.txt", features=features, class_names=["no", "yes"], id_columns=ids)
    assert str(info.value).replace(f"{tmp_path}/", "").splitlines() == [
        "--output: no/out.txt: '.txt' is no extension of a table. Give a name that ends in .csv or .parquet.",
        "--output: the folder no does not exist. Make it first.",
        "rows.csv has no column 'level' (feature). Did you mean 'levl'?",
        "rows.csv has no column 'wind' (feature).",
        "rows.csv has no column 'station' (id column).",
        "--id gates is given twice.",
        "--id probability_a: the output has a column of that name already. Rename it in the input.",
    ]


def test_parquet_column_that_cannot_be_numeric_or_written_is_refused(parquet_file, features, tmp_path):
    times = pa.array([0], pa.timestamp("ms"))
    file = parquet_file(level=times, gates=[1], wind=[1], tags=[["a"]])
    with pytest.raises(InputError) as info:
        check_request(
            file, tmp_path / "out.csv", features=features, class_names=["no", "yes"], id_columns=["tags", "level"]
        )
    assert str(info.value).replace(f"{tmp_path}/", "").splitlines() == [
        "rows.parquet: column level is timestamp[ms]; the model wants numbers.",
        "--id tags: a list<element: string> cannot be written to CSV. Give an --output that ends in .parquet.",
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", None, r"rows\.csv cannot be read: No such file or directory\."),
        ("rows.txt", "a\n", r"rows\.txt: '\.txt' is no extension of a table\."),
        ("rows.csv", "", r"rows\.csv is empty\. Its first line must name the columns\."),
        ("rows.csv", "a,b,a\n", r"rows\.csv has a more than once\. Give every column a name of its own\."),
        ("rows.parquet", "garbage", r"rows\.parquet cannot be read: Parquet "),
    ],
)
def test_file_that_is_no_table_is_refused(csv_file, tmp_path, name, text, message):
    file = csv_file(text, name) if text is not None else tmp_path / name
    with pytest.raises(InputError, match=message):
        open_table(file)


def test_output_must_not_be_the_input_nor_a_folder(csv_file, features, tmp_path):
    file = csv_file("level,gates,wind\n")
    with pytest.raises(InputError, match="is the input itself"):
        check_request(
            file,
            tmp_path / ".." / tmp_path.name / "rows.csv",
            features=features,
            class_names=["no", "yes"],
            id_columns=[],
        )
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(InputError, match=r"out\.csv is a folder"):
        check_request(file, tmp_path / "out.csv", features=features, class_names=["no", "yes"], id_columns=[])


def test_chunks_have_the_same_rows_in_order():
    batches = [pa.record_batch({"n": np.arange(start, stop)}) for start, stop in ((0, 1), (1, 8), (8, 10), (10, 10))]
    chunks = list(rechunk(batches, 4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    assert pa.concat_tables(chunks)["n"].to_pylist() == list(range(10))


@pytest.fixture
def pushed(tmp_path):
    for version in (3, 4, 7):
        (tmp_path / str(version)).mkdir()
        (tmp_path / str(version) / "saved_model.pb").touch()
    return tmp_path


def test_version_is_the_one_that_a_server_would_answer_with(pushed):
    from components.pusher.versions import assign_label

    assert find_version(pushed) == 7
    assign_label(pushed, 4, "stable")
    assert find_version(pushed) == 4
    assert find_version(pushed, "stable") == 4
    assert find_version(pushed, "3") == 3


def test_version_that_does_not_exist_is_refused(pushed, tmp_path):
    with pytest.raises(InputError, match=r"has no version 5\. Expected one of: 3, 4, 7\."):
        find_version(pushed, "5")
    with pytest.raises(InputError, match=r"has no version canary\."):
        find_version(pushed, "canary")
    with pytest.raises(InputError, match=r"empty has no pushed model\. Run `sluice run` first"):
        find_version(tmp_path / "empty")


def test_server_without_a_scheme_is_refused():
    expected = "--server: 'localhost:8501' is no server. Expected http:// or https:// or grpc:// and HOST:PORT."
    with pytest.raises(InputError, match=re.escape(expected)):
        check_server("localhost:8501")


def test_named_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(InputError, match=r"rows\.csv is no regular file"):
        open_table(tmp_path / "rows.csv")


def test_parquet_without_row_groups_has_no_rows(tmp_path):
    pq.ParquetWriter(tmp_path / "rows.parquet", pa.schema([("level", pa.float32())])).close()
    assert list(open_table(tmp_path / "rows.parquet").batches(["level"])) == []


def test_huge_cell_is_no_traceback(csv_file, features):
    file = csv_file(f"level,gates,wind,note\n1,1,1,{'x' * 200_000}\nacid,1,1,y\n")
    with pytest.raises(InputError, match=r"rows\.csv line 3: level: 'acid' is not a number"):
        check_cells(open_table(file), features)


@pytest.mark.parametrize("cell", ["1_000", "\u0661", "\uff11"])
def test_numbers_of_python_alone_are_none(cell, csv_file, features):
    with pytest.raises(InputError, match=f"'{cell}' is not a number"):
        check_cells(open_table(csv_file(f"level,gates,wind\n{cell},1,1\n")), features)


def mixed():
    return list(text_format.Parse(MIXED, schema_pb2.Schema()).feature)


def test_missing_values_and_text_are_what_the_model_takes(csv_file):
    file = csv_file("town,colour,zone,depth,open\nUlm, red ,7,1.5,true\nRome,,, ,0\n")
    columns = parsed(file, mixed())
    assert columns["town"].tolist() == [["Ulm"], ["Rome"]]
    assert columns["colour"].tolist() == [[" red "], [""]]
    assert (columns["zone"].dtype, columns["depth"].dtype, columns["open"].dtype) == (np.float64, np.float32, np.int64)
    np.testing.assert_array_equal(columns["zone"], [[7], [np.nan]])
    np.testing.assert_array_equal(columns["depth"], [[1.5], [np.nan]])
    assert columns["open"].tolist() == [[1], [0]]
    num_rows, warnings = check_cells(open_table(file), mixed())
    assert num_rows == 2
    assert warnings == ["WARNING: town: 1 of 2 values are none of the schema's categories; predicted all the same."]


def test_parquet_gives_the_same_as_csv(csv_file, parquet_file):
    file = csv_file("town,colour,zone,depth,open\nUlm,red,7,1.5,true\nRome,,,,0\n")
    other = parquet_file(
        town=pa.array(["Ulm", "Rome"]).dictionary_encode(),
        colour=["red", None],
        zone=pa.array([7, None]),
        depth=[1.5, None],
        open=[True, False],
    )
    for name, column in parsed(file, mixed()).items():
        np.testing.assert_array_equal(parsed(other, mixed())[name], column)


def test_cells_that_may_not_be_missing_or_are_none_are_named(csv_file):
    file = csv_file("town,colour,zone,depth,open\n,,x,1,\nUlm,,7,deep,yes\n")
    assert refusal(file, mixed()) == [
        "rows.csv line 2: town: is empty.",
        "rows.csv line 2: zone: 'x' is not a whole number.",
        "rows.csv line 3: depth: 'deep' is not a number.",
        "rows.csv line 2: open: is empty.",
        "rows.csv line 3: open: 'yes' is not a whole number.",
    ]


def test_column_of_numbers_is_no_text(parquet_file, tmp_path):
    file = parquet_file(town=[1.5, 2.0], colour=["a", "b"], zone=[1, 2], depth=[1.0, 2.0], open=[True, False])
    with pytest.raises(InputError, match="column town is double; the model wants text"):
        check_request(file, tmp_path / "out.csv", features=mixed(), class_names=["a", "b"], id_columns=[])


def test_csv_is_read_as_the_config_says_that_it_is_written(csv_file):
    text = "town;colour;zone;depth;open\nK\xf6ln;NA;7;?;true\nUlm;red;;2.5;0\n"
    options = CsvOptions(";", "latin-1", ("", "NA", "?"))
    table = open_table(csv_file(text.encode("latin-1")), options)
    (chunk,) = rechunk(table.batches([feature.name for feature in mixed()]), 9)
    columns = parse_features(chunk, mixed())
    assert columns["town"].tolist() == [["K\xf6ln"], ["Ulm"]]
    assert columns["colour"].tolist() == [[""], ["red"]]
    np.testing.assert_array_equal(columns["depth"], np.float32([[np.nan], [2.5]]))
    assert table.places([1]) == {1: f"{table.file} line 3"}
