"""Trainer: builds, compiles and fits the Keras model and exports it for serving."""
