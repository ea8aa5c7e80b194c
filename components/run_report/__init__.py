"""RunReport: tells a run as a trace, on one page that needs neither a server nor a script."""

FACTS_FILE = "facts.json"  # in the output `report`, and in a run's folder under `reports`
PAGE_FILE = "index.html"  # beside it
MODEL_CARD_FILE = "MODEL_CARD.md"  # beside a pushed model
ARTIFACTS = (  # of which there may be facts; `infra_blessing` is InfraValidator's, `blessing` the Evaluator's
    "examples",
    "schema",
    "statistics",
    "findings",
    "transform_graph",
    "tuner_results",
    "model",
    "model_run",
    "baseline_model",
    "infra_blessing",
    "evaluation",
    "blessing",
)
