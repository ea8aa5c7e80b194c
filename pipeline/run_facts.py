"""Writes the report of a local run, however it ended. Imports TensorFlow only where there are artifacts to read."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.imports import quick_imports
from components.run_report import ARTIFACTS, FACTS_FILE
from components.run_report.facts import ComponentFacts, Facts, RunFacts, empty_facts, facts_text, load_facts
from pipeline.config import PipelineConfig
from pipeline.run_record import ExitCode, RunPaths, RunRecord, Summary, write_whole
from pipeline.terminal import shown

_FLOW = ("ExampleGen", "Transform", "Trainer", "Evaluator", "Pusher")
_MOST_CELLS, _MOST_LOGITS, _LONGEST = 3, 5, 40
_OUTCOMES = {
    ExitCode.FAILED: "failed",
    ExitCode.MODEL_REFUSED: "model refused",
    ExitCode.DATA_REFUSED: "data refused",
    ExitCode.INFRA_REFUSED: "infra refused",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "interrupted",
}


def report_run(
    record: RunRecord,
    config: PipelineConfig,
    paths: RunPaths,
    *,
    config_file: str,
    pushed_dir: str,
    is_unchanged: bool,
    reasons: Sequence[str] = (),
) -> tuple[RunRecord, list[str]]:
    """Writes `facts.json` and `index.html` of a run. That it cannot is no reason to fail the run.

    Args:
        record: What was done.
        config: What was run.
        paths: Of the run.
        config_file: Where the config came from.
        pushed_dir: The version that holds this run's model; empty if none does.
        is_unchanged: Whether it did so before.
        reasons: Why the run was refused.

    Returns:
        The record with its summary, and what there is to say of the report.
    """
    run = _run_facts(record, config, paths, pushed_dir=pushed_dir, is_unchanged=is_unchanged)
    run |= {"config_file": config_file, "reasons": list(reasons)}
    facts = empty_facts(config.pipeline_name)
    lines = []
    try:
        facts = _facts(record, config, paths)
        facts["run"] = run
        _write(facts, paths)
        lines += [*_trace_lines(facts), f"Report  {shown(paths.page_file)}"]
    except (Exception, KeyboardInterrupt) as err:
        logging.exception("There is no report.")
        lines.append(f"Report  none: {type(err).__name__}: {err}; the log says more")
    return dataclasses.replace(record, summary=_summary(record, run, facts, paths)), lines


def _trace_lines(facts: Facts) -> Iterator[str]:
    """Yields what was tuned, the data flow, the row that is followed and where the curves are, a line each."""
    if training := facts["training"]:
        for word in ("tuned", "start"):
            if training[word]:
                yield f"{word.capitalize():<8}{training[word]}"
    if shapes := [each["leaves"] for each in facts["flow"] if each["stage"] in _FLOW]:
        yield f"Flow    {' -> '.join([facts['flow'][0]['enters'], *shapes])}"
    if row := facts["row"]:
        logits = row["logits"][:_MOST_LOGITS]
        inputs = [f"{raw['name'][:_LONGEST]} {raw['text'][:_LONGEST]}" for raw in row["raw"][:_MOST_CELLS]]
        more = f" and {len(row['raw']) - _MOST_CELLS} more" * (len(row["raw"]) > _MOST_CELLS)
        logits_text = ", ".join(f"{each:.2f}" for each in logits) + ", ..." * (len(row["logits"]) > _MOST_LOGITS)
        yield (
            f"Row     {', '.join(inputs)}{more} -> logits {logits_text} -> {row['predicted']} "
            f"{max(row['probabilities']):.3f}" + f" (label {row['label']})" * bool(row["label"])
        )
    if facts["run"] and facts["run"]["tensorboard"]:
        yield f"Curves  {facts['run']['tensorboard']}"


def _write(facts: Facts, paths: RunPaths) -> None:
    from components.run_report.observations import flow_of

    with quick_imports():
        from components.run_report.page import render_page

    facts["flow"] = flow_of(facts)
    write_whole(paths.facts_file, facts_text(facts))
    write_whole(paths.page_file, render_page(facts))


def _summary(record: RunRecord, run: RunFacts, facts: Facts, paths: RunPaths) -> Summary:
    metrics = facts["evaluation"]["metrics"] if facts["evaluation"] else []
    digests = facts["digests"]
    return dataclasses.replace(
        record.summary,
        started=run["started"],
        outcome=run["outcome"],
        accuracy=next((each["candidate"] for each in metrics if each["name"] == "accuracy"), None),
        rows=sum(each["rows"] for each in facts["data"]["splits"]) if facts["data"] else None,
        data_digest=digests.get("data", ""),
        schema_digest=digests.get("schema", ""),
        code_digest=digests.get("code", ""),
        version=run["version"],
        tuned=facts["training"]["tuned"] if facts["training"] else "",
        start=facts["training"]["start"] if facts["training"] else "",
        config_file=run["config_file"],
        report=shown(paths.page_file) if paths.page_file.exists() else "",
        log=run["log_file"],
    )


def report_settings(config: PipelineConfig) -> dict[str, Any]:
    """Returns what the config tells a report, as JSON values."""
    return {
        "pipeline": config.pipeline_name,
        "roles": dataclasses.asdict(config.feature_roles()),
        "published_trace": [each.model_dump() for each in config.published_trace],
        "model_card": config.model_card.model_dump(mode="json"),
    }


def _run_facts(
    record: RunRecord, config: PipelineConfig, paths: RunPaths, *, pushed_dir: str, is_unchanged: bool
) -> RunFacts:
    from components.pusher.versions import VersionError, served_versions

    try:
        serving = [str(version) for version in served_versions(paths.serving_model_dir)]
    except (VersionError, OSError):
        serving = []
    logs = [shown(each.outputs["model_run"]) for each in record.components if "model_run" in each.outputs]
    pushed = "nothing to do" if is_unchanged else "pushed"
    return {
        "run_id": record.run_id,
        "started": paths.started.isoformat(timespec="seconds"),
        "seconds": record.seconds,
        "exit_code": int(record.exit_code),
        "outcome": _OUTCOMES.get(ExitCode(record.exit_code), pushed),
        "verdict": record.verdict,
        "version": Path(pushed_dir).name,
        "serving": serving,
        "config_file": "",
        "reasons": [],
        "config": _config_text(config),
        "log_file": shown(paths.log_file),
        "tensorboard": f"tensorboard --logdir {logs[0]}" if logs else "",
        "components": [_component(each, paths) for each in record.components],
    }


def _facts(record: RunRecord, config: PipelineConfig, paths: RunPaths) -> Facts:
    """Returns RunReport's facts or, of a run that did not get there, those of what there is, with DataGate's."""
    outputs = {each.component: each.outputs for each in record.components}
    findings_dir = outputs.get("DataGate", {}).get("findings")
    if not findings_dir and paths.gate_file.exists():  # it refused the data
        findings_dir = str(paths.gate_file.parent)
    try:
        facts = load_facts(Path(outputs["RunReport"]["report"], FACTS_FILE))
    except (LookupError, OSError, ValueError):  # it did not run, or wrote none, or somebody has damaged it
        from components.run_report.collect import collect_facts

        facts = collect_facts(_artifacts(outputs), report_settings(config))
    if findings_dir and facts["data"]:
        from components.run_report.data_facts import add_findings

        facts["artifacts"]["findings"] = findings_dir
        add_findings(facts["data"], findings_dir)
    return facts


def _artifacts(outputs: dict[str, dict[str, str]]) -> dict[str, str]:
    found = {name: folder for each in outputs.values() for name, folder in each.items() if name in ARTIFACTS}
    for name, component in (("infra_blessing", "InfraValidator"), ("blessing", "Evaluator")):
        found.pop(name, None)
        if "blessing" in outputs.get(component, {}):
            found[name] = outputs[component]["blessing"]
    return found


def _component(each: Any, paths: RunPaths) -> ComponentFacts:
    artifact = next(iter(each.outputs.values()), "")
    return {
        "component": each.component,
        "state": each.state,
        "started_secs": each.started_secs,
        "seconds": each.seconds,
        "rows": each.num_rows,
        "artifact": shown(artifact, paths.root) if artifact else "",
    }


def _config_text(config: PipelineConfig) -> str:
    values = config.model_dump(mode="json")
    for name in ("webhook_url", "command"):  # which may hold secrets
        if values["notification"][name]:
            values["notification"][name] = "(set)"
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
