"""Times `sluice run --no-cache` beside the plain stock pipeline: whole processes, alternating, each in a fresh folder.

`python tests/benchmarks/compare.py [--repeats 3]`, or `make benchmark`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
SLUICE = str(Path(sys.executable).parent / "sluice")


def main() -> None:
    """Runs both pipelines and prints medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each pipeline")
    repeats = parser.parse_args().repeats

    figures: dict[str, list[tuple[float, float]]] = {"stock": [], "sluice": []}
    with tempfile.TemporaryDirectory() as folder:
        data_dir = str(ROOT / "schema" / "reference" / "data")
        for repeat in range(repeats):
            stock = [
                sys.executable,
                str(ROOT / "tests/benchmarks/stock_pipeline.py"),
                data_dir,
            ]
            figures["stock"].append(_measure([*stock, f"{folder}/stock-{repeat}"]))
            sluice = [
                SLUICE,
                "run",
                "--no-cache",
                "--root",
                f"{folder}/sluice-{repeat}",
            ]
            figures["sluice"].append(_measure(sluice))
    _print(figures)


def _measure(command: list[str]) -> tuple[float, float]:
    """Returns the wall seconds and the peak memory in MiB of a command that must succeed."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            output.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{output.read()[-3000:]}")
    return seconds, usage.ru_maxrss / 1024


def _print(figures: dict[str, list[tuple[float, float]]]) -> None:
    table = Table("pipeline", "seconds (median)", "all runs", "peak MiB", "share of stock", box=box.SIMPLE_HEAD)
    stock_seconds = statistics.median(seconds for seconds, _ in figures["stock"])
    for name, runs in figures.items():
        seconds = statistics.median(seconds for seconds, _ in runs)
        all_runs = ", ".join(f"{seconds:.1f}" for seconds, _ in runs)
        peak = max(memory for _, memory in runs)
        table.add_row(
            name,
            f"{seconds:.1f}",
            all_runs,
            f"{peak:.0f}",
            f"{seconds / stock_seconds:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
