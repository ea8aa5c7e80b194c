"""What ExampleGen's workers say of malformed files, word for word and nothing else; and what only looks malformed.

`tests/beam/test_malformed_input.py` goes through Beam to the refusal that a user sees.
"""

import decimal
import gzip
import io
import json
import lzma
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.example_gen.csv_table import CsvOptions
from components.example_gen.settings import make_settings
from components.example_gen.shards import write_shards

ONE = "presence { min_fraction: 1.0 } shape { dim { size: 1 } }"
MAYBE = "presence { min_count: 1 } value_count { min: 1 max: 1 }"
SCHEMA = f"""
feature {{ name: "level" type: FLOAT {ONE} }}
feature {{ name: "gates" type: INT {ONE} }}
feature {{ name: "town" type: BYTES {ONE} }}
feature {{ name: "open" type: INT {ONE} bool_domain {{}} }}
feature {{ name: "wind" type: FLOAT {MAYBE} }}
feature {{ name: "dam" type: BYTES {MAYBE} bool_domain {{ true_value: "Yes" false_value: "No" }} }}
feature {{
  name: "action" type: INT {ONE} int_domain {{ min: 0 max: 2 is_categorical: true }} not_in_environment: "SERVING"
}}
"""
NAMES = ["level", "gates", "town", "open", "wind", "dam", "action"]
HEADER = ",".join(NAMES) + "\n"
ROW = {"level": "1.5", "gates": "3", "town": "Ulm", "open": "true", "wind": "0.5", "dam": "Yes", "action": "1"}
GOOD = "".join(f"{i}.5,{i},Ulm,true,0.5,No,{i % 3}\n" for i in range(6))
NOT_FINITE = "is not a finite number; an empty cell (or null) says that a value is missing"
NO_VALUE = "is empty, but must have a value in every row"
NO_TEXT = "is not utf-8 text. If it is CSV in another encoding, set example_gen.encoding."
UNKNOWN = "Add it to the schema, or to example_gen.ignore_columns to leave it out."
NO_TIME = "is not a time in ISO 8601 nor, outside CSV, a date, a timestamp or a number of seconds"
BY_FOLD = {"by": "column", "column": "fold", "values": {"train": ["a"], "eval": ["b"]}}
BY_TIME = {"by": "time", "column": "fold", "ends": ["2024-01-01"]}
NO_COLUMN = [
    f"rows.csv has no column '{name}', which every row must have." for name in ("level", "gates", "town", "open")
] + ["rows.csv has no column 'action', which every row must have."]
AFTER_QUOTE = "text follows the end of a quoted cell; double a quote that is part of a text."
MOST_EXAMPLES = 5
BIG = GOOD * 10_000  # more than a block


def row(**cells):
    """Returns a line of CSV, sound but for some cells."""
    return ",".join((ROW | cells).values()) + "\n"


def rows(*lines):
    """Returns a CSV file of a few rows before sound ones: the first is line 2."""
    return HEADER + "".join(line if line.endswith("\n") else f"{line}\n" for line in lines) + GOOD


def folds(*values):
    lines = GOOD.splitlines()[: len(values)]
    return f"{HEADER[:-1]},fold\n" + "".join(f"{line},{value}\n" for line, value in zip(lines, values, strict=True))


def table(**columns):
    sound = {
        "level": np.arange(6) + 0.5,
        "gates": range(6),
        "town": ["Ulm"] * 6,
        "open": [True, False] * 3,
        "wind": [0.5] * 6,
        "dam": ["Yes"] * 6,
        "action": [0, 1, 2] * 2,
    }
    kept = {name: column for name, column in (sound | columns).items() if column is not None}
    return pa.table(
        {name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in kept.items()}
    )


def parquet(**columns):
    stream = io.BytesIO()
    pq.write_table(table(**columns), stream)
    return stream.getvalue()


def arrow(new=pa.ipc.new_file, **columns):
    stream, rows = io.BytesIO(), table(**columns)
    with new(stream, rows.schema) as writer:
        writer.write_table(rows)
    return stream.getvalue()


def feather_1():
    stream = io.BytesIO()
    pyarrow.feather.write_feather(table(open=None), stream, version=1)
    return stream.getvalue()


def twice(name):
    first = table()
    stream = io.BytesIO()
    pq.write_table(first.append_column(name, first[name]), stream)
    return stream.getvalue()


def broken_offsets():
    """Returns an Arrow file whose texts lie beyond its end."""
    content = bytearray(arrow(town=["Ulm"] * 5 + ["Bonn"]))
    start = content.index(struct.pack("<7i", 0, 3, 6, 9, 12, 15, 19))
    content[start : start + 28] = struct.pack("<7i", 0, 3, 6, 9, 12, 2**30, 2**30 + 4)
    return bytes(content)


def zstandard(content):
    return pa.compress(content, "zstd", asbytes=True)


