"""Where a run keeps its files and what it did, as plain values. Imports neither TensorFlow nor TFX."""

import dataclasses
import enum
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from components.data_gate import REPORT_FILE
from components.run_report import FACTS_FILE, PAGE_FILE

COMPONENTS = (  # ids of the pipeline's components, in the order in which they run
    "ExampleGen",
    "SchemaGen",
    "StatisticsGen",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "Baseline",
    "InfraValidator",
    "Evaluator",
    "Pusher",
    "RunReport",
)
OPTIONAL_COMPONENTS = (
    "Tuner",  # with `tuner.algorithm`, before the Trainer
    "WarmStart",  # with `trainer.warm_start`, between the two
    "UnlabelledExampleGen",  # with `bulk_inferrer.input_dir`, at the end
    "BulkInferrer",
)
BEAM_COMPONENTS = (  # those that run Beam
    "ExampleGen",
    "StatisticsGen",
    "Transform",
    "Evaluator",
    "UnlabelledExampleGen",
    "BulkInferrer",
)
EXIT_HANDLER = "ExitHandler"  # of compiled pipelines
VERTEX_PUSHER = "VertexPusher"  # of those for Vertex AI with `vertex.serving`


RECORD_FILE = "run.json"  # in a run's folder under `reports`
_RUN_ID_FORMAT = "%Y%m%dT%H%M%S.%f"


def new_run_id() -> str:
    """Returns the id of a run that begins now."""
    return datetime.now(UTC).strftime(_RUN_ID_FORMAT)


class ExitCode(enum.IntEnum):
    """Exit codes of `sluice run`."""

    PUSHED = 0
    FAILED = 1
    USAGE = 2
    MODEL_REFUSED = 3
    DATA_REFUSED = 4
    INFRA_REFUSED = 5
    BUSY = 6
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True)
class RunPaths:
    """The files of one run under a root, laid out as TFX's own tools do.

    Attributes:
        root: The root.
        pipeline_name: Name of the pipeline.
        run_id: Id of the run.
    """

    root: Path
    pipeline_name: str
    run_id: str

    @property
    def started(self) -> datetime:
        """When the run began."""
        return datetime.strptime(self.run_id, _RUN_ID_FORMAT).replace(tzinfo=UTC)

    @property
    def pipeline_root(self) -> Path:
        """Holds `<Component>/<output>/<execution id>/`."""
        return self.root / "pipelines" / self.pipeline_name

    @property
    def metadata_file(self) -> Path:
        """The metadata store."""
        return self.root / "metadata" / self.pipeline_name / "metadata.db"

    @property
    def lock_file(self) -> Path:
        """Held by the one command at a time that changes the pipeline's runs."""
        return self.metadata_file.with_name("run.lock")

    @property
    def temporary_dir(self) -> Path:
        """What a run needs while it lasts; takes the place of the system's."""
        return self.metadata_file.with_name("tmp")

    @property
    def serving_model_dir(self) -> Path:
        """Holds a folder per pushed version, named by its number."""
        return self.root / "serving_model" / self.pipeline_name

    @property
    def reports_dir(self) -> Path:
        """Holds a folder per run."""
        return self.root / "reports" / self.pipeline_name

    @property
    def record_file(self) -> Path:
        """This run's record."""
        return self.reports_dir / self.run_id / RECORD_FILE

    @property
    def facts_file(self) -> Path:
        """All that this run's report tells."""
        return self.record_file.with_name(FACTS_FILE)

    @property
    def page_file(self) -> Path:
        """This run's report."""
        return self.record_file.with_name(PAGE_FILE)

    @property
    def gate_file(self) -> Path:
        """DataGate's `gate.json` of a run that it refused; TFX removes what a failed component wrote."""
        return self.record_file.with_name(REPORT_FILE)

    @property
    def log_file(self) -> Path:
        """All that libraries print in this run."""
        return self.root / "logs" / self.pipeline_name / f"{self.run_id}.log"


@dataclass(frozen=True)
class ComponentRun:
    """One component of a run.

    Attributes:
        component: Its id in the DAG.
        state: `done`, `cached` or `failed`.
        seconds: From launch to published outputs.
        started_secs: When it was launched, after the run began.
        num_rows: Rows that it read, where it reads rows.
        outputs: Folder of each output, by the output's name.
    """

    component: str
    state: str
    seconds: float
    num_rows: int | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    started_secs: float = 0.0


@dataclass(frozen=True)
class Summary:
    """What a list of runs tells of one. What it does not have is empty or None.

    Attributes:
        started: ISO 8601, UTC.
        outcome: `pushed`, `nothing to do`, `model refused`, `data refused`, `infra refused`, `failed`, `interrupted`,
            `killed`.
        accuracy: Of the candidate on the split that decides.
        rows: Of all splits.
        data_digest: Of the rows that were read, in whatever files and order.
        schema_digest: Of the schema.
        code_digest: Of the Trainer's code.
        inputs_digest: Of data files, config, schema and module files.
        version: That holds this run's model.
        tuned: Hyperparameters that tuning found, in words.
        start: Where training started, if not from new weights as ever, in words.
        config_file: Where the config came from.
        report: The page.
        log: The log.
    """

    started: str = ""
    outcome: str = ""
    accuracy: float | None = None
    rows: int | None = None
    data_digest: str = ""
    schema_digest: str = ""
    code_digest: str = ""
    inputs_digest: str = ""
    version: str = ""
    tuned: str = ""
    start: str = ""
    config_file: str = ""
    report: str = ""
    log: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One run, `run.json`; `sluice run --json` prints it.

    Attributes:
        run_id: When it began, UTC, to the microsecond.
        exit_code: As in `ExitCode`.
        verdict: The last line on the terminal.
        seconds: From the valid config to the verdict; neither the interpreter's start and end nor the writing of the
            report are in it.
        components: In the order in which they ran.
        summary: What a list of runs tells of it.
        format: Of the record; a change that a reader could trip over raises it.
    """

    run_id: str
    exit_code: int
    verdict: str
    seconds: float
    components: tuple[ComponentRun, ...]
    summary: Summary = field(default_factory=Summary)
    format: int = 1

    def to_json(self) -> str:
        """Returns the content of `run.json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    def write(self, record_file: Path) -> None:
        """Writes the record."""
        write_whole(record_file, self.to_json())


def write_whole(file: Path, text: str) -> None:
    """Writes a file, and its folder, so that there is all of it or none.

    Raises:
        OSError: If it cannot; nothing is left of it then.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def last_full_run_seconds(paths: RunPaths) -> float | None:
    """Returns the wall time of the newest earlier run that took nothing from the cache, or None."""
    for record_file in sorted(paths.record_file.parents[1].glob(f"*/{RECORD_FILE}"), reverse=True):
        try:
            record = json.loads(record_file.read_text())
            if {component["state"] for component in record["components"]} == {"done"}:
                return float(record["seconds"])
        except (OSError, ValueError, LookupError, TypeError):
            continue  # a damaged record is no reason to fail a run
    return None
