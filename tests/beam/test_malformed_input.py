"""Files that are not what the schema says: each is refused with a sentence that names file, place, column and value."""

import gzip
import io
import os
import re
from datetime import date

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from components.data_gate import DataRefusedError
from components.example_gen.csv_table import CsvOptions

pytestmark = pytest.mark.beam

HEADER = "depth,age,town,open,key,y\n"
GOOD = "".join(f"{i / 7:.3f},{20 + i},Ulm,true,k{i},{i % 3}\n" for i in range(12))
ROW = "1.5,30,Ulm,true,a,1\n"
ADVICE = "Correct the data, or set example_gen.bad_rows: quarantine to leave such rows out"
NOT_FINITE = "is not a finite number; an empty cell (or null) says that a value is missing."


def parquet(**changes):
    columns = {
        "depth": pa.array([float(i) for i in range(12)]),
        "age": pa.array(range(12), pa.int64()),
        "town": pa.array(["Ulm"] * 12),
        "open": pa.array([True] * 12),
        "key": pa.array([f"k{i}" for i in range(12)]),
        "y": pa.array([i % 3 for i in range(12)]),
    }
    columns = {name: column for name, column in (columns | changes).items() if column is not None}
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def feather(version=2):
    stream = io.BytesIO()
    table = pq.read_table(io.BytesIO(parquet()))
    pyarrow.feather.write_feather(table.drop_columns(["open"]), stream, version=version)
    return stream.getvalue()


def changed(cells, at=3):
    """Returns good rows of which one has other cells."""
    lines = GOOD.splitlines(keepends=True)
    names = HEADER.strip().split(",")
    row = dict(zip(names, lines[at].strip().split(","), strict=True)) | cells
    return HEADER + "".join(lines[:at]) + ",".join(row[name] for name in names) + "\n" + "".join(lines[at + 1 :])


