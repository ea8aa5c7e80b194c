"""Evaluator: measures the served signature on the eval split and blesses a model that holds every rule."""

EXAMPLE_COUNT = "example_count"  # the metric that counts the rows
CONFUSION_MATRIX = "confusion_matrix"  # metrics that are arrays, for the report
CALIBRATION_BINS = "calibration_bins"