def bad_utf8(view):
    return pa.array([b"Ulm"] * 5 + [b"\xff"]).view(view)


# Files that are refused whole, also where rows with faults are left out: name, content, every line of the message and,
# for some, settings.
FILES = {
    "blank first lines alone": ("rows.csv", "\n\r\n\n", ["rows.csv has no header line."]),
    "no header line": (
        "rows.csv",
        GOOD,
        ["rows.csv has the column '0' 2 times.", "rows.csv has the column '0.5' 2 times."],
    ),
    "columns in capitals": (
        "rows.csv",
        HEADER.replace("gates", "GATES") + GOOD,
        [
            f"rows.csv: the schema has no column 'GATES'. Did you mean 'gates'? {UNKNOWN}",
            "rows.csv has no column 'gates', which every row must have. Did you mean 'GATES'?",
        ],
    ),
    "optional column misspelt": (
        "rows.csv",
        HEADER.replace("wind", "breeze") + GOOD,
        [f"rows.csv: the schema has no column 'breeze'. {UNKNOWN}"],
    ),
    "two columns twice": (
        "rows.csv",
        "level,gates,level,gates,gates\n1,2,3,4,5\n",
        ["rows.csv has the column 'gates' 3 times.", "rows.csv has the column 'level' 2 times."],
    ),
    "two columns without a name": (
        "rows.csv",
        ",level, ,gates\n1,2,3,4\n",
        ["rows.csv: column 1 has no name.", "rows.csv: column 3 has no name."],
    ),
    "bars": (
        "rows.csv",
        (HEADER + GOOD).replace(",", "|"),
        ["rows.csv has one column. Its delimiter seems to be '|': set example_gen.delimiter."],
    ),
    "delimiter that is set but not there": (
        "rows.csv",
        HEADER + GOOD,
        ["rows.csv has one column. Its delimiter seems to be ',': set example_gen.delimiter."],
        {"csv_options": CsvOptions(delimiter=";")},
    ),
    "delimiter in a line of its own": ("rows.csv", "sep=,\n" + HEADER + GOOD, ["rows.csv: column 2 has no name."]),
    "two byte order marks": (
        "rows.csv",
        b"\xef\xbb\xbf\xef\xbb\xbf" + (HEADER + GOOD).encode(),
        [
            f"rows.csv: the schema has no column '\\ufefflevel'. Did you mean 'level'? {UNKNOWN}",
            "rows.csv has no column 'level', which every row must have. Did you mean '\\ufefflevel'?",
        ],
    ),
    "UTF-16 without a byte order mark": (
        "rows.csv",
        (HEADER + GOOD).encode("utf-16-le"),
        [f"rows.csv line 1: {NO_TEXT}"],
    ),
    "UTF-8 that is said to be UTF-16": (
        "rows.csv",
        HEADER + GOOD,
        [f"rows.csv line 1: {NO_TEXT}".replace("utf-8", "utf-16")],
        {"csv_options": CsvOptions(encoding="utf-16")},
    ),
    "byte that the encoding does not have": (
        "rows.csv",
        (HEADER + row(town="\x81")).encode("latin-1"),
        [f"rows.csv {NO_TEXT}".replace("utf-8", "cp1252")],
        {"csv_options": CsvOptions(encoding="cp1252")},
    ),
    "a workbook": ("rows.xlsx", b"PK\x03\x04\x14\0\6\0\x08\0\0\0!\0\xbd\xd1", [f"rows.xlsx line 1: {NO_TEXT}"]),
    "another compression": ("rows.csv.xz", lzma.compress((HEADER + GOOD).encode()), [f"rows.csv.xz line 1: {NO_TEXT}"]),
    "a web page": (
        "rows.csv",
        "<!DOCTYPE html>\n<html><body>Forbidden</body></html>\n",
        [f"rows.csv: the schema has no column '<!DOCTYPE html>'. {UNKNOWN}", *NO_COLUMN],
    ),
    "a pointer to a large file": (
        "rows.csv",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
        [f"rows.csv: the schema has no column 'version https://git-lfs.github.com/spec/...'. {UNKNOWN}", *NO_COLUMN],
    ),
    "a folder": ("rows.csv", None, ["rows.csv cannot be read: Is a directory."]),
    "gzip of nothing": ("rows.csv.gz", gzip.compress(b""), ["rows.csv.gz has no header line."]),
    "gzip with a false checksum": (
        "rows.csv.gz",
        gzip.compress((HEADER + GOOD).encode())[:-8] + b"\0" * 8,
        ["rows.csv.gz cannot be read: zlib inflate failed: incorrect data check."],
    ),
    "gzip in name and first bytes only": (
        "rows.csv.gz",
        b"\x1f\x8b" + b"abcdefgh" * 9,
        ["rows.csv.gz cannot be read: zlib inflate failed: unknown compression method."],
    ),
    "Zstandard in first bytes only": (
        "rows.csv.zst",
        b"\x28\xb5\x2f\xfd" + b"abcdefgh" * 9,
        ["rows.csv.zst cannot be read: ZSTD decompress failed: Dictionary mismatch."],
    ),
    "quote never closed at the end of a large file": (
        "rows.csv",
        HEADER + BIG + row(town='"Ulm') + GOOD,
        ["rows.csv line 60002: a quote is opened and never closed."],
    ),
    "quoted cell of megabytes": (
        "rows.csv",
        rows(row(town=f'"{"x" * (2 << 20)}"')),
        ["rows.csv has a row of more than 1 MiB."],
    ),
    "column that splits missing": (
        "rows.csv",
        HEADER + GOOD,
        ["rows.csv has no column 'fold', by which example_gen.split splits."],
        {"split": BY_FOLD},
    ),
    "key column missing": (
        "rows.csv",
        HEADER + GOOD,
        ["rows.csv has no column 'customer', by which example_gen.split splits."],
        {"split": {"by": "key", "keys": ["town", "customer"]}},
    ),
    "Parquet of four bytes": (
        "rows.parquet",
        b"PAR1",
        ["rows.parquet cannot be read: Parquet file size is 4 bytes, smaller than the minimum file footer (8 bytes)."],
    ),
    "Parquet with a column twice": ("rows.parquet", twice("gates"), ["rows.parquet has the column 'gates' 2 times."]),
    "Parquet with structures": (
        "rows.parquet",
        parquet(town=[{"name": "Ulm"}] * 6),
        ["rows.parquet: column 'town' is struct<name: string>; the schema says BYTES."],
    ),
    "Parquet with booleans for numbers": (
        "rows.parquet",
        parquet(level=[True] * 6, town=[True] * 6),
        [
            "rows.parquet: column 'level' is bool; the schema says FLOAT.",
            "rows.parquet: column 'town' is bool; the schema says BYTES.",
        ],
    ),
    "Parquet with text for a class": (
        "rows.parquet",
        parquet(action=["0"] * 6),
        ["rows.parquet: column 'action' is string; the schema says INT."],
    ),
    "Parquet encrypted": (
        "rows.parquet",
        b"PARE" + parquet()[4:],
        ["rows.parquet is no Parquet and no Arrow file, which its name says."],
    ),
    "Arrow file of six bytes": ("rows.arrow", b"ARROW1", ["rows.arrow cannot be read: File is too small: 6."]),
    "Arrow file cut short": ("rows.arrow", arrow()[:-30], ["rows.arrow cannot be read: Not an Arrow file."]),
    "Arrow stream of four bytes": (
        "rows.arrows",
        b"\xff\xff\xff\xff",
        ["rows.arrows cannot be read: Corrupted metadata length, only 0 bytes available."],
    ),
    "Arrow stream with an endless message": (
        "rows.arrows",
        b"\xff\xff\xff\xff\xff\xff\xff\x7fabc",
        ["rows.arrows cannot be read: Expected to read 2147483647 metadata bytes, but only read 3."],
    ),
    "text that is named as Arrow": (
        "rows.arrow",
        "hello\n",
        ["rows.arrow is no Parquet and no Arrow file, which its name says."],
    ),
    "Feather's first version under another name": (
        "rows.bin",
        feather_1(),
        [
            "rows.bin is no Parquet and no Arrow file, which its name says. Feather's first version is not read; "
            "write it again."
        ],
    ),
}

