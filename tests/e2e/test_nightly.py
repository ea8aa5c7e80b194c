"""A pipeline that a scheduler starts night after night, over spans of data: `make faults` has 50 runs over 10 spans."""

import json
import os
import subprocess
from datetime import date, timedelta

import numpy as np
import pytest

pytestmark = pytest.mark.e2e

KEEP = 3
FIRST_DAY = date(2026, 3, 1)
NUM_LAST = 5  # runs of a span


@pytest.fixture(scope="module")
def nightly(new_command, tmp_path_factory, reference_csv):
    """A command whose data are spans by their date, and a function that delivers one."""
    folder = tmp_path_factory.mktemp("nightly")
    header, *rows = reference_csv.read_text().splitlines()
    generator = np.random.default_rng(9)

    def deliver(day, num_rows):
        file = folder / "data" / f"day-{day}" / "rows.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        old = file.read_text().splitlines()[1:] if file.exists() else []
        new = [rows[number] for number in generator.integers(len(rows), size=num_rows)]
        file.write_text("\n".join([header, *old, *new]) + "\n")

    run = new_command(root=folder / "output")
    (folder / "temporary").mkdir()
    run.environment |= {"TMPDIR": str(folder / "temporary")}
    run.command += [
        *("--set", f"example_gen.input_dir={folder}/data", "--set", "example_gen.pattern=day-{YYYY}-{MM}-{DD}/*.csv"),
        *("--set", "evaluator.thresholds=[{metric: accuracy, lower_bound: 0.5}]", "--set", "example_gen.num_spans=3"),
        *("--set", "pusher.keep_versions=2"),
    ]
    return run, deliver


def tree_bytes(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def peak_mib(run, *arguments):
    """Runs, and returns the exit code, the last line and the peak memory of the largest process."""
    with subprocess.Popen(
        [*run.command, *arguments], cwd=run.cwd, env=run.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, output.splitlines()[-1], usage.ru_maxrss / 1024


NIGHTS = (  # of each span: what the scheduler runs, whether data are delivered before it, and what comes of it
    ((), True, "PUSHED: "),
    (("--if-new-data",), False, "NOTHING NEW: "),
    ((), False, "NOTHING TO DO: "),
    (("--set", "trainer.seed=50"), False, "PUSHED: "),
    (("--span", f"{FIRST_DAY}:{{day}}"), False, "PUSHED: "),
    (("--if-new-data",), True, "PUSHED: "),
)


def test_runs_over_spans_leave_nothing_that_grows(nightly, problems_of, pytestconfig):
    run, deliver = nightly
    num_spans = 2 if pytestconfig.getoption("--faults") == "few" else 10
    artifacts, temporary = run.root / "pipelines" / "reference", run.root.parent / "temporary"
    clean = [run.command[0], "clean", "--root", str(run.root), "--keep", str(KEEP)]
    peaks, sizes, num_records = [], [], 0
    for span in range(num_spans):
        day = FIRST_DAY + timedelta(days=span)
        for arguments, is_delivered, said in NIGHTS:
            if is_delivered:
                deliver(day, 200 if span else 1000)
            exit_code, last_line, mib = peak_mib(run, *(each.format(day=day) for each in arguments))
            assert (exit_code, last_line[: len(said)]) == (0, said), last_line
            if said != "NOTHING NEW: ":
                num_records += 1
                peaks.append(round(mib))
            assert list(temporary.iterdir()) == []
            assert problems_of(run.root, load=is_delivered) == []
        subprocess.run(clean, check=True, capture_output=True, cwd=run.cwd, env=run.environment)
        assert problems_of(run.root) == []
        sizes.append(round(tree_bytes(artifacts) / 2**20, 1))
        assert max(len(list(folder.iterdir())) for folder in artifacts.glob("*/*")) <= KEEP + 2
    records = [json.loads(file.read_text()) for file in run.root.glob("reports/reference/*/run.json")]
    assert len(records) == num_records
    assert {record["exit_code"] for record in records} == {0}
    metadata_mib = tree_bytes(run.root / "metadata") / 2**20
    print(f"\n{num_records} runs: peaks {peaks} MiB, artifacts {sizes} MiB, metadata {metadata_mib:.1f} MiB")
    assert max(peaks[-NUM_LAST:]) < 1.15 * max(peaks[:NUM_LAST])
