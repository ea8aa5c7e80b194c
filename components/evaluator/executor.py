"""The Evaluator's executor: TFX's own, with rules that TFMA has no word for. Runs in the Evaluator's process."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.constants import BASELINE_KEY, CANDIDATE_KEY
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as stock
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, path_utils, proto_utils

from components.baseline import Baseline
from components.baseline.served import load_baseline
from components.evaluator import EXAMPLE_COUNT, extractors
from components.evaluator.columnar import evaluate
from components.evaluator.eval_config import bucketed_slices, measured_scores, set_bounds
from components.evaluator.intervals import Interval, interval_of
from components.evaluator.judge import judge
from components.evaluator.measurement import load_measurement
from components.evaluator.predictions import SplitRows
from components.evaluator.rules import Rule
from components.evaluator.verdict import BROKEN, Verdict
from components.evaluator.verdict_file import write_verdict
from schema import FeatureRoles

RULES = "rules"  # execution property
_MODELS = {
    CANDIDATE_KEY: standard_component_specs.MODEL_KEY,
    BASELINE_KEY: standard_component_specs.BASELINE_MODEL_KEY,
}
_BLESSING_PROPERTIES = {  # of each model: its folder and its id
    CANDIDATE_KEY: (
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY,
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY,
    ),
    BASELINE_KEY: (
        constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY,
        constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY,
    ),
}
Artifacts = dict[str, list[types.Artifact]]


class Executor(stock.Executor):
    """Evaluates and decides as TFX does, then refuses what breaks a rule of ours, and says why."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Evaluates; the outputs `evaluation` and `blessing` are the stock Evaluator's, with `verdict.json` beside."""
        custom = json.loads(exec_properties[RULES])
        rules = bounded_rules(custom["rules"], exec_properties)
        baseline, input_dict = _baseline(input_dict)
        (split,) = json.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
        rows = _split_rows(input_dict, FeatureRoles.from_json(custom["roles"]), split)
        exec_properties = exec_properties | stock_properties(exec_properties, rules)
        if custom["executor"] == "stock":
            super().Do(input_dict, output_dict, exec_properties)
        else:
            self._log_startup(input_dict, output_dict, exec_properties)
            _evaluate(rows, rules, input_dict, output_dict, exec_properties)

        blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
        verdict = _verdict(input_dict, output_dict, rules, rows, baseline, blessed=_is_blessed(blessing))
        if not verdict.blessed:
            _refuse(blessing)
        write_verdict(verdict, blessing.uri)


def _split_rows(input_dict: Artifacts, roles: FeatureRoles, split: str) -> SplitRows:
    examples_dir = artifact_utils.get_split_uri(input_dict[standard_component_specs.EXAMPLES_KEY], split)
    return SplitRows([io_utils.all_files_pattern(examples_dir)], roles, split)


def _evaluate(
    rows: SplitRows,
    rules: list[Rule],
    input_dict: Artifacts,
    output_dict: Artifacts,
    exec_properties: dict[str, Any],
) -> None:
    """Does what the stock Evaluator does, in memory."""
    models = {name: input_dict[key] for name, key in _MODELS.items() if input_dict.get(key)}
    eval_config = config_pb2.EvalConfig()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.EVAL_CONFIG_KEY], eval_config)
    eval_config = tfma.utils.update_eval_config_with_defaults(
        eval_config, has_baseline=len(models) > 1, rubber_stamp=True
    )
    dirs = {name: _model_dir(artifacts) for name, artifacts in models.items()}
    holds = evaluate(
        rows,
        dirs if len(dirs) > 1 else {"": dirs[CANDIDATE_KEY]},
        eval_config,
        measured_scores(rules),
        artifact_utils.get_single_uri(output_dict[standard_component_specs.EVALUATION_KEY]),
    )
    blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
    _describe(blessing, models, exec_properties)
    (_bless if holds else _refuse)(blessing)


def _describe(blessing: types.Artifact, models: Artifacts, exec_properties: dict[str, Any]) -> None:
    """Sets the properties by which TFX's resolvers and Pusher know what was blessed."""
    for name, (uri_key, id_key) in _BLESSING_PROPERTIES.items():
        if name in models:
            model = artifact_utils.get_single_instance(models[name])
            blessing.set_string_custom_property(uri_key, model.uri)
            blessing.set_int_custom_property(id_key, model.id)
    if "current_component_id" in exec_properties:
        blessing.set_string_custom_property("component_id", exec_properties["current_component_id"])


