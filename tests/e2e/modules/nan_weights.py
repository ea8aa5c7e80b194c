"""A model whose weights are no numbers, past the Trainer's guards and through an accuracy threshold of 0."""

import numpy as np

from components.trainer import export as exporter
from components.trainer import module


def run_fn(fn_args):
    module.export_model = export
    guards = exporter.check_weights, exporter.check_logits
    exporter.check_weights = exporter.check_logits = lambda _: None
    try:
        module.run_fn(fn_args)
    finally:
        exporter.check_weights, exporter.check_logits = guards


def export(model, *arguments, **keywords):
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    exporter.export_model(model, *arguments, **keywords)