# Rows with faults, which may be left out: name, content, every line of the message and, for some, settings.
ROWS = {
    "comment": ("rows.csv", rows("# of Monday"), ["rows.csv line 2: has 1 cell; the header line has 7."]),
    "blank line that is not empty": ("rows.csv", rows(" "), ["rows.csv line 2: has 1 cell; the header line has 7."]),
    "delimiter at the end of a row": (
        "rows.csv",
        rows(row()[:-1] + ","),
        ["rows.csv line 2: has 8 cells; the header line has 7."],
    ),
    "delimiter in a text": (
        "rows.csv",
        rows(row(town="Rome, IT")),
        ["rows.csv line 2: has 8 cells; the header line has 7."],
    ),
    "rows uneven in two ways": (
        "rows.csv",
        rows("1", row()[:-1] + ",,", "1,2"),
        [
            "rows.csv line 2: has 1 cell; the header line has 7.",
            "rows.csv line 3: has 9 cells; the header line has 7.",
            "rows.csv line 4: has 2 cells; the header line has 7.",
        ],
    ),
    "header line in the middle": (
        "rows.csv",
        rows(row(), HEADER),
        [
            "rows.csv line 3: column 'level' 'level' is not a number.",
            "rows.csv line 3: column 'gates' 'gates' is not a whole number.",
            "rows.csv line 3: column 'open' 'open' is neither true nor false.",
            "rows.csv line 3: column 'wind' 'wind' is not a number.",
            "rows.csv line 3: column 'dam' 'dam' is neither true nor false.",
            "rows.csv line 3: column 'action' 'action' is not a whole number.",
        ],
    ),
    **{
        f"'{value}' for a number": (
            "rows.csv",
            rows(row(level=value)),
            [f"rows.csv line 2: column 'level' {value!r} is not a number."],
        )
        for value in (
            "null",
            "?",
            "N/A",
            "#DIV/0!",
            "-",
            "1 000",
            "\xa05",
            "1.2.3",
            "1e",
            ".",
            "1f",
            "--1",
            "$5",
            "50%",
            "true",
            "\uff11\uff12",
            "\u0663",
            "1\0",
        )
    },
    **{
        f"'{value}' for a whole number": (
            "rows.csv",
            rows(row(gates=value)),
            [f"rows.csv line 2: column 'gates' {value!r} is not a whole number."],
        )
        for value in ("1e3", "0b1", "3L", "true", "nan", "3.", "\uff13", "+", "1-2")
    },
    "integer below 64 bits": (
        "rows.csv",
        rows(row(gates="-9223372036854775809")),
        ["rows.csv line 2: column 'gates' '-9223372036854775809' is too large for a 64-bit integer."],
    ),
    "integer of thousands of digits": (
        "rows.csv",
        rows(row(gates="9" * 5000)),
        [f"rows.csv line 2: column 'gates' '{'9' * 40}...' is too large for a 64-bit integer."],
    ),
    "number below float32": (
        "rows.csv",
        rows(row(level="-3.5e38")),
        ["rows.csv line 2: column 'level' '-3.5e38' is too large for a 32-bit float."],
    ),
    **{
        f"'{value}' for a number that may be missing": (
            "rows.csv",
            rows(row(wind=value)),
            [f"rows.csv line 2: column 'wind' '{value}' {NOT_FINITE}."],
        )
        for value in ("NaN", "Infinity", "+inf")
    },
    **{
        f"'{value}' for a boolean": (
            "rows.csv",
            rows(row(open=value)),
            [f"rows.csv line 2: column 'open' '{value}' is neither true nor false."],
        )
        for value in ("2", "T", " true", "1.0", "oui")
    },
    "word that is neither name of a boolean": (
        "rows.csv",
        rows(row(dam="perhaps")),
        ["rows.csv line 2: column 'dam' 'perhaps' is neither true nor false."],
    ),
    "no cell filled": (
        "rows.csv",
        rows("," * 6),
        [f"rows.csv line 2: column '{name}' {NO_VALUE}." for name in ("level", "gates", "town", "open", "action")],
    ),
    "text that is empty in quotes": ("rows.csv", rows(row(town='""')), [f"rows.csv line 2: column 'town' {NO_VALUE}."]),
    "empty number where only NA is missing": (
        "rows.csv",
        rows(row(level="", wind="NA")),
        ["rows.csv line 2: column 'level' '' is not a number."],
        {"csv_options": CsvOptions(null_values=("NA",))},
    ),
    "NA where it is missing and must not be": (
        "rows.csv",
        rows(row(level="NA", wind="NA")),
        [f"rows.csv line 2: column 'level' {NO_VALUE}."],
        {"csv_options": CsvOptions(null_values=("", "NA"))},
    ),
    "text for a class": (
        "rows.csv",
        rows(row(action="high")),
        ["rows.csv line 2: column 'action' 'high' is not a whole number."],
    ),
    "class beyond 64 bits": (
        "rows.csv",
        rows(row(action="9" * 20)),
        ["rows.csv line 2: column 'action' '99999999999999999999' is too large for a 64-bit integer."],
    ),
    "number that is no UTF-8": (
        "rows.csv",
        rows(row(level="\xf6")).encode("latin-1"),
        [r"rows.csv line 2: column 'level' '\\xf6' is not UTF-8 text."],
    ),
    "split that is no UTF-8": (
        "rows.csv",
        folds("a", "b", "\xff").encode("latin-1"),
        [r"rows.csv line 4: column 'fold' '\\xff' is not UTF-8 text."],
        {"split": BY_FOLD},
    ),
    "fault after quoted line ends, blank and uneven lines": (
        "rows.csv",
        rows(row(town='"a\n\nb"'), "", "1", "\n", row(level="wet")),
        [
            "rows.csv line 6: has 1 cell; the header line has 7.",
            "rows.csv line 8: column 'level' 'wet' is not a number.",
        ],
    ),
    "fault in lines that end as in Windows": (
        "rows.csv",
        rows("", row(level="wet")).replace("\n", "\r\n"),
        ["rows.csv line 3: column 'level' 'wet' is not a number."],
    ),
    "fault in lines that end as in old Macs": (
        "rows.csv",
        rows("", row(level="wet")).replace("\n", "\r"),
        ["rows.csv line 3: column 'level' 'wet' is not a number."],
    ),
    "fault after a byte order mark": (
        "rows.csv",
        b"\xef\xbb\xbf" + rows(row(level="wet")).encode(),
        ["rows.csv line 2: column 'level' 'wet' is not a number."],
    ),
    "fault in the last line, which has no end": (
        "rows.csv",
        rows() + row(level="wet")[:-1],
        ["rows.csv line 8: column 'level' 'wet' is not a number."],
    ),
    "faults in later blocks": (
        "rows.csv",
        HEADER + BIG + row(level="wet") + "1,2\n" + BIG + row(level="") + row(level="dry"),
        [
            "rows.csv line 60003: has 2 cells; the header line has 7.",
            "rows.csv line 60002: column 'level' 'wet' is not a number.",
            "rows.csv line 120005: column 'level' 'dry' is not a number.",
            f"rows.csv line 120004: column 'level' {NO_VALUE}.",
        ],
    ),
    "fault in UTF-16": (
        "rows.csv",
        rows(row(level="wet"), "1").encode("utf-16"),
        [
            "rows.csv line 3: has 1 cell; the header line has 7.",
            "rows.csv line 2: column 'level' 'wet' is not a number.",
        ],
        {"csv_options": CsvOptions(encoding="utf-16")},
    ),
    "decimal comma between semicolons": (
        "rows.csv",
        rows(row(level="LEVEL")).replace(",", ";").replace("LEVEL", "1,5"),
        ["rows.csv line 2: column 'level' '1,5' is not a number."],
        {"csv_options": CsvOptions(delimiter=";")},
    ),
    "fault in Zstandard": (
        "rows.csv.zst",
        zstandard(rows(row(level="wet")).encode()),
        ["rows.csv.zst line 2: column 'level' 'wet' is not a number."],
    ),
    "fault in a gzip of two parts": (
        "rows.csv.gz",
        gzip.compress((HEADER + GOOD).encode()) + gzip.compress(row(level="wet").encode()),
        ["rows.csv.gz line 8: column 'level' 'wet' is not a number."],
    ),
    "values of no split": (
        "rows.csv",
        folds("a", "b", "c", "", " b"),
        [
            "rows.csv line 4: column 'fold' 'c' is in none of the splits of example_gen.split.values.",
            "rows.csv line 5: column 'fold' is empty: is in none of the splits of example_gen.split.values.",
            "rows.csv line 6: column 'fold' ' b' is in none of the splits of example_gen.split.values.",
        ],
        {"split": BY_FOLD},
    ),
    "days that are none": (
        "rows.csv",
        folds("2023-01-01", "2024-06-01", "2024-02-30", "01/02/2024", "2024"),
        [
            f"rows.csv line {line}: column 'fold' '{day}' {NO_TIME}."
            for line, day in ((4, "2024-02-30"), (5, "01/02/2024"), (6, "2024"))
        ],
        {"split": BY_TIME},
    ),
    "Parquet with numbers that are none": (
        "rows.parquet",
        parquet(level=[0.5, float("nan"), float("inf"), -float("inf"), 1e39, None]),
        [
            *(
                f"rows.parquet row {number}: column 'level' '{value}' {NOT_FINITE}."
                for number, value in ((2, "nan"), (3, "inf"), (4, "-inf"))
            ),
            "rows.parquet row 5: column 'level' '1e+39' is too large for a 32-bit float.",
            f"rows.parquet row 6: column 'level' {NO_VALUE}.",
        ],
    ),
    "Parquet with whole numbers that are none": (
        "rows.parquet",
        parquet(gates=[1.0, 2.5, float("nan"), 1e30, None, 6.0]),
        [
            f"rows.parquet row 3: column 'gates' 'nan' {NOT_FINITE}.",
            "rows.parquet row 2: column 'gates' '2.5' is not a whole number.",
            "rows.parquet row 4: column 'gates' '1e+30' is too large for a 64-bit integer.",
            f"rows.parquet row 5: column 'gates' {NO_VALUE}.",
        ],
    ),
    "Parquet with decimals that are not whole": (
        "rows.parquet",
        parquet(gates=[decimal.Decimal(f"{number}.0") for number in range(5)] + [decimal.Decimal("1.5")]),
        ["rows.parquet row 6: column 'gates' '1.5' is not a whole number."],
    ),
    "Parquet with a decimal beyond float32": (
        "rows.parquet",
        parquet(level=pa.array([decimal.Decimal(1)] * 5 + [decimal.Decimal(10**60)], pa.decimal256(70, 0))),
        [f"rows.parquet row 6: column 'level' '1{'0' * 39}...' is too large for a 32-bit float."],
    ),
    "Parquet with labels that are no classes": (
        "rows.parquet",
        parquet(action=[7, -1, None, 0, 1, 2]),
        [
            f"rows.parquet row 3: column 'action' {NO_VALUE}.",
            "rows.parquet row 1: column 'action' '7' is no class; classes are 0 to 2.",
            "rows.parquet row 2: column 'action' '-1' is no class; classes are 0 to 2.",
        ],
    ),
    "Parquet with null in a dictionary": (
        "rows.parquet",
        parquet(town=pa.array(["Ulm"] * 5 + [None]).dictionary_encode()),
        [f"rows.parquet row 6: column 'town' {NO_VALUE}."],
    ),
    "Parquet with a column of nothing": (
        "rows.parquet",
        parquet(gates=pa.nulls(6)),
        [
            *(f"rows.parquet row {number}: column 'gates' {NO_VALUE}." for number in range(1, 6)),
            f"rows.parquet: 1 more in column 'gates': {NO_VALUE}.",
        ],
    ),
    "Arrow stream with NaN": (
        "rows.arrows",
        arrow(pa.ipc.new_stream, wind=[0.5, float("nan")] * 3),
        [f"rows.arrows row {number}: column 'wind' 'nan' {NOT_FINITE}." for number in (2, 4, 6)],
    ),
}


