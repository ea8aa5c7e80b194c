"""What a report is made of, and nothing else: the content of `facts.json`, as JSON has it.

Imported where facts are collected, shown and compared; imports neither TensorFlow nor TFX. What a run does not have, as
one that was refused has no model, is None. A change that a reader of the file could trip over raises `FORMAT`.
"""

import json
from pathlib import Path

from typing_extensions import TypedDict

from components.run_report.facts_of_model import EvaluationFacts, InfraFacts, ModelFacts, TrainingFacts
from components.run_report.facts_of_rows import DataFacts, RowFacts

FORMAT = 1


class ComponentFacts(TypedDict):
    """A component of a run."""

    component: str
    state: str  # done, cached or failed
    started_secs: float  # after the run began
    seconds: float
    rows: int | None
    artifact: str  # folder of its first output, under the root; empty if it has none


class RunFacts(TypedDict):
    """What only the one who runs a pipeline knows: of a compiled run it is not there."""

    run_id: str
    started: str  # ISO 8601, UTC
    seconds: float
    exit_code: int  # as of `sluice run`
    outcome: str  # pushed, nothing to do, model refused, data refused, infra refused, failed or interrupted
    verdict: str  # the last line on the terminal
    reasons: list[str]  # every reason why it was refused
    version: str  # which this run pushed or found pushed; empty if none
    serving: list[str]  # versions that are served after the run
    config_file: str
    config: str  # as YAML, without the webhook's address
    log_file: str
    tensorboard: str  # the command that shows the Trainer's logs; empty if there are none
    components: list[ComponentFacts]


class StageFacts(TypedDict):
    """A step of the data flow."""

    stage: str  # its component
    enters: str  # shape, such as `1000 x 10`, and of what
    leaves: str
    observation: str  # computed of the numbers


class ChangeFacts(TypedDict):
    """Something that is not as in the version that was served before."""

    what: str
    before: str
    now: str


class CardFacts(TypedDict):
    """What the config says of the model's use."""

    description: str
    intended_use: list[str]
    limitations: list[str]
    owners: list[str]
    license: str


class DecisionFacts(TypedDict):
    """What an argument of `compile` decides."""

    argument: str  # optimizer, loss or metrics
    in_force: str
    decides: str
    otherwise: list[str]  # what another choice would change


class QuestionFacts(TypedDict):
    """A question about this run's numbers."""

    question: str
    answer: str


class LessonFacts(TypedDict):
    """What compile decided."""

    decisions: list[DecisionFacts]
    questions: list[QuestionFacts]


class Facts(TypedDict):
    """A run."""

    format: int
    pipeline: str
    versions: dict[str, str]  # of Python and the libraries that matter
    digests: dict[str, str]  # of the data, the schema, the code, the model
    artifacts: dict[str, str]  # folder of each artifact that there is
    run: RunFacts | None
    flow: list[StageFacts]
    data: DataFacts | None
    row: RowFacts | None
    model: ModelFacts | None
    training: TrainingFacts | None
    evaluation: EvaluationFacts | None
    infra: InfraFacts | None
    changes: list[ChangeFacts]  # since the version that was served; empty too if none was
    card: CardFacts | None
    lesson: LessonFacts | None
    problems: list[str]  # what could not be read, and why


def empty_facts(pipeline: str) -> Facts:
    """Returns the facts of a run of which nothing is known but its pipeline's name."""
    return {
        "format": FORMAT,
        "pipeline": pipeline,
        "versions": {},
        "digests": {},
        "artifacts": {},
        "run": None,
        "flow": [],
        "data": None,
        "row": None,
        "model": None,
        "training": None,
        "evaluation": None,
        "infra": None,
        "changes": [],
        "card": None,
        "lesson": None,
        "problems": [],
    }


def facts_text(facts: Facts) -> str:
    """Returns the content of `facts.json`.

    Raises:
        ValueError: If a number is not finite; JSON has no word for it, and the field is None then.
    """
    return json.dumps(facts, indent=1, allow_nan=False) + "\n"


def load_facts(file: Path) -> Facts:
    """Reads `facts.json`.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON, or of another format.
    """
    try:
        facts: Facts = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as err:
        raise ValueError(f"{file}: {err}") from err
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ValueError(f"{file} is not of format {FORMAT}; another version of Sluice wrote it.")
    return facts
