"""Evaluator: measures the served signature on the eval split and blesses a model that meets every threshold."""

EXAMPLE_COUNT = "example_count"  # the metric that counts the rows
