"""Collects the facts of a run from its artifacts, whichever of them there are.

Runs in RunReport's process and, for a run that ended before that, in `sluice run`.
"""

import importlib.metadata
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from tfx.utils import path_utils

from components.baseline.served import load_baseline
from components.model_manifest import ManifestError, file_sha256, read_manifest
from components.run_report.data_facts import add_findings, collect_data, data_digest
from components.run_report.evaluation_facts import collect_evaluation, collect_infra
from components.run_report.facts import ChangeFacts, Facts, empty_facts
from components.run_report.lesson import make_lesson
from components.run_report.observations import flow_of, observe_training
from components.run_report.row_facts import collect_row, losses_by_reading
from components.run_report.training_facts import collect_model, collect_training
from schema import FeatureRoles

_LIBRARIES = (
    "sluice",
    "tfx",
    "tensorflow",
    "keras",
    "tensorflow-transform",
    "tensorflow-model-analysis",
    "tensorflow-data-validation",
    "apache-beam",
    "pyarrow",
    "numpy",
)
_MOST_CHARACTERS = 500
T = TypeVar("T")


def collect_facts(artifacts: Mapping[str, str], settings: Mapping[str, Any]) -> Facts:
    """Collects what is known of a run. What cannot be read is told among the problems; nothing is raised for it.

    Args:
        artifacts: Folder of each artifact that there is, by its name in `components/run_report/__init__.py`.
        settings: `pipeline`, its name; `roles`, `FeatureRoles` as JSON; `published_trace` and `model_card` of the
            config.
    """
    roles = FeatureRoles.from_json(settings["roles"])
    facts = empty_facts(settings["pipeline"])
    facts["artifacts"] = dict(artifacts)
    facts["versions"] = {"python": platform.python_version()} | dict(_versions())
    facts["card"] = settings.get("model_card")
    problems = facts["problems"]

    def collect(what: str, of: Callable[[], T], *needed: str) -> T | None:
        if not artifacts.keys() >= {*needed}:
            return None
        try:
            return of()
        except Exception as err:  # a report is no reason to fail a run
            logging.exception("The report lacks %s.", what)
            problems.append(f"{what}: {' '.join(f'{type(err).__name__}: {err}'.split())[:_MOST_CHARACTERS]}")
            return None

    facts["data"] = collect("data", lambda: collect_data(artifacts, roles), "examples")
    num_rows = {each["name"]: each["rows"] for each in facts["data"]["splits"]} if facts["data"] else {}
    facts["model"] = collect("model", lambda: collect_model(artifacts), "model", "model_run")
    published = settings.get("published_trace", ())
    facts["training"] = collect(
        "training", lambda: collect_training(artifacts, published, num_rows.get("train")), "model_run"
    )
    facts["row"] = collect("row", lambda: collect_row(artifacts, roles, facts["model"]), "examples", "model")
    facts["evaluation"] = collect("evaluation", lambda: collect_evaluation(artifacts, roles), "evaluation", "blessing")
    facts["infra"] = collect("infra", lambda: collect_infra(artifacts["infra_blessing"]), "infra_blessing")
    if data := facts["data"]:
        collect("findings", lambda: add_findings(data, artifacts["findings"]), "findings")
    if training := facts["training"]:
        collect("observations", lambda: observe_training(training, len(roles.class_names)))
    facts["lesson"] = collect("lesson", lambda: make_lesson(facts, losses_by_reading(artifacts, roles)), "model_run")
    facts["digests"] = collect("digests", lambda: dict(_digests(artifacts, facts))) or {}
    facts["changes"] = collect("changes", lambda: list(_changes(artifacts, facts)), "baseline_model") or []
    facts["flow"] = collect("flow", lambda: flow_of(facts)) or []
    return facts


def _versions() -> Iterator[tuple[str, str]]:
    for library in _LIBRARIES:
        try:
            yield library, importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue


def _digests(artifacts: Mapping[str, str], facts: Facts) -> Iterator[tuple[str, str]]:
    if "examples" in artifacts and (digest := data_digest(artifacts["examples"])):
        yield "data", digest
    if "schema" in artifacts:
        yield "schema", file_sha256(f"{artifacts['schema']}/schema.pbtxt")
    if facts["model"]:
        yield "code", facts["model"]["code_digest"]
        yield "model", facts["model"]["digest"]


def _changes(artifacts: Mapping[str, str], facts: Facts) -> Iterator[ChangeFacts]:
    """Yields what is not as in the version that the candidate is compared with."""
    if load_baseline(artifacts["baseline_model"]).version is None:
        return
    try:
        before = read_manifest(path_utils.serving_model_path(artifacts["baseline_model"]))
    except ManifestError:
        return
    names = {"data": "data_digest", "schema": "schema_digest", "code": "code_digest", "model": "digest"}
    for what, name in names.items():
        old, new = before.get(name) or "", facts["digests"].get(what, "")
        if old and new and old != new:
            yield {"what": what, "before": old[:12], "now": new[:12]}