FILES |= {
    "text after a quoted cell": ("rows.csv", rows(row(town='"Ulm"x')), [f"rows.csv line 2: {AFTER_QUOTE}"]),
    "quote within quotes that a backslash escapes": (
        "rows.csv",
        rows(row(), row(town=r'"the \"old\" town"')),
        [f"rows.csv line 3: {AFTER_QUOTE}"],
    ),
    "two open quotes that swallow the rows between them": (
        "rows.csv",
        HEADER + row() + row(town='"Ulm') + GOOD + row(town='"Ulm') + GOOD,
        [f"rows.csv line 3: {AFTER_QUOTE}"],
    ),
    "quote never closed in the header line": (
        "rows.csv",
        '"' + HEADER + GOOD,
        ["rows.csv line 1: a quote is opened and never closed."],
    ),
    "quote never closed in UTF-16": (
        "rows.csv",
        (rows() + row(town='"Ulm') + GOOD).encode("utf-16"),
        ["rows.csv line 8: a quote is opened and never closed."],
        {"csv_options": CsvOptions(encoding="utf-16")},
    ),
    "uneven row that is no UTF-8": (
        "rows.csv",
        (rows() + "K\xf6ln,2\n").encode("latin-1"),
        ["rows.csv line 8: has 2 cells; the header line has 7; and is not UTF-8 text."],
    ),
    "hundreds of unknown columns": (
        "rows.csv",
        HEADER[:-1] + "".join(f",x{number}" for number in range(300)) + "\n",
        [
            *(f"rows.csv: the schema has no column 'x{number}'. {UNKNOWN}" for number in range(5)),
            "rows.csv has 295 more columns that the schema does not have.",
        ],
    ),
    "column that splits of lists": (
        "rows.parquet",
        parquet(fold=[["a"]] * 6),
        ["rows.parquet: column 'fold' is list<element: string>, by which example_gen.split cannot split."],
        {"split": BY_FOLD},
    ),
    "time of day for a time": (
        "rows.parquet",
        parquet(fold=pa.array(range(6), pa.time32("ms"))),
        ["rows.parquet: column 'fold' is time32[ms], by which example_gen.split cannot split."],
        {"split": BY_TIME},
    ),
    "key of bytes": (
        "rows.parquet",
        parquet(fold=[b"\xff"] * 6),
        ["rows.parquet: column 'fold' is binary, by which example_gen.split cannot split."],
        {"split": {"by": "key", "keys": ["fold"]}},
    ),
}
FILES |= {
    "Arrow with the name of a column that is no UTF-8": (
        "rows.arrow",
        arrow().replace(b"gates", b"g\xe0tes"),
        ["rows.arrow cannot be read: 'utf-8' codec can't decode byte 0xe0 in position 1: invalid continuation byte."],
    ),
    "Parquet with a dictionary that is no UTF-8": (
        "rows.parquet",
        parquet(town=pa.array(["Ulm", "B\u00f6"] * 3).dictionary_encode()).replace("B\u00f6".encode(), b"B\xff\xff"),
        ["rows.parquet cannot be read: Dictionary array invalid: Invalid: Invalid UTF8 sequence at string index 1."],
    ),
}
ROWS |= {
    "number beyond any float": (
        "rows.csv",
        rows(row(level="1e400"), row(wind="-" + "9" * 400)),
        [
            "rows.csv line 2: column 'level' '1e400' is too large for a 32-bit float.",
            f"rows.csv line 3: column 'wind' '-{'9' * 39}...' is too large for a 32-bit float.",
        ],
    ),
    "Parquet with numbers for a boolean": (
        "rows.parquet",
        parquet(open=[0, 1, 2, -1, 1, 0]),
        [
            f"rows.parquet row {number}: column 'open' '{cell}' is neither true nor false."
            for number, cell in ((3, 2), (4, -1))
        ],
    ),
    "Parquet with words for a boolean": (
        "rows.parquet",
        parquet(dam=["Yes", "no", "perhaps", None, "TRUE", "0"]),
        ["rows.parquet row 3: column 'dam' 'perhaps' is neither true nor false."],
    ),
    **{
        f"{name} with text that is no UTF-8": (
            file,
            write(town=bad_utf8(pa.string())),
            [rf"{file} row 6: column 'town' '\\xff' is not UTF-8 text."],
        )
        for name, file, write in (("Parquet", "rows.parquet", parquet), ("Arrow", "rows.arrow", arrow))
    },
}