CASES = {  # file name, content, each line of the message
    "empty file": ("r.csv", b"", ["r.csv is empty."]),
    "blank lines alone": ("r.csv", b"\n\n", ["r.csv has no header line."]),
    "header alone": ("r.csv", HEADER, ["there are no rows in the files."]),
    "header without a line end": ("r.csv", HEADER.strip(), ["there are no rows in the files."]),
    "one row, so that a split is empty": (
        "r.csv",
        HEADER + ROW,
        [r"the (train|eval) split has no rows; there are 1 in all."],
    ),
    "column missing": (
        "r.csv",
        "depth,age,town,open,key\n" + "1,2,a,true,k\n",
        ["r.csv has no column 'y', which every row must have."],
    ),
    "column renamed": (
        "r.csv",
        (HEADER + GOOD).replace("depth", "Depth"),
        [
            "r.csv: the schema has no column 'Depth'. Did you mean 'depth'? Add it to the schema, or to",
            "r.csv has no column 'depth', which every row must have. Did you mean 'Depth'?",
        ],
    ),
    "column with a blank": (
        "r.csv",
        (HEADER + GOOD).replace(",town", ", town"),
        ["r.csv: the schema has no column ' town'. Did you mean 'town'?"],
    ),
    "column unknown": (
        "r.csv",
        HEADER.strip() + ",extra\n" + ROW.strip() + ",1\n",
        ["r.csv: the schema has no column 'extra'. Add it to"],
    ),
    "column twice": ("r.csv", "depth,age,depth\n1,2,3\n", ["r.csv has the column 'depth' 2 times."]),
    "column without a name": ("r.csv", HEADER.strip() + ",\n" + ROW.strip() + ",\n", ["r.csv: column 7 has no name."]),
    "semicolons": (
        "r.csv",
        (HEADER + GOOD).replace(",", ";"),
        ["r.csv has one column. Its delimiter seems to be ';': set example_gen.delimiter."],
    ),
    "tabs": (
        "r.csv",
        (HEADER + GOOD).replace(",", "\t"),
        [r"Its delimiter seems to be '\\t': set example_gen.delimiter."],
    ),
    "cell too few": ("r.csv", HEADER + GOOD + "1,2\n", ["r.csv line 14: has 2 cells; the header line has 6.", ADVICE]),
    "cell too many": (
        "r.csv",
        HEADER + GOOD + ROW.strip() + ",7\n",
        ["r.csv line 14: has 7 cells; the header line has 6."],
    ),
    "cell too few after a quoted newline and blank lines": (
        "r.csv",
        HEADER + "\n" + GOOD + '1.0,3,"a\nb",true,k,1\n\n1\n',
        ["r.csv line 18: has 1 cell; the header line has 6."],
    ),
    "many rows uneven": (
        "r.csv",
        HEADER + GOOD + "1,2\n" * 9,
        [
            "r.csv line 14: has 2 cells",
            "line 15",
            "line 16",
            "line 17",
            "line 18",
            "r.csv: 4 more: the header line has 6.",
        ],
    ),
    "quote never closed": (
        "r.csv",
        HEADER + GOOD + '1.0,3,"Ulm,true,k,1\n' + GOOD,
        ["r.csv line 14: a quote is opened and never closed."],
    ),
    "quote never closed in a large file": (
        "r.csv",
        HEADER + GOOD + '1.0,3,"Ulm,true,k,1\n' + GOOD * 20000,
        ["r.csv line 14: a quote is opened and never closed."],
    ),
    "row of megabytes": (
        "r.csv",
        HEADER + GOOD + f"1,2,{'x' * (5 << 20)},true,k,1\n" + GOOD * 9000,
        ["r.csv has a row of more than 1 MiB."],
    ),
    "text in a number": ("r.csv", changed({"depth": "deep"}), ["r.csv line 5: column 'depth' 'deep' is not a number."]),
    "NA in a number": ("r.csv", changed({"depth": "NA"}), ["r.csv line 5: column 'depth' 'NA' is not a number."]),
    "blank in a number": ("r.csv", changed({"depth": " "}), ["r.csv line 5: column 'depth' ' ' is not a number."]),
    "blanks around a number": (
        "r.csv",
        changed({"age": " 5 "}),
        ["r.csv line 5: column 'age' ' 5 ' is not a whole number."],
    ),
    "underscore in a number": (
        "r.csv",
        changed({"age": "1_000"}),
        ["r.csv line 5: column 'age' '1_000' is not a whole number."],
    ),
    "decimal comma": ("r.csv", changed({"depth": '"1,5"'}), ["r.csv line 5: column 'depth' '1,5' is not a number."]),
    "hexadecimal": ("r.csv", changed({"age": "0x1F"}), ["r.csv line 5: column 'age' '0x1F' is not a whole number."]),
    "fraction in an integer": (
        "r.csv",
        changed({"age": "3.5"}),
        ["r.csv line 5: column 'age' '3.5' is not a whole number."],
    ),
    "integer written with a point": (
        "r.csv",
        changed({"age": "3.0"}),
        ["r.csv line 5: column 'age' '3.0' is not a whole number."],
    ),
    "integer beyond 64 bits": (
        "r.csv",
        changed({"age": "9223372036854775808"}),
        ["r.csv line 5: column 'age' '9223372036854775808' is too large for a 64-bit integer."],
    ),
    "number beyond float32": (
        "r.csv",
        changed({"depth": "1e39"}),
        ["r.csv line 5: column 'depth' '1e39' is too large for a 32-bit float."],
    ),
    "NaN": ("r.csv", changed({"depth": "nan"}), [f"r.csv line 5: column 'depth' 'nan' {re.escape(NOT_FINITE)}"]),
    "infinity": ("r.csv", changed({"depth": "-inf"}), [f"r.csv line 5: column 'depth' '-inf' {re.escape(NOT_FINITE)}"]),
    "required cell empty": (
        "r.csv",
        changed({"depth": ""}),
        ["r.csv line 5: column 'depth' is empty, but must have a value in every row."],
    ),
    "no boolean": (
        "r.csv",
        changed({"open": "maybe"}),
        ["r.csv line 5: column 'open' 'maybe' is neither true nor false."],
    ),
    "label beyond the classes": (
        "r.csv",
        changed({"y": "3"}),
        ["r.csv line 5: column 'y' '3' is no class; classes are 0 to 2."],
    ),
    "label negative": (
        "r.csv",
        changed({"y": "-1"}),
        ["r.csv line 5: column 'y' '-1' is no class; classes are 0 to 2."],
    ),
    "label with a fraction": (
        "r.csv",
        changed({"y": "1.9"}),
        ["r.csv line 5: column 'y' '1.9' is not a whole number."],
    ),
    "label missing": (
        "r.csv",
        changed({"y": ""}),
        ["r.csv line 5: column 'y' is empty, but must have a value in every row."],
    ),
    "text that is no UTF-8": (
        "r.csv",
        changed({"town": "K\xf6ln"}).encode("latin-1"),
        [r"r.csv line 5: column 'town' 'K\\\\xf6ln' is not UTF-8 text."],
    ),
    "header that is no UTF-8": (
        "r.csv",
        HEADER.replace("town", "t\xf6wn").encode("latin-1"),
        ["r.csv line 1: is not utf-8 text. If it is CSV in another encoding, set example_gen.encoding."],
    ),
    "UTF-16": (
        "r.csv",
        (HEADER + GOOD).encode("utf-16"),
        ["r.csv line 1: is not utf-8 text. If it is CSV in another encoding"],
    ),
    "an image": ("r.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, ["r.csv line 1: is not utf-8 text."]),
    "several faults at once": (
        "r.csv",
        changed({"depth": "x", "age": "y", "y": "9"}),
        ["column 'depth' 'x' is not a number", "column 'age' 'y' is not a whole number", "column 'y' '9' is no class"],
    ),
    "more faults than are shown": (
        "r.csv",
        HEADER + "x,30,Ulm,true,a,1\n" * 30,
        [f"r.csv line {i}: column 'depth' 'x' is not a number." for i in range(2, 7)]
        + ["r.csv: 25 more in column 'depth': is not a number."],
    ),
    "value of thousands of characters": (
        "r.csv",
        changed({"depth": "9" * 3000 + "x"}),
        [r"column 'depth' '9{40}\.\.\.' is not a number."],
    ),
    "gzip cut short": (
        "r.csv.gz",
        gzip.compress((HEADER + "".join(f"{i},{i},{os.urandom(9).hex()},true,k{i},1\n" for i in range(9000))).encode())[
            :-5000
        ],
        [r"r.csv.gz cannot be read: "],
    ),
    "Zstandard cut short": (
        "r.csv.zst",
        pa.compress((HEADER + GOOD * 50).encode(), "zstd", asbytes=True)[:-9],
        [r"r.csv.zst cannot be read: Truncated compressed stream."],
    ),
    "fault in a gzip": (
        "r.csv.gz",
        gzip.compress(changed({"depth": "deep"}).encode()),
        ["r.csv.gz line 5: column 'depth' 'deep' is not a number."],
    ),
    "CSV named as Parquet": (
        "r.parquet",
        HEADER + GOOD,
        ["r.parquet is no Parquet and no Arrow file, which its name says."],
    ),
    "Parquet cut short": (
        "r.parquet",
        parquet()[:-30],
        ["r.parquet cannot be read: Parquet magic bytes not found in footer"],
    ),
    "Parquet without a column": (
        "r.parquet",
        parquet(y=None),
        ["r.parquet has no column 'y', which every row must have."],
    ),
    "Parquet with text for a number": (
        "r.parquet",
        parquet(depth=pa.array(["1"] * 12)),
        ["r.parquet: column 'depth' is string; the schema says FLOAT."],
    ),
    "Parquet with numbers for text": (
        "r.parquet",
        parquet(town=pa.array([1.5] * 12)),
        ["r.parquet: column 'town' is double; the schema says BYTES."],
    ),
    "Parquet with lists": (
        "r.parquet",
        parquet(depth=pa.array([[1.0]] * 12)),
        ["r.parquet: column 'depth' is list<element: double>; the schema says FLOAT."],
    ),
    "Parquet with dates for a number": (
        "r.parquet",
        parquet(age=pa.array([date(2024, 1, 1)] * 12)),
        [r"r.parquet: column 'age' is date32\[day\]; the schema says INT."],
    ),
    "Parquet with NaN": (
        "r.parquet",
        parquet(depth=pa.array([float("nan"), *map(float, range(11))])),
        [f"r.parquet row 1: column 'depth' 'nan' {re.escape(NOT_FINITE)}"],
    ),
    "Parquet with null where a value must be": (
        "r.parquet",
        parquet(depth=pa.array([None, *map(float, range(11))])),
        ["r.parquet row 1: column 'depth' is empty, but must have a value"],
    ),
    "Parquet with a fraction for an integer": (
        "r.parquet",
        parquet(age=pa.array([1.0, 2.5] * 6)),
        ["r.parquet row 2: column 'age' '2.5' is not a whole number."],
    ),
    "Parquet with an unsigned integer that is too large": (
        "r.parquet",
        parquet(age=pa.array([2**63] * 12, pa.uint64())),
        ["r.parquet row 1: column 'age' '9223372036854775808' is too large"],
    ),
    "Parquet without rows": (
        "r.parquet",
        parquet(
            **{name: pa.array([], pa.float64()) for name in ("depth", "age", "y")},
            town=pa.array([], pa.string()),
            open=pa.array([], pa.bool_()),
            key=pa.array([], pa.string()),
        ),
        ["there are no rows in the files."],
    ),
    "Feather's first version": (
        "r.feather",
        feather(version=1),
        ["r.feather is no Parquet and no Arrow file, which its name says. Feather's first"],
    ),
    "Feather cut short": ("r.feather", feather()[:-60], ["r.feather cannot be read: "]),
    "notes among the data": (
        "notes.txt",
        "These rows are from 2024.\nAsk the lab.\n",
        ["notes.txt: the schema has no column 'These rows are from 2024.'"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_file_is_refused_in_words(read, tmp_path, case):
    name, content, lines = CASES[case]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataRefusedError) as info:
        read("*", folder=folder)
    message = str(info.value).replace(f"{folder}/", "")
    for line in lines:
        pattern = line if re.search(r"\\|\[|\(train", line) else re.escape(line)
        assert re.search(pattern, message), message
    assert len(message.splitlines()) >= len(lines)


def test_folder_without_a_file_that_fits_is_refused(read, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "_SUCCESS").write_text("")
    (folder / ".hidden.csv").write_text(HEADER + GOOD)
    with pytest.raises(DataRefusedError, match=r"there is no file .*/data/\*\."):
        read("*", folder=folder)


def test_every_file_s_problems_are_told_at_once(read, tmp_path):
    (tmp_path / "a.csv").write_text(changed({"depth": "x"}))
    (tmp_path / "b.csv").write_text(HEADER.replace("y", "z") + GOOD)
    (tmp_path / "c.csv").write_text(changed({"age": "y"}))
    with pytest.raises(DataRefusedError, match=r"(?s)b.csv has no column 'y'.*a.csv line 5: .*c.csv line 5: "):
        read()


def test_file_that_may_not_be_read_is_refused(read, tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + GOOD)
    (tmp_path / "b.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataRefusedError, match=r"b.csv cannot be read: "):
        read()


def test_bad_rows_are_kept_aside(read, tmp_path):
    text = changed({"depth": "x", "y": "9"}) + "1,2\n" + '1.0,x,"a\nb",true,k,1\n'
    (tmp_path / "r.csv").write_text(text)
    examples = read(bad_rows="quarantine", max_bad_rows=0.3)
    assert examples.report["num_quarantined"] == 3
    assert sum(examples.report["rows"].values()) == 11
    found = {row["place"].rpartition("/")[2]: row for row in examples.quarantine}
    assert list(found) == ["r.csv line 5", "r.csv line 14", "r.csv line 15"]
    assert found["r.csv line 5"]["reasons"] == [
        "column 'depth' 'x' is not a number",
        "column 'y' '9' is no class; classes are 0 to 2",
    ]
    assert found["r.csv line 5"]["cells"]["depth"] == "x"
    assert found["r.csv line 14"] == {
        "place": f"{tmp_path}/r.csv line 14",
        "reasons": ["has 2 cells; the header line has 6"],
        "cells": "1,2",
    }
    keys = {row["key"] for split in ("train", "eval") for row in examples.rows(split)}
    assert b"k3" not in keys


def test_too_many_bad_rows_are_refused_with_some_of_them(read, tmp_path):
    (tmp_path / "r.csv").write_text(changed({"depth": "x"}))
    with pytest.raises(
        DataRefusedError, match=r"(?s)1 of 12 rows have faults, more than example_gen.max_bad_rows: 0.05.*line 5"
    ):
        read(bad_rows="quarantine", max_bad_rows=0.05)


def test_quarantine_does_not_save_a_file_that_is_none(read, tmp_path):
    (tmp_path / "r.csv").write_text(HEADER.replace("y", "z") + GOOD)
    with pytest.raises(DataRefusedError, match="has no column 'y'"):
        read(bad_rows="quarantine", max_bad_rows=1.0)


def test_other_ways_to_write_csv_are_read_when_the_config_says_so(read, tmp_path):
    text = changed({"age": "NA", "town": "K\xf6ln"}).replace(",", ";")
    (tmp_path / "r.csv").write_bytes(text.encode("latin-1"))
    examples = read(csv_options=CsvOptions(";", "latin-1", ("", "NA")))
    row = next(row for split in ("train", "eval") for row in examples.rows(split) if row["key"] == b"k3")
    assert row["age"] is None
    assert row["town"] == "K\xf6ln".encode()
