import csv
import runpy

import pytest


@pytest.fixture(scope="module")
def maker(project_root):
    return runpy.run_path(str(project_root / "schema" / "reference" / "make_reference.py"))


def test_committed_data_are_what_the_script_writes(maker, reference_csv, tmp_path):
    for name in ("first.csv", "second.csv"):
        maker["write_csv"](tmp_path / name)
        assert (tmp_path / name).read_bytes() == reference_csv.read_bytes()


def test_another_seed_gives_other_rows(maker, reference_csv, tmp_path):
    maker["write_csv"](tmp_path / "other.csv", seed=1)
    assert (tmp_path / "other.csv").read_bytes() != reference_csv.read_bytes()


def test_there_are_1000_rows_of_10_features_in_differing_ranges_and_3_classes(reference_csv):
    with reference_csv.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1000
    assert {row.pop("gate_action") for row in rows} == {"0", "1", "2"}
    highest = {name: max(float(row[name]) for row in rows) for name in rows[0]}
    assert len(highest) == 10
    assert max(highest.values()) > 100 * min(highest.values())