def work(folder, file, content, *, bad_rows="fail", **settings):
    """Does what a worker does with a file; returns its result, without the folder in its sentences."""
    path = folder / file
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    made = make_settings(
        SCHEMA, label="action", splits=("train", "eval"), buckets=(2, 1), bad_rows=bad_rows,
        **({"split": {"by": "row"}} | settings),
    )  # fmt: skip
    staging = folder / "staging"
    staging.mkdir()
    result = write_shards(str(path), made, str(staging))
    for key in ("problems", "faults"):
        result[key] = [sentence.replace(f"{folder}/", "") for sentence in result[key]]
    return result


def read(result):
    """Returns the rows that a worker wrote, as dicts; None where there is no value."""
    records = tf.data.TFRecordDataset(list(result["shards"].values()), "GZIP").as_numpy_iterator()
    examples = [tf.train.Example.FromString(record).features.feature for record in records]
    return [{name: value(example[name]) for name in NAMES} for example in examples]


def value(feature):
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value[0] if kind else None


@pytest.mark.parametrize("bad_rows", ["fail", "quarantine"])
@pytest.mark.parametrize("case", FILES)
def test_file_is_refused_whole(tmp_path, case, bad_rows):
    file, content, lines, *settings = FILES[case]
    result = work(tmp_path, file, content, bad_rows=bad_rows, **dict(*settings))
    assert result["problems"] == lines


