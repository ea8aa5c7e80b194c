"""What the benchmark makes of its measurements. The measuring itself is `make benchmark`."""

import importlib.util

import pytest


@pytest.fixture(scope="module")
def compare(project_root):
    spec = importlib.util.spec_from_file_location("compare", project_root / "tests" / "benchmarks" / "compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_of(contender, seconds, **components):
    return {
        "rows": 1000,
        "contender": contender,
        "seconds": seconds,
        "peak_mib": 10 * seconds,
        "accuracy": 0.9,
        "components": components,
    }


RUNS = [
    run_of("stock", 30.0, Trainer=4.0, Transform=9.0),
    run_of("stock", 34.0, Trainer=6.0, Transform=9.0),
    run_of("stock", 99.0, Trainer=5.0, Transform=90.0),
    run_of("sluice", 10.0, Trainer=2.0, Transform=1.0, RunReport=0.5),
    run_of("keras", 5.0, Trainer=1.0),
]


def test_medians_are_of_each_contender(compare):
    medians = compare.medians_of(RUNS)
    assert medians["stock"] == {
        "Trainer": 5.0,
        "Transform": 9.0,
        "whole process": 34.0,
        "peak MiB": 340.0,
        "accuracy": 0.9,
        "rows/s": 1000 / 34,
    }
    assert medians["sluice"]["RunReport"] == 0.5


def test_table_has_ratios_and_says_what_each_second_buys(compare, capsys):
    compare.print_size(1000, RUNS)
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    rows = {
        cells[0]: cells[1:] for cells in ([cell.strip() for cell in line if cell.strip()] for line in lines) if cells
    }
    assert rows["Trainer"][:5] == ["5.00", "2.00", "1.00", "0.40", "2.00"]
    assert rows["whole process"][:5] == ["34.0", "10.0", "5.0", "0.29", "2.00"]
    assert rows["RunReport"] == ["0.50", "the page that tells the run"]
    assert rows["accuracy"][:3] == ["0.9000"] * 3


def test_plot_is_drawn(compare, tmp_path):
    compare.draw(RUNS, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_contender_that_fails_is_named_and_the_others_go_on(compare, tmp_path, monkeypatch, capsys):
    broken = (lambda *_: ["python3", "-c", "import sys; sys.exit('no such thing')"], None)
    works = (lambda *_: ["python3", "-c", "print(7)"], lambda folder, output_dir, text: ({"Trainer": 0.0}, int(text)))
    monkeypatch.setattr(compare, "CONTENDERS", {"broken": broken, "works": works})
    found = list(compare._runs(tmp_path, 10, ["broken", "works"], 1))
    assert found[0] is None
    assert found[1]["accuracy"] == 7
    assert "10 rows, broken: exit code 1\n\nno such thing" in capsys.readouterr().out
