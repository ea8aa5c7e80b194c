"""Puts the facts of two runs side by side. Facts in, JSON values out; imports neither TensorFlow nor TFX."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import yaml

from components.run_report.facts import Facts

_FIGURES = ("minimum", "maximum", "mean", "std_dev", "missing")
_SAME = 1e-9  # relative


class Row(TypedDict):
    """Something of which each run has a value, None if it has not."""

    what: str
    a: Any
    b: Any
    change: float | None  # of numbers


class Part(TypedDict):
    """What differs in a part of two runs."""

    title: str
    rows: list[Row]
    same: int  # of which there is no row


class Comparison(TypedDict):
    """Two runs side by side."""

    format: int
    a: str
    b: str
    parts: list[Part]


def compare_facts(a: Facts, b: Facts) -> Comparison:
    """Returns what differs between two runs, and how much does not."""
    parts = {
        "Outcome": (_outcome(a), _outcome(b)),
        "Config": (_config(a), _config(b)),
        "Data": (_data(a), _data(b)),
        "Digests": tuple({name: each[:12] for name, each in facts["digests"].items()} for facts in (a, b)),
        "Metrics": (_metrics(a), _metrics(b)),
        "Rules": (_rules(a), _rules(b)),
        "Classes": (_classes(a), _classes(b)),
        "Slices": (_slices(a), _slices(b)),
        "Seconds": (_seconds(a), _seconds(b)),
        "Versions": (a["versions"], b["versions"]),
    }
    return {
        "format": 1,
        "a": _name(a),
        "b": _name(b),
        "parts": [_part(title, *pair) for title, pair in parts.items()],
    }


def _name(facts: Facts) -> str:
    return facts["run"]["run_id"] if facts["run"] else facts["pipeline"]


def _part(title: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Part:
    names = [*a, *(name for name in b if name not in a)]
    differing = [name for name in names if not _is_same(a.get(name), b.get(name))]
    rows = [_row(name, a.get(name), b.get(name)) for name in differing]
    return {"title": title, "rows": rows, "same": len(names) - len(rows)}


def _row(what: str, a: Any, b: Any) -> Row:
    return {"what": what, "a": a, "b": b, "change": b - a if _is_number(a) and _is_number(b) else None}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_same(a: Any, b: Any) -> bool:
    if _is_number(a) and _is_number(b):
        return abs(a - b) <= _SAME * max(abs(a), abs(b))
    return type(a) is type(b) and a == b


def _outcome(facts: Facts) -> dict[str, Any]:
    run = facts["run"]
    if not run:
        return {}
    return {"outcome": run["outcome"], "version": run["version"], "verdict": run["verdict"]}


def _config(facts: Facts) -> dict[str, Any]:
    """Returns every value of the config by its dotted key."""
    text = facts["run"]["config"] if facts["run"] else ""
    try:
        return dict(_flattened(yaml.safe_load(text) or {}, ""))
    except yaml.YAMLError:  # a file that somebody has edited
        return {"text": text}


def _flattened(value: Any, key: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flattened(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        for index, each in enumerate(value):
            yield from _flattened(each, f"{key}[{index}]")
    else:
        yield key, ", ".join(map(str, value)) if isinstance(value, list) else value


def _data(facts: Facts) -> dict[str, Any]:
    data = facts["data"]
    if not data:
        return {}
    found: dict[str, Any] = {}
    for split in data["splits"]:
        found[f"{split['name']} rows"] = split["rows"]
        found |= {f"{split['name']} rows of {name}": count for name, count in (split["classes"] or {}).items()}
    for feature in data["features"]:
        values: Mapping[str, Any] = feature
        found[f"{feature['name']} kind"] = feature["kind"]
        found |= {f"{feature['name']} {name}": values[name] for name in _FIGURES if values[name] is not None}
    return found


def _metrics(facts: Facts) -> dict[str, Any]:
    return {each["name"]: each["candidate"] for each in facts["evaluation"]["metrics"]} if facts["evaluation"] else {}


def _rules(facts: Facts) -> dict[str, Any]:
    rules = facts["evaluation"]["rules"] if facts["evaluation"] else []
    return {" ".join(filter(None, (each["rule"], each["where"], each["bound"]))): each["state"] for each in rules}


def _classes(facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in facts["evaluation"]["per_class"] if facts["evaluation"] else []:
        found |= {f"{each['name']} recall": each["recall"], f"{each['name']} precision": each["precision"]}
    return found


def _slices(facts: Facts) -> dict[str, Any]:
    slices = facts["evaluation"]["slices"] if facts["evaluation"] else []
    return {f"accuracy where {each['slice']}": each["accuracy"] for each in slices}


def _seconds(facts: Facts) -> dict[str, Any]:
    run = facts["run"]
    if not run:
        return {}
    of_components = {each["component"]: _rounded(each["state"], each["seconds"]) for each in run["components"]}
    return of_components | {"whole run": round(run["seconds"], 1)}


def _rounded(state: str, seconds: float) -> Any:
    return state if state == "cached" else round(seconds, 1)
