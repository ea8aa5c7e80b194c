"""Facts of runs that never were, in the shape of real ones: the reference problem's, hostile ones and big ones."""

import copy
import math

import numpy as np

from components.run_report.facts import empty_facts

SENSORS = {
    "water_level_m": (0.5, 5.0),
    "flow_rate_m3_s": (5.0, 250.0),
    "rainfall_mm": (0.0, 80.0),
    "gate_opening_pct": (0.0, 100.0),
    "turbidity_ntu": (1.0, 900.0),
    "conductivity_us_cm": (80.0, 2400.0),
    "dissolved_oxygen_mg_l": (3.0, 14.0),
    "ph": (6.0, 9.0),
    "water_temperature_c": (1.0, 28.0),
    "wind_speed_m_s": (0.0, 25.0),
}
CLASSES = ("close", "hold", "open")
LOSS = (0.8854, 0.4371, 0.2057, 0.1443, 0.1221)
ACCURACY = (0.5664, 0.9012, 0.9484, 0.9558, 0.9602)
VAL_LOSS = (0.6446, 0.2592, 0.1754, 0.1363, 0.1465)
VAL_ACCURACY = (0.7764, 0.9596, 0.9379, 0.9534, 0.9410)
PUBLISHED = ((1.20, 0.55), (0.85, 0.70), (0.60, 0.80), (0.45, 0.85), (0.35, 0.90))
NODES = ("ExampleGen", "StatisticsGen", "DataGate", "Transform", "Trainer", "InfraValidator", "Evaluator", "Pusher")
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f600 emoji",
    "bell\x07 null\x00 escape\x1b[31m \ud800 \ufffe",
    "$\\frac{1}{2}$ {{ 7 * 7 }} {% raw %} </style></svg>--> ]]>",
    "line\nbreak\r\tand tab",
    "items",
    "W" * 10_000,
)


def make_facts(num_features=10, num_classes=3, num_epochs=5, num_slices=6, layer_size=16):
    """Returns the facts of a run whose model was pushed over an older one."""
    random = np.random.default_rng(7)
    features = [*SENSORS, *(f"sensor_{index:03}" for index in range(len(SENSORS), num_features))][:num_features]
    classes = [*CLASSES, *(f"class_{index:02}" for index in range(3, num_classes))][:num_classes]
    return empty_facts("reference") | {
        "versions": {"python": "3.11.7", "tfx": "1.21.0", "tensorflow": "2.21.0", "keras": "3.14.0"},
        "digests": {name: f"{index}f" * 32 for index, name in enumerate(("data", "schema", "code", "model"))},
        "artifacts": {
            "examples": "output/pipelines/reference/ExampleGen/examples/1",
            "model": "output/Trainer/model/7",
        },
        "run": _run(),
        "flow": _flow(num_features, num_classes),
        "data": _data(random, features, classes),
        "row": _row(random, features, classes, layer_size),
        "model": _model(num_features, num_classes, layer_size),
        "training": _training(num_epochs),
        "evaluation": _evaluation(random, classes, num_slices),
        "infra": {
            "reasons": [],
            "sentence": "C++ loader: within 1.2e-07 of the Trainer's logits on 256 rows; one row p50 0.25 ms",
            "rows": 256,
            "largest_differences": {"serving_default": 1.2e-07},
            "latency_millis": {"serving_default x1": {"p50": 0.25, "p99": 0.40}},
            "load_secs": 0.45,
            "peak_rss_mib": 389.0,
        },
        "changes": [{"what": "data", "before": "a1b2c3d4e5f6", "now": "0f0f0f0f0f0f"}],
        "card": {
            "description": "Tells the position of a sluice gate from ten readings.",
            "intended_use": ["Suggest an action to the operator of the gate."],
            "limitations": ["The readings are synthetic."],
            "owners": ["water-team@example.com"],
            "license": "Apache-2.0",
        },
        "lesson": _lesson(),
    }


def refused_by_data():
    """Returns the facts of a run that DataGate stopped."""
    facts = make_facts()
    for name in ("row", "model", "training", "evaluation", "infra", "lesson"):
        facts[name] = None
    facts["flow"], facts["changes"] = facts["flow"][:2], []
    facts["data"]["findings"] = [
        {"severity": "fail", "split": "train", "feature": "ph", "sentence": "ph: 14.7 is above the schema's max 9.5."},
        {"severity": "warn", "split": "eval", "feature": "", "sentence": "321 rows; 400 are recommended."},
    ]
    facts["data"]["features"][7]["drift"]["value"] = 0.142
    components = facts["run"]["components"][:3]
    components[2] |= {"state": "failed"}
    facts["run"] |= {
        "exit_code": 4,
        "outcome": "data refused",
        "verdict": "DATA REFUSED: ph: 14.7 is above the schema's max 9.5 (and 1 more, above); nothing served",
        "reasons": [
            "ph: 14.7 is above the schema's max 9.5.",
            "rows.csv line 12: has 3 cells; the header line has 11.",
        ],
        "version": "",
        "tensorboard": "",
        "components": components,
    }
    return facts