@pytest.mark.parametrize("case", ROWS)
def test_faults_are_told_word_for_word(tmp_path, case):
    file, content, lines, *settings = ROWS[case]
    result = work(tmp_path, file, content, **dict(*settings))
    assert result["problems"] == []
    assert result["faults"] == lines


@pytest.mark.parametrize("case", ROWS)
def test_rows_with_faults_are_kept_aside_and_the_others_written(tmp_path, case):
    file, content, lines, *settings = ROWS[case]
    result = work(tmp_path, file, content, bad_rows="quarantine", **dict(*settings))
    assert (result["problems"], result["faults"]) == ([], [])
    told = {}
    for line in lines:
        place, _, reason = line.removesuffix(".").partition(": ")
        if not reason[0].isdecimal():  # else it says how many more there are
            told.setdefault(place, set()).add(reason)
    kept = [json.loads(line) for line in Path(result["quarantine"]).read_text().splitlines()]
    found = {each["place"].replace(f"{tmp_path}/", ""): set(each["reasons"]) for each in kept}
    assert result["num_bad"] == len(kept) == len(found)
    assert {place: found[place] for place in told} == told
    assert len(found) == len(told) or len(told) == MOST_EXAMPLES
    written = tf.data.TFRecordDataset(list(result["shards"].values()), "GZIP").reduce(0, lambda count, _: count + 1)
    assert int(written) == sum(result["rows"].values())


