"""Writes what is known of a run before its push. Runs in RunReport's process."""

import json
import logging
import posixpath
from typing import Any

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from components.imports import quick_imports
from components.model_manifest import open_file
from components.run_report import FACTS_FILE, PAGE_FILE
from components.run_report.collect import collect_facts
from components.run_report.facts import facts_text


@component
def RunReport(
    examples: InputArtifact[standard_artifacts.Examples],
    schema: InputArtifact[standard_artifacts.Schema],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    baseline_model: InputArtifact[standard_artifacts.Model],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    report: OutputArtifact[standard_artifacts.ModelEvaluation],
    settings: Parameter[str],
    findings: InputArtifact[standard_artifacts.ExampleAnomalies] = None,
    tuner_results: InputArtifact[standard_artifacts.TunerResults] = None,
) -> None:
    """Writes `facts.json` and `index.html` of `report`; if it cannot, that is logged, and no reason to fail a run."""
    with quick_imports():
        from components.run_report.page import render_page  # and matplotlib, which compiling needs not

    artifacts: dict[str, Any] = {
        "examples": examples, "schema": schema, "statistics": statistics, "findings": findings,
        "transform_graph": transform_graph, "tuner_results": tuner_results, "model": model, "model_run": model_run,
        "baseline_model": baseline_model, "infra_blessing": infra_blessing, "evaluation": evaluation,
        "blessing": blessing,
    }  # fmt: skip
    try:
        facts = collect_facts(
            {name: artifact.uri for name, artifact in artifacts.items() if artifact}, json.loads(settings)
        )
        for name, text in ((FACTS_FILE, facts_text(facts)), (PAGE_FILE, render_page(facts))):
            with open_file(posixpath.join(report.uri, name), "wb") as file:
                file.write(text.encode())
    except Exception:
        logging.exception("There is no report.")
