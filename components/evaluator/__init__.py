"""Evaluator: measures the served signature on the eval split and blesses a model that holds every rule."""

EXAMPLE_COUNT = "example_count"  # the metric that counts the rows