def test_quarantine_of_more_than_a_block_is_in_the_order_of_the_file(tmp_path):
    lines = [row(level="wet"), row(), "1,2\n"] * 20_000
    result = work(tmp_path, "rows.csv", HEADER + "".join(lines) + GOOD, bad_rows="quarantine")
    kept = [json.loads(line) for line in Path(result["quarantine"]).read_text().splitlines()]
    places = [each["place"].rpartition(" ")[2] for each in kept]
    assert places == [str(number + 2) for number in range(60_000) if number % 3 != 1]
    assert [each["cells"] for each in kept[:2]] == [ROW | {"level": "wet"}, "1,2"]
    assert (result["num_bad"], result["rows"]["train"] + result["rows"]["eval"]) == (40_000, 20_006)


def test_numbers_in_quarantine_that_json_does_not_have_are_texts(tmp_path):
    content = parquet(level=[0.5, float("nan"), float("inf"), 1e39, 4.5, 5.5])
    result = work(tmp_path, "rows.parquet", content, bad_rows="quarantine")
    text = Path(result["quarantine"]).read_text()
    cells = [json.loads(line, parse_constant=pytest.fail)["cells"]["level"] for line in text.splitlines()]
    assert cells == ["nan", "inf", 1e39]


SOUND = {  # column, cells, their values
    "numbers": (
        "level",
        ["+1.5", ".5", "5.", "1e5", "1E-5", "-0", "0012.5", "3.4e38", "1e-50"],
        [1.5, 0.5, 5.0, 1e5, np.float32(1e-5), 0.0, 12.5, np.float32(3.4e38), 0.0],
    ),
    "whole numbers": (
        "gates",
        ["+3", "-0", "007", "9223372036854775807", "-9223372036854775808"],
        [3, 0, 7, 2**63 - 1, -(2**63)],
    ),
    "texts": (
        "town",
        ["007", " Ulm ", "NA", "nan", "1_000", "K\u00f6ln", "it's", '"a""b"', '"a,b"', '"a\r\nb"', 'a"b'],
        ["007", " Ulm ", "NA", "nan", "1_000", "K\u00f6ln", "it's", 'a"b', "a,b", "a\r\nb", 'a"b'],
    ),
    "booleans": ("open", ["true", "True", "TRUE", "1", "false", "FALSE", "0"], [1, 1, 1, 1, 0, 0, 0]),
    "named booleans": (
        "dam",
        ["Yes", "yes", "YES", "true", "1", "No", "false", "0", ""],
        [b"Yes", b"Yes", b"Yes", b"Yes", b"Yes", b"No", b"No", b"No", None],
    ),
    "missing numbers": ("wind", ["", '""', "0"], [None, None, 0.0]),
}