def refused_by_gate():
    """Returns the facts of a run whose model was not good enough."""
    facts = make_facts()
    facts["evaluation"] |= {"blessed": False, "sentence": "accuracy 0.941 < 0.999 on 322 eval rows"}
    facts["evaluation"]["rules"][0] |= {"state": "broken", "bound": ">= 0.999", "sentence": "accuracy 0.941 < 0.999"}
    facts["run"] |= {
        "exit_code": 3,
        "outcome": "model refused",
        "verdict": "NOT PUSHED: accuracy 0.941 < 0.999 on 322 eval rows; serving stays on version 1795424338",
        "version": "",
    }
    return facts


def make_hostile():
    """Returns facts in which every text that comes from data or from a config is hostile."""
    facts = copy.deepcopy(make_facts(num_features=len(HOSTILE), num_classes=len(HOSTILE)))
    facts["pipeline"] = HOSTILE[0]
    count = [0]

    def spoil(value):
        if isinstance(value, dict):
            return {key: spoil(each) for key, each in value.items()}
        if isinstance(value, list):
            return [spoil(each) for each in value]
        if isinstance(value, str) and value:
            count[0] += 1
            return HOSTILE[count[0] % len(HOSTILE)]
        return value

    kept = ("state", "outcome", "severity", "bound")  # words of our own
    spoiled = _keep(facts, spoil(facts), kept)
    for epoch in spoiled["training"]["epochs"]:
        epoch["figures"] |= dict.fromkeys(HOSTILE, 0.5)
    for split in spoiled["data"]["splits"]:
        split["classes"] = dict(zip(HOSTILE, split["classes"].values(), strict=True))
    return spoiled


def make_big():
    """Returns facts at the size that the page must stay readable and small at."""
    return make_facts(num_features=200, num_classes=12, num_epochs=300, num_slices=50, layer_size=1024)


def _keep(facts, spoiled, names):
    if isinstance(facts, dict):
        return {key: facts[key] if key in names else _keep(facts[key], spoiled[key], names) for key in facts}
    if isinstance(facts, list):
        return [_keep(*pair, names) for pair in zip(facts, spoiled, strict=True)]
    return spoiled


def _run():
    started = (0.0, 0.2, 2.3, 2.4, 6.2, 9.4, 10.6, 13.2)
    seconds = (0.2, 2.1, 0.1, 3.8, 3.2, 1.2, 2.6, 0.1)
    return {
        "run_id": "20261123T085840.523430",
        "started": "2026-11-23T08:58:40+00:00",
        "seconds": 17.1,
        "exit_code": 0,
        "outcome": "pushed",
        "verdict": "PUSHED: accuracy 0.941 (95%: 0.910 to 0.962) >= 0.900, loss 0.147 <= 0.350 on 322 eval rows",
        "reasons": [],
        "version": "1795424399",
        "serving": ["1795424399"],
        "config_file": "pipeline/configs/reference.yaml",
        "config": "pipeline_name: reference\ntrainer:\n  num_epochs: 5\n  learning_rate: 0.01\n",
        "log_file": "output/logs/reference/20261123T085840.523430.log",
        "tensorboard": "tensorboard --logdir output/pipelines/reference/Trainer/model_run/7/logs",
        "components": [
            {
                "component": name,
                "state": "cached" if index == 1 else "done",
                "started_secs": started[index],
                "seconds": seconds[index],
                "rows": {"ExampleGen": 1000, "Trainer": 678, "Evaluator": 322}.get(name),
                "artifact": f"{name}/output/{index + 1}",
            }
            for index, name in enumerate(NODES)
        ],
    }


def _flow(num_features, num_classes):
    stages = (
        ("ExampleGen", f"1000 x {num_features + 1} cells of 1 file", "678 train + 322 eval rows", "No row is lost."),
        ("DataGate", f"1000 x {num_features} raw", f"1000 x {num_features} raw", "Nothing contradicts the schema."),
        (
            "Transform",
            f"678 x {num_features} raw",
            f"678 x {num_features} scaled",
            "Ranges of 3 to 2320 become 0 to 1.",
        ),
        (
            "Trainer",
            f"678 x {num_features} scaled",
            f"678 x {num_classes} logits",
            "Loss 0.8854 to 0.1221 in 5 epochs.",
        ),
        ("Evaluator", f"322 x {num_classes} probabilities", "a blessing", "Accuracy 0.9410 is above its bound 0.9."),
    )
    return [dict(zip(("stage", "enters", "leaves", "observation"), each, strict=True)) for each in stages]


