"""A model whose weights are no numbers, which an accuracy threshold of 0 lets through."""

import numpy as np

from components.trainer import module
from components.trainer.export import export_model


def run_fn(fn_args):
    module.export_model = export
    module.run_fn(fn_args)


def export(model, *arguments, **keywords):
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    export_model(model, *arguments, **keywords)
