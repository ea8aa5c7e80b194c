"""Training that breaks its model in the last step, with a loss that was finite all along."""

import keras
import numpy as np

from components.trainer import module


class _Break(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
        self.model.set_weights([np.full_like(weight, np.nan) for weight in self.model.get_weights()])


def run_fn(fn_args):
    fit = keras.Model.fit
    keras.Model.fit = lambda self, *arguments, callbacks, **keywords: fit(
        self, *arguments, callbacks=[*callbacks, _Break()], **keywords
    )
    try:
        module.run_fn(fn_args)
    finally:
        keras.Model.fit = fit
