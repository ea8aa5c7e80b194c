"""The table that `sluice predict` and BulkInferrer write."""

import csv
import datetime
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.bulk_inferrer.predictions import Predictions, concat
from components.bulk_inferrer.table_writer import can_be_written, write_tables
from pipeline.prediction.predict import PredictionError, check_predictions
from pipeline.prediction.predictors import ServerPredictor
from pipeline.prediction.request import check_request
from pipeline.prediction.tables import open_table
from pipeline.serving.client import ServerError

PROBABILITIES = np.array([[0.1, 0.9], [0.7, 0.3]], np.float32)


def written(file_format, *tables):
    stream = io.BytesIO()
    write_tables(stream, file_format, iter(tables))
    assert not stream.closed
    return stream.getvalue()


def test_predicted_class_is_the_most_probable():
    table = Predictions(("no", "yes"), PROBABILITIES).to_table()
    assert table.column_names == ["predicted_class", "probability_no", "probability_yes"]
    assert table["predicted_class"].to_pylist() == ["yes", "no"]
    np.testing.assert_array_equal(table["probability_yes"], PROBABILITIES[:, 1])


def test_predictions_of_different_classes_are_not_mixed():
    with pytest.raises(ValueError, match="the predictions are of different classes"):
        concat([Predictions(("no", "yes"), PROBABILITIES), Predictions(("yes", "no"), PROBABILITIES)])


def test_csv_gives_back_what_was_written():
    texts = ["007", 'a "b", c', "two\nlines", "carriage\rreturn"]
    table = pa.table({"id": texts, "p": np.array([0.1, 1e-9, 1 / 3, 0], np.float32), "n": [1, None, 3, 4]})
    content = written("csv", table.slice(0, 1), table.slice(1)).decode()
    assert content.startswith("id,p,n\n007,0.1,1\n")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [row["id"] for row in rows] == texts
    np.testing.assert_array_equal(np.float32([float(row["p"]) for row in rows]), table["p"])
    assert [row["n"] for row in rows] == ["1", "", "3", "4"]


def test_parquet_keeps_the_types_of_ids():
    ids = pa.table({"day": [datetime.date(2024, 2, 29)], "tags": [["a", "b"]], "n": pa.array([2**60])})
    assert pq.read_table(io.BytesIO(written("parquet", ids))) == ids


def test_lists_and_bytes_cannot_be_written_to_csv():
    assert not can_be_written("csv", pa.list_(pa.int8()))
    assert not can_be_written("csv", pa.binary())
    assert can_be_written("parquet", pa.list_(pa.int8()))
    assert all(can_be_written("csv", data_type) for data_type in (pa.date32(), pa.decimal128(5, 2), pa.bool_()))


@pytest.mark.parametrize(("id_columns", "names"), [([], ["row"]), (["b", "a"], ["b", "a"])])
def test_output_begins_with_the_id_columns_or_the_row_s_number(tmp_path, id_columns, names):
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y\n")
    request = check_request(
        tmp_path / "rows.csv", tmp_path / "out.csv", features=[], class_names=["no", "yes"], id_columns=id_columns
    )
    chunk = pa.table({"a": ["1", "2"], "b": ["x", "y"]})
    table = request.output(chunk, 40, Predictions(("no", "yes"), PROBABILITIES))
    assert table.column_names == [*names, "predicted_class", "probability_no", "probability_yes"]
    assert table[names[0]].to_pylist() == (["x", "y"] if id_columns else [40, 41])


@pytest.mark.parametrize("text", ["a,b", "a,b\n", "a,b\r\n\r\n"])
def test_input_without_rows_gives_a_header_alone(tmp_path, text):
    (tmp_path / "rows.csv").write_text(text)
    request = check_request(
        tmp_path / "rows.csv", tmp_path / "out.csv", features=[], class_names=["no", "yes"], id_columns=["a"]
    )
    assert sum(map(len, open_table(tmp_path / "rows.csv").batches(["a"]))) == 0
    assert written("csv", request.empty_output()) == b"a,predicted_class,probability_no,probability_yes\n"


def asking(outputs):
    """A predictor whose server answers with `outputs`."""

    class Server:
        version = 1

        def predict(self, columns):
            return outputs

    return ServerPredictor(Server())


@pytest.mark.parametrize(
    "outputs",
    [
        {"classes": np.array([["no", "yes"]] * 2, object)},
        {"classes": np.array([["no", "yes"], ["yes", "no"]], object), "probabilities": PROBABILITIES},
        {"classes": np.array([["no", "yes"]], object), "probabilities": PROBABILITIES[:1]},
        {"classes": np.array([["no", "yes"]] * 2, object), "probabilities": np.array([["a", "b"]] * 2)},
    ],
)
def test_server_that_answers_something_else_is_an_error(outputs):
    with pytest.raises(ServerError, match="the server's model does not answer as one of Sluice does"):
        asking(outputs).predict({"x": np.zeros((2, 1))})


@pytest.mark.parametrize(
    ("class_names", "probabilities", "reason"),
    [
        (("yes", "no"), PROBABILITIES, "the model's classes are yes, no; the config's are no, yes"),
        (("no", "yes"), PROBABILITIES * np.nan, "probabilities that are not between 0 and 1"),
        (("no", "yes"), PROBABILITIES - 1, "probabilities that are not between 0 and 1"),
    ],
)
def test_predictions_of_another_problem_are_refused(class_names, probabilities, reason):
    with pytest.raises(PredictionError, match=reason):
        check_predictions(Predictions(class_names, probabilities), ("no", "yes"))
