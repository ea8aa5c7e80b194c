"""Pushes a blessed model that is, byte for byte, the one that was trained. Runs in Pusher's process.

The stock Pusher copies into the live folder, names versions by the second, and pushes whatever lies there.
"""

import dataclasses
import json
import logging
import math
from datetime import UTC, datetime
from typing import Any

from tfx import types
from tfx.components.pusher import executor as stock
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME as FEATURE_STATISTICS_FILE
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from components.data_gate import STATISTICS_FILE
from components.evaluator.verdict import Verdict
from components.evaluator.verdict_file import load_verdict
from components.infra_validator.report import load_report
from components.model_manifest import (
    DIGEST_PROPERTY,
    ManifestError,
    is_remote,
    local_copy,
    open_file,
    read_manifest,
)
from components.pusher import OUTCOME_PROPERTY, REASON_PROPERTY
from components.pusher.object_store import push_to_object_store
from components.pusher.push import push_model
from components.run_report import MODEL_CARD_FILE
from components.run_report.card_facts import collect_card
from components.run_report.data_facts import data_digest
from components.run_report.model_card import render_model_card

EXAMPLES_KEY = "examples"
STATISTICS_KEY = standard_component_specs.STATISTICS_KEY
_MODEL_KEY = standard_component_specs.MODEL_KEY
_CARD_ARTIFACTS = {
    "examples": EXAMPLES_KEY,
    "statistics": STATISTICS_KEY,
    "blessing": standard_component_specs.MODEL_BLESSING_KEY,
    "infra_blessing": standard_component_specs.INFRA_BLESSING_KEY,
}
SERVING_MODEL_DIR, RUN_ID, FORCE_PUSH = "serving_model_dir", "run_id", "force_push"  # execution properties


class Executor(stock.Executor):
    """Pushes atomically; refuses a model that is not what the Trainer wrote."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes if every blessing is given; the output `pushed_model` says what came of it.

        Its properties are the stock Pusher's (`pushed`, `pushed_destination`, `pushed_version`), and `outcome`:
        `pushed`, `unchanged` (the newest version holds this model), `refused` (with a `reason`) or `not_blessed`.
        A reason in the property `force_push` stands for the Evaluator's blessing, never for InfraValidator's.

        Raises:
            PushError: If the destination cannot be written.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed_model = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        verdict = load_verdict(artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_BLESSING_KEY]))
        force_push = "" if verdict.blessed else exec_properties.get(FORCE_PUSH, "")
        if not self.CheckBlessing(_without_model_blessing(input_dict) if force_push else input_dict):
            self._mark_refused(pushed_model, "not_blessed", _refusal(input_dict, verdict))
            return
        facts = self._facts(input_dict, exec_properties.get(RUN_ID), verdict)
        if force_push:
            facts["forced"] = {"reason": force_push, "verdict": str(verdict)}
        base_dir = exec_properties[SERVING_MODEL_DIR]
        try:
            with local_copy(self.GetModelPath(input_dict)) as model_dir:
                push = (push_to_object_store if is_remote(base_dir) else push_model)(
                    model_dir,
                    base_dir,
                    facts=facts,
                    keep_versions=json.loads(exec_properties["custom_config"])["keep_versions"],
                    expected_digest=_recorded_digest(input_dict),
                    companions=_companions(input_dict) | _model_card(input_dict, exec_properties),
                )
        except ManifestError as err:
            self._mark_refused(pushed_model, "refused", str(err))
            return
        self._MarkPushed(pushed_model, f"{base_dir}/{push.version}", str(push.version))
        pushed_model.set_string_custom_property(OUTCOME_PROPERTY, "pushed" if push.is_new else "unchanged")
        logging.info("%s", push)

    def _mark_refused(self, pushed_model: types.Artifact, outcome: str, reason: str) -> None:
        self._MarkNotPushed(pushed_model)
        pushed_model.set_string_custom_property(OUTCOME_PROPERTY, outcome)
        pushed_model.set_string_custom_property(REASON_PROPERTY, reason)

    def _facts(
        self, input_dict: dict[str, list[types.Artifact]], run_id: str | None, verdict: Verdict
    ) -> dict[str, Any]:
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        return {
            "run_id": run_id or self._context.pipeline_run_id or "",
            "data_digest": data_digest(examples.uri),
            "span": examples.get_int_custom_property("span") or examples.span,  # where TFX's driver puts it
            "metrics": {name: value for name, value in verdict.metrics.items() if math.isfinite(value)},
            "baseline": dataclasses.asdict(verdict.baseline),
        }


def _without_model_blessing(input_dict: dict[str, list[types.Artifact]]) -> dict[str, list[types.Artifact]]:
    return {name: each for name, each in input_dict.items() if name != standard_component_specs.MODEL_BLESSING_KEY}


def _companions(input_dict: dict[str, list[types.Artifact]]) -> dict[str, bytes]:
    """Returns the train split's statistics, with which DataGate compares the rows of later runs."""
    if STATISTICS_KEY not in input_dict:
        return {}
    folder = artifact_utils.get_split_uri(input_dict[STATISTICS_KEY], "train")
    with open_file(f"{folder}/{FEATURE_STATISTICS_FILE}", "rb") as file:
        return {STATISTICS_FILE: file.read()}


def _model_card(input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]) -> dict[str, bytes]:
    """Returns the model card; without one, which is logged, a model is pushed all the same."""
    settings = json.loads(exec_properties["custom_config"]).get("report")
    if not settings:
        return {}
    artifacts = {name: artifact_utils.get_single_uri(input_dict[key]) for name, key in _CARD_ARTIFACTS.items()}
    try:
        model_dir = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[_MODEL_KEY]))
        manifest = read_manifest(model_dir)
        digests = {"schema": manifest["schema_digest"], "code": manifest["code_digest"], "model": manifest["digest"]}
        facts = collect_card(artifacts, settings, digests)
        date = datetime.now(UTC).date().isoformat()
        return {MODEL_CARD_FILE: render_model_card(facts, date=date).encode()}
    except Exception:
        logging.exception("There is no model card.")
        return {}


def _refusal(input_dict: dict[str, list[types.Artifact]], verdict: Verdict) -> str:
    """Says why the model is not blessed, as far as the blessings' components tell."""
    if not verdict.blessed:
        return str(verdict)
    infra_blessing_dir = artifact_utils.get_single_uri(input_dict[standard_component_specs.INFRA_BLESSING_KEY])
    try:
        return "; ".join(load_report(infra_blessing_dir).reasons)
    except FileNotFoundError:  # the stock InfraValidator gives no reason
        return "TF Serving in Docker did not serve the model"


def _recorded_digest(input_dict: dict[str, list[types.Artifact]]) -> str:
    """Returns the digest by the Trainer's metadata.

    Raises:
        ManifestError: If InfraValidator checked another model.
    """
    model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
    recorded = model.get_string_custom_property(DIGEST_PROPERTY)
    for blessing in input_dict.get(standard_component_specs.INFRA_BLESSING_KEY, ()):
        checked = blessing.get_string_custom_property(DIGEST_PROPERTY)
        if recorded and checked and checked != recorded:
            raise ManifestError(f"InfraValidator checked another model: {checked[:12]}, not {recorded[:12]}.")
    return recorded
