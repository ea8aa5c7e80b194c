"""Broken CSV, read by ExampleGen and by Python's csv and float: both refuse it, or both give the same rows."""

import csv
import io
import random
import re

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.example_gen.file_reader import Contract, FileReader
from components.example_gen.tables import open_local
from schema import used_features

ONE = "presence { min_fraction: 1.0 } shape { dim { size: 1 } }"
SCHEMA = f"""
feature {{ name: "level" type: FLOAT {ONE} }}
feature {{ name: "gates" type: INT {ONE} }}
feature {{ name: "town" type: BYTES {ONE} }}
feature {{ name: "wind" type: FLOAT value_count {{ max: 1 }} }}
feature {{ name: "action" type: INT {ONE} int_domain {{ min: 0 max: 2 }} }}
"""
NAMES = ["level", "gates", "town", "wind", "action"]
SOUND = (
    "level,gates,town,wind,action\n0.5,0,Ulm,0.5,0\n-1e5,-7,Bonn,,1\n"
    '1.5,1,"a,b",.5,2\n2.5,2,"a""b",5.,0\n"3.5",3,"a\nb",+1,1\n4.5,4,\u00f6,1,2\n'
).encode()
PIECES = (
    *(b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"\xc2\x85", b"\x0c"),
    *(b" ", b"'", b"\\", b"-", b"+", b"e", b".", b"_", b"9" * 30, b"1e999", b"0x1", b"nan", b"inf", b"\xef\xbc\x91"),
)
WHOLE, NUMBER = re.compile(r"[+-]?[0-9]+"), re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def damage(content, chance):
    """Returns a file with a few bytes put in, taken out, repeated or replaced."""
    damaged = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 3, 6])):
        start, kind = chance.randrange(len(damaged)), chance.random()
        if kind < 0.6:
            damaged[start:start] = chance.choice(PIECES)
        elif kind < 0.8:
            del damaged[start : start + chance.choice([1, 2, 5, 30])]
        elif kind < 0.9:
            other = chance.randrange(len(damaged))
            damaged[start:start] = damaged[other : other + chance.randrange(1, 40)]
        else:
            damaged[start] = chance.randrange(256)
    return bytes(damaged)


def expected(content):
    """Returns the sound rows and how many are not, as Python reads the file; None if it is refused whole."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    try:
        records = [cells for cells in csv.reader(io.StringIO(text, newline=""), strict=True) if cells]
    except csv.Error:
        return None
    header = records[0] if records else []
    if not set(NAMES) - {"wind"} <= set(header) <= set(NAMES) or len(set(header)) < len(header):
        return None
    if any(len(cells) != len(header) and not is_text("".join(cells)) for cells in records):
        return None  # Arrow cannot say what such a row holds
    rows = [values(dict(zip(header, cells, strict=True))) for cells in records[1:] if len(cells) == len(header)]
    sound = [row for row in rows if row is not None]
    return sound, len(records) - 1 - len(sound)


def values(cells):
    found = tuple(value(name, cells.get(name, "")) for name in NAMES)
    return None if "fault" in found else found


def value(name, cell):
    if not cell:
        return None if name == "wind" else "fault"
    if not is_text(cell):
        return "fault"
    if name == "town":
        return cell.encode()
    if name in ("level", "wind"):
        with np.errstate(over="ignore"):
            number = np.float32(float(cell)) if NUMBER.fullmatch(cell) else np.float32("nan")
        return float(number) if np.isfinite(number) else "fault"
    bounds = range(3) if name == "action" else range(-(2**63), 2**63)
    return int(cell) if WHOLE.fullmatch(cell) and int(cell) in bounds else "fault"


def is_text(text):
    return not any("\udc80" <= letter <= "\udcff" for letter in text)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Arrow: a row that is no text
@pytest.mark.parametrize("seed", range(4))
def test_damaged_csv_is_read_as_python_reads_it_or_refused(tmp_path, seed):
    features = used_features(text_format.Parse(SCHEMA, schema_pb2.Schema()))
    contract = Contract(features, "action")
    chance = random.Random(seed)
    num_refused = 0
    for _ in range(250):
        content = damage(SOUND, chance)
        (tmp_path / "rows.csv").write_bytes(content)
        reader = FileReader(str(tmp_path / "rows.csv"), contract, open_local)
        blocks = list(reader.blocks())
        found = [
            row for block in blocks for row in zip(*(block.columns[name].to_pylist() for name in NAMES), strict=True)
        ]
        sentences = reader.sentences()
        known = expected(content)
        if known is None:
            assert reader.problems, content
            num_refused += 1
        else:
            assert (found, reader.num_bad, reader.problems) == (*known, []), content
            assert bool(sentences) == bool(known[1])
    assert 25 < num_refused < 225