def stock_properties(exec_properties: dict[str, Any], rules: list[Rule]) -> dict[str, Any]:
    """Returns the execution properties with which the stock Evaluator does its part: every bound that TFMA knows."""
    eval_config = config_pb2.EvalConfig()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.EVAL_CONFIG_KEY], eval_config)
    set_bounds(eval_config, rules)
    properties = {standard_component_specs.EVAL_CONFIG_KEY: proto_utils.proto_to_json(eval_config)}
    if bucketed_slices(eval_config):
        properties[standard_component_specs.MODULE_PATH_KEY] = extractors.__name__
    return properties


def bounded_rules(rules: list[dict[str, Any]], bounds: Mapping[str, Any]) -> list[Rule]:
    """Returns the rules of a component with the bounds of a run, by `Rule.name`.

    Raises:
        ValueError: If a bound is no finite number; no config has checked the parameters of a run.
    """
    bounded = [dataclasses.replace(rule, value=float(bounds[rule.name])) for rule in map(Rule.from_json, rules)]
    for rule in bounded:
        if not math.isfinite(rule.value):
            raise ValueError(f"{rule.name} must be a number. Received: {rule.value}.")
    return bounded


def _baseline(input_dict: Artifacts) -> tuple[Baseline, Artifacts]:
    """Returns what the candidate is compared with, and the inputs without a baseline that is none."""
    models = input_dict.get(standard_component_specs.BASELINE_MODEL_KEY)
    baseline = load_baseline(artifact_utils.get_single_uri(models)) if models else Baseline(reason="there is none")
    if baseline.version is None:
        input_dict = {
            name: each for name, each in input_dict.items() if name != standard_component_specs.BASELINE_MODEL_KEY
        }
    return baseline, input_dict


def _verdict(
    input_dict: Artifacts,
    output_dict: Artifacts,
    rules: list[Rule],
    rows: SplitRows,
    baseline: Baseline,
    *,
    blessed: bool,
) -> Verdict:
    evaluation_dir = artifact_utils.get_single_uri(output_dict[standard_component_specs.EVALUATION_KEY])
    has_baseline = baseline.version is not None
    candidate = load_measurement(evaluation_dir, CANDIDATE_KEY if has_baseline else "")

    def find_interval(rule: Rule, where: str) -> Interval | None:
        candidate = rows.predict(_model_dir(input_dict[standard_component_specs.MODEL_KEY]))
        models = input_dict.get(standard_component_specs.BASELINE_MODEL_KEY)
        before = rows.predict(_model_dir(models)) if models and rule.is_change else None
        if where:
            inside = rows.read_slices([rule.slice])[rule.slice].rows[where]
            candidate, before = candidate.take(inside), before.take(inside) if before else None
        return interval_of(rule, candidate, before, rows.roles.class_names)

    judgements = judge(
        rules,
        candidate,
        load_measurement(evaluation_dir, BASELINE_KEY) if has_baseline else None,
        no_baseline=baseline.reason,
        interval_of=find_interval,
    )
    return Verdict(
        blessed=blessed and all(each.state != BROKEN for each in judgements),
        judgements=tuple(judgements),
        num_rows=int(candidate.whole.get(EXAMPLE_COUNT, 0)),
        metrics=candidate.whole,
        baseline=baseline,
        split=rows.split,
        weight=rows.roles.weight or "",
    )


def _model_dir(models: list[types.Artifact]) -> str:
    return path_utils.serving_model_path(artifact_utils.get_single_uri(models))


def _is_blessed(blessing: types.Artifact) -> bool:
    return fileio.exists(os.path.join(blessing.uri, constants.BLESSED_FILE_NAME))


def _bless(blessing: types.Artifact) -> None:
    io_utils.write_string_file(os.path.join(blessing.uri, constants.BLESSED_FILE_NAME), "")
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.BLESSED_VALUE)


def _refuse(blessing: types.Artifact) -> None:
    """Takes a blessing back."""
    if _is_blessed(blessing):
        fileio.remove(os.path.join(blessing.uri, constants.BLESSED_FILE_NAME))
    io_utils.write_string_file(os.path.join(blessing.uri, constants.NOT_BLESSED_FILE_NAME), "")
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.NOT_BLESSED_VALUE)
