"""Collects what a model card tells. Runs in Pusher's process."""

from collections.abc import Mapping
from typing import Any

from components.run_report.data_facts import collect_data, data_digest
from components.run_report.evaluation_facts import collect_evaluation, collect_infra
from components.run_report.facts import Facts, empty_facts
from schema import FeatureRoles


def collect_card(artifacts: Mapping[str, str], settings: Mapping[str, Any], digests: Mapping[str, str]) -> Facts:
    """Collects what a model card tells; neither a model is loaded for it nor TFMA.

    Args:
        artifacts: Folders of `examples`, `statistics` and `blessing`, and of `infra_blessing` if there is one.
        settings: `pipeline`, `roles` and `model_card`, as of `collect_facts`.
        digests: Of the model, its code and its schema.

    Raises:
        Exception: If an artifact cannot be read.
    """
    roles = FeatureRoles.from_json(settings["roles"])
    facts = empty_facts(settings["pipeline"])
    facts["card"] = settings["model_card"]
    facts["data"] = collect_data({name: artifacts[name] for name in ("examples", "statistics")}, roles)
    facts["evaluation"] = collect_evaluation({"blessing": artifacts["blessing"]}, roles)
    if "infra_blessing" in artifacts:
        facts["infra"] = collect_infra(artifacts["infra_blessing"])
    facts["digests"] = {"data": data_digest(artifacts["examples"]), **digests}
    return facts