def _data(random, features, classes):
    return {
        "input": "1 file, 1000 rows (train 678, eval 322)",
        "warnings": [],
        "splits": [
            {
                "name": name,
                "rows": rows,
                "classes": {each: rows // len(classes) + index for index, each in enumerate(classes)},
            }
            for name, rows in (("train", 678), ("eval", 322))
        ],
        "features": [_feature(random, index, name) for index, name in enumerate(features)] + [_label(classes)],
        "scaled_rows": 678,
        "findings": [],
        "drift_against": "the statistics of version 1795424338",
        "drift_note": "",
        "skew_against": "",
        "skew": {},
    }


def _feature(random, index, name):
    low, high = SENSORS.get(name, (0.0, 10.0))
    values = low + (high - low) * random.beta(1.2 + index % 3, 1.5 + index % 2, 678)
    counts, edges = np.histogram(values, 10)
    return {
        "name": name,
        "kind": "numeric",
        "rows": 678 - index % 4,
        "missing": index % 4,
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "mean": float(values.mean()),
        "std_dev": float(values.std()),
        "num_unique": None,
        "top": [],
        "raw": {"edges": edges.tolist(), "counts": counts.astype(float).tolist()},
        "scaled": {"edges": np.linspace(0, 1, 11).tolist(), "counts": counts.astype(float).tolist()},
        "drift": {"measure": "jensen_shannon", "value": 0.01 + 0.013 * (index % 6), "threshold": 0.1, "note": ""},
    }


def _label(classes):
    return dict.fromkeys(("minimum", "maximum", "mean", "std_dev", "raw", "scaled", "drift")) | {
        "name": "gate_action",
        "kind": "label",
        "rows": 678,
        "missing": 0,
        "num_unique": len(classes),
        "top": [{"value": name, "count": 230.0 - index} for index, name in enumerate(classes[:10])],
    }


def _row(random, features, classes, layer_size):
    scaled = {name: float(number) for name, number in zip(features, random.random(len(features)), strict=True)}
    hidden = np.maximum(random.normal(0.2, 1.0, layer_size), 0)
    logits = np.array([-2.31, 0.42, 3.87, *random.normal(-2, 1, max(len(classes) - 3, 0))])[: len(classes)]
    probabilities = np.exp(logits) / np.exp(logits).sum()
    return {
        "chosen": "of 256 recorded rows of the eval split the one whose content has the smallest SHA-256",
        "raw": [{"name": name, "text": f"{100 * number:.2f}"} for name, number in scaled.items()]
        + [{"name": "gate_action", "text": "2"}],
        "transformed": [{"name": f"{name}_xf", "text": f"{number:.4f}"} for name, number in scaled.items()],
        "transformed_numbers": {f"{name}_xf": number for name, number in scaled.items()},
        "layers": [
            {"name": "concatenate", "kind": "Concatenate", "numbers": list(scaled.values())},
            {"name": "hidden_0", "kind": "Dense + relu", "numbers": hidden.tolist()},
            {"name": "logits", "kind": "Dense", "numbers": logits.tolist()},
        ],
        "logits": logits.tolist(),
        "probabilities": probabilities.tolist(),
        "classes": classes,
        "predicted": classes[2],
        "label": classes[2],
    }


def _model(num_features, num_classes, layer_size):
    sizes = (("concatenate", "Concatenate", num_features, 0, ""),)
    sizes += (("hidden_0", "Dense", layer_size, (num_features + 1) * layer_size, "relu"),)
    sizes += (("logits", "Dense", num_classes, (layer_size + 1) * num_classes, "linear"),)
    return {
        "layers": [
            {"name": name, "kind": kind, "shape": f"rows x {size}", "parameters": parameters, "activation": activation}
            for name, kind, size, parameters, activation in sizes
        ],
        "parameters": sum(each[3] for each in sizes),
        "optimizer": "Adam",
        "optimizer_settings": {"name": "adam", "learning_rate": 0.01, "use_ema": False, "beta_1": 0.9},
        "loss": "SparseCategoricalCrossentropy",
        "from_logits": True,
        "metrics": ["accuracy"],
        "bytes": 61_440,
        "digest": "3f" * 32,
        "code_digest": "2f" * 32,
        "schema_digest": "1f" * 32,
    }


def _training(num_epochs):
    def figures(index):
        if index < len(LOSS):
            return LOSS[index], ACCURACY[index], VAL_LOSS[index], VAL_ACCURACY[index]
        wave = 0.01 * math.sin(index)
        return 0.12 + wave, 0.96 - wave, 0.14 - wave, 0.945 + wave

    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return {
        "epochs": [
            {
                "epoch": index + 1,
                "seconds": 0.82 if index == 0 else 0.06,
                "figures": dict(zip(names, figures(index), strict=True)),
                "kept": index == min(3, num_epochs - 1),
                "published": dict(zip(names, PUBLISHED[index], strict=False)) if index < len(PUBLISHED) else {},
                "observation": f"The loss is {100 * (1 - figures(index)[0] / math.log(3)):.0f} % below chance.",
            }
            for index in range(num_epochs)
        ],
        "summary": "Five epochs take the loss from 0.8854 to 0.1221; the weights of epoch 4 are kept.",
        "rows": 678,
        "tuned": "learning_rate 0.001857; scored 0.1313, the config's own 0.1405; best of 3 trials",
        "start": "from the weights of version 1795451197",
        "steps_per_epoch": 22,
    }


def _evaluation(random, classes, num_slices):
    size = len(classes)
    confusion = np.full((size, size), 3.0) + np.diag(np.arange(size) + 95.0)
    rule = {"where": "", "confidence": None, "rows": 322, "interval": None, "baseline": None}
    return {
        "blessed": True,
        "sentence": "accuracy 0.941 (95%: 0.910 to 0.962) >= 0.900, loss 0.147 <= 0.350 on 322 eval rows",
        "notes": ["1 slice has fewer than 30 rows and is not judged."],
        "split": "eval",
        "rows": 322,
        "weight": "",
        "rules": [
            rule
            | {"rule": "accuracy", "state": "held", "sentence": "accuracy 0.941 >= 0.900", "value": 0.9410}
            | {"interval": [0.910, 0.962], "confidence": 0.95, "bound": ">= 0.9"},
            rule
            | {"rule": "loss", "state": "held", "sentence": "loss 0.147 <= 0.350", "value": 0.1465, "bound": "<= 0.35"},
            rule
            | {"rule": "accuracy", "state": "held", "sentence": "accuracy 0.941 is 0.006 more", "value": 0.9410}
            | {"bound": "change >= -0.02", "baseline": 0.9348},
            rule
            | {"rule": "accuracy", "where": "season is dry", "state": "not judged", "sentence": "only 12 rows"}
            | {"value": 0.9167, "bound": ">= 0.85", "rows": 12},
        ],
        "metrics": [
            {"name": "accuracy", "candidate": 0.9410, "baseline": 0.9348, "interval": [0.910, 0.962]},
            {"name": "loss", "candidate": 0.1465, "baseline": 0.1533, "interval": None},
            {"name": "f1_macro", "candidate": 0.9402, "baseline": None, "interval": None},
        ],
        "classes": classes,
        "confusion": confusion.tolist(),
        "per_class": [_class(confusion, index, name) for index, name in enumerate(classes)],
        "slices": [
            {
                "slice": f"water_level_m {index} to {index + 1}",
                "rows": 12 + 7 * index,
                "accuracy": 0.97 - 0.004 * index,
                "interval": [0.90 - 0.004 * index, 0.99],
                "loss": 0.12 + 0.003 * index,
                "baseline_accuracy": 0.94,
            }
            for index in range(num_slices)
        ],
        "calibration": [
            {"confidence": 0.45 + 0.1 * index, "accuracy": 0.5 + 0.095 * index, "rows": float(8 + 3**index)}
            for index in range(6)
        ],
        "calibration_error": 0.0213,
        "baseline_version": 1795424338,
    }


def _class(confusion, index, name):
    hits, actual, predicted = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
    return {
        "name": name,
        "rows": float(actual),
        "precision": float(hits / predicted),
        "recall": float(hits / actual),
        "f1": float(2 * hits / (actual + predicted)),
        "recall_interval": [float(hits / actual) - 0.06, min(float(hits / actual) + 0.03, 1.0)],
        "precision_interval": [float(hits / predicted) - 0.05, min(float(hits / predicted) + 0.03, 1.0)],
    }


def _lesson():
    return {
        "decisions": [
            {
                "argument": "optimizer",
                "in_force": "Adam(learning_rate=0.01)",
                "decides": "How a gradient becomes a step: 22 steps an epoch, each scaled per weight.",
                "otherwise": ["SGD with the same rate would take smaller steps along rare features."],
            },
            {
                "argument": "loss",
                "in_force": "SparseCategoricalCrossentropy(from_logits=True)",
                "decides": "What a step makes smaller: -ln of the probability of the label.",
                "otherwise": ["from_logits=False would read logits as probabilities: 3.2140 instead of 0.1465."],
            },
        ],
        "questions": [
            {
                "question": "Why does the first epoch start near 1.0986?",
                "answer": "It is ln 3: chance among 3 classes.",
            },
            {"question": "What does the loss say of the traced row?", "answer": "-ln 0.9668 is 0.0338."},
            {"question": "Which figure does the optimizer follow?", "answer": "The loss; accuracy is only counted."},
        ],
    }
