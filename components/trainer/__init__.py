"""Trainer: builds, compiles and fits the Keras model and exports it for serving."""

TRAINING_TRACE_FILE = "training_trace.json"  # in the output `model_run`
