"""The files of spans, by number and by date, of versions and of rolling ranges."""

from datetime import date

import click
import pytest

from components.example_gen.input_files import ALL_SPANS, files_digest, find_files, span_number
from pipeline.cli_options import span_overrides


@pytest.fixture
def found(tmp_path):
    """Names the files that are found under a folder of empty ones."""

    def find(files, pattern, **spans):
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return [file.removeprefix(f"{tmp_path}/") for file in find_files(str(tmp_path), pattern, **spans)]

    return find


NUMBERS = ("span-2/a.csv", "span-9/a.csv", "span-10/a.csv", "span-10/b.csv", "span-x/a.csv")


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ({}, ["span-10/a.csv", "span-10/b.csv"]),
        ({"span": 9}, ["span-9/a.csv"]),
        ({"span": 3}, []),
        ({"num_spans": 2}, ["span-10/a.csv", "span-10/b.csv", "span-9/a.csv"]),
        ({"span": 9, "num_spans": 100}, ["span-2/a.csv", "span-9/a.csv"]),
        ({"span": 9, "num_spans": ALL_SPANS}, ["span-2/a.csv", "span-9/a.csv"]),
        ({"span": 8, "num_spans": 2}, []),
    ],
)
def test_spans_by_number(found, spans, expected):
    assert found(NUMBERS, "span-{SPAN}/*.csv", **spans) == expected


DATES = ("2026-01-30/a.csv", "2026-01-31/a.csv", "2026-02-01/a.csv", "2026-02-30/a.csv", "2026-99-99/a.csv")


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ({}, ["2026-02-01/a.csv"]),  # there is no 30th of February
        ({"span": span_number(date(2026, 1, 31))}, ["2026-01-31/a.csv"]),
        ({"num_spans": 2}, ["2026-01-31/a.csv", "2026-02-01/a.csv"]),
        ({"num_spans": ALL_SPANS}, ["2026-01-30/a.csv", "2026-01-31/a.csv", "2026-02-01/a.csv"]),
    ],
)
def test_spans_by_date(found, spans, expected):
    assert found(DATES, "{YYYY}-{MM}-{DD}/*.csv", **spans) == expected


def test_newest_version_of_each_span(found):
    files = ("1/v1/a.csv", "1/v10/a.csv", "1/v9/a.csv", "2/v1/a.csv")
    assert found(files, "{SPAN}/v{VERSION}/*.csv", num_spans=2) == ["1/v10/a.csv", "2/v1/a.csv"]


def test_pattern_is_no_regular_expression(found):
    assert found(("a+1.csv", "aa1.csv", "a+1xcsv"), "a+{SPAN}.csv") == ["a+1.csv"]


def test_pattern_without_a_span_reads_every_file(found):
    assert found(("b.csv", "a.csv", "c.txt"), "*.csv") == ["a.csv", "b.csv"]


def test_digest_changes_with_names_and_contents(tmp_path):
    digests = set()
    for name, content in (("a", b"x"), ("b", b"x"), ("a", b"y"), ("a", b"")):
        (tmp_path / name).write_bytes(content)
        digests.add(files_digest([str(tmp_path / name)]))
    assert len(digests) == 4
    assert files_digest([]) not in digests


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (None, ()),
        ("newest", ("example_gen.span=null",)),
        ("7", ("example_gen.span=7",)),
        ("3:7", ("example_gen.span=7", "example_gen.num_spans=5")),
        ("7:7", ("example_gen.span=7", "example_gen.num_spans=1")),
        ("2026-01-31", ("example_gen.span=2026-01-31",)),
        ("2026-01-30:2026-02-02", ("example_gen.span=2026-02-02", "example_gen.num_spans=4")),
    ],
)
def test_span_option(text, overrides):
    assert span_overrides(text) == overrides


@pytest.mark.parametrize("text", ["", "x", "7:", ":7", "7:3", "1:2:3", "-1", "2026-02-30", "2026-01-31:5", "²"])
def test_span_option_that_names_none(text):
    with pytest.raises(click.UsageError, match="--span: "):
        span_overrides(text)
