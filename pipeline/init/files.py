"""Writes what was decided: `schema.pbtxt` and `pipeline.yaml`. Runs in `sluice init`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.example_gen.csv_table import CsvOptions
from pipeline.init.decision import IGNORED, LABEL, NUMERIC, Decision
from pipeline.init.hints import is_worth_balancing

SCHEMA_FILE, CONFIG_FILE = "schema.pbtxt", "pipeline.yaml"
_TEMPLATE = Path(__file__).with_name("pipeline.yaml.j2")
_MOST_STRATIFIED = 5_000  # rows; of more, chance gives every class its share, and no row ever moves
_EPOCHS = ((500, 100), (5_000, 60), (50_000, 30), (500_000, 10), (float("inf"), 5))  # enough below so many rows


def schema_text(decisions: Sequence[Decision], *, source: str) -> str:
    """Returns the schema with a comment for each column."""
    parts = [
        f"# What a row of {_comment(source)} must be, for training and for serving. Written by `sluice init`.\n"
        "# A domain's min and max are what you would refuse to train on; README, 'Your own data', explains each line.\n"
        'default_environment: "TRAINING"\ndefault_environment: "SERVING"\n'
    ]
    for decision in decisions:
        if decision.feature:
            text = text_format.MessageToString(schema_pb2.Schema(feature=[decision.feature]), as_utf8=True)
            parts.append(f"# {decision.role}: {_comment(decision.why)}\n{text}")
    return "".join(parts)


def config_text(
    decisions: Sequence[Decision], *, name: str, input_dir: str, pattern: str, options: CsvOptions, source: str
) -> str:
    """Returns the config, with every key and a comment for each section."""
    (label,) = (decision.profile for decision in decisions if decision.role == LABEL)
    counts = label.counts
    num_epochs = next(epochs for most, epochs in _EPOCHS if label.num_rows < most)
    majority = max(counts.values()) / label.num_rows
    has_missing = any(each.role == NUMERIC and each.profile.num_missing for each in decisions)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters |= {"yaml": _yaml, "comment": _comment}
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        source=source,
        name=name,
        input_dir=input_dir,
        pattern=pattern,
        options=options,
        ignored=[each for each in decisions if each.role == IGNORED],
        label=label.name,
        majority=majority,
        lower_bound=int((1 + majority) / 2 * 100) / 100,
        missing_indicator=has_missing,
        stratify=label.num_rows < _MOST_STRATIFIED,
        class_weight="balanced" if is_worth_balancing(label) else None,
        num_epochs=num_epochs,
        patience=max(3, num_epochs // 5),
    )


def _comment(text: str) -> str:
    """Returns a text for a comment, which ends with its line."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _yaml(value: Any) -> str:
    """Returns a value as YAML in a line; JSON is YAML."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