@pytest.mark.parametrize("case", SOUND)
def test_what_is_sound_is_read_exactly(tmp_path, case):
    name, cells, values = SOUND[case]
    lines = [
        row(**{name: cell, "gates": str(number)}) if name != "gates" else row(gates=cell)
        for number, cell in enumerate(cells)
    ]
    result = work(tmp_path, "rows.csv", HEADER + "".join(lines))
    assert (result["problems"], result["faults"]) == ([], [])
    expected = [each.encode() if isinstance(each, str) else each for each in values]
    if name == "gates":
        assert sorted(each["gates"] for each in read(result)) == sorted(expected)
    else:
        assert [each[name] for each in sorted(read(result), key=lambda each: each["gates"])] == expected


LAYOUTS = {
    "byte order mark": b"\xef\xbb\xbf" + (HEADER + GOOD).encode(),
    "as in Windows": (HEADER + GOOD).replace("\n", "\r\n"),
    "as in old Macs": (HEADER + GOOD).replace("\n", "\r"),
    "blank lines": "\n" + HEADER + "\n" + GOOD.replace("\n", "\n\n"),
    "no last line end": (HEADER + GOOD)[:-1],
    "all in quotes": re.sub(r"[^,\n]+", r'"\g<0>"', HEADER + GOOD),
    "gzip under another name": gzip.compress((HEADER + GOOD).encode()),
    "Zstandard under another name": zstandard((HEADER + GOOD).encode()),
    "columns in another order": "".join(
        ",".join(line.split(",")[::-1]) + "\n" for line in (HEADER + GOOD).split("\n")[:-1]
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_ways_to_write_a_file_give_the_same_rows(tmp_path, layout):
    (tmp_path / "plain").mkdir()
    (tmp_path / "other").mkdir()
    plain = work(tmp_path / "plain", "rows.csv", HEADER + GOOD)
    other = work(tmp_path / "other", "rows.csv", LAYOUTS[layout])
    assert (other["problems"], other["faults"], other["rows"]) == (
        [],
        [],
        {"train": plain["rows"]["train"], "eval": 6 - plain["rows"]["train"]},
    )
    assert read(other) == read(plain)
    assert len(read(plain)) == 6


def test_byte_order_mark_is_none_of_the_first_name_whatever_utf_8_is_called(tmp_path):
    content = b"\xef\xbb\xbf" + (HEADER + GOOD).encode()
    result = work(tmp_path, "rows.csv", content, csv_options=CsvOptions(encoding="UTF_8"))
    assert (result["problems"], sum(result["rows"].values())) == ([], 6)


def test_decimals_become_whole_numbers_to_the_last_digit(tmp_path):
    numbers = [9007199254740993, -9007199254740993, 2**63 - 1, 0, 1, 2]
    decimals = pa.array([decimal.Decimal(number) for number in numbers], pa.decimal128(30, 0))
    assert sorted(each["gates"] for each in read(work(tmp_path, "rows.parquet", parquet(gates=decimals)))) == sorted(
        numbers
    )


def test_arrow_file_whose_texts_lie_beyond_its_end_is_refused(tmp_path):
    (tmp_path / "rows.arrow").write_bytes(broken_offsets())
    (tmp_path / "read.py").write_text(READ_TEXTS)
    process = subprocess.run([sys.executable, "read.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.stdout.startswith("rows.arrow cannot be read: "), process.stderr


READ_TEXTS = """
from components.example_gen.csv_table import CsvOptions
from components.example_gen.hashing import hash_column
from components.example_gen.table import TableError
from components.example_gen.tables import open_table
import pyarrow as pa

try:
    for batch in open_table("rows.arrow", CsvOptions()).blocks(["town"]):
        hash_column(batch.column("town").cast(pa.binary()))
except TableError as err:
    print(err)
"""
