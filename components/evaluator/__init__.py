"""Evaluator: measures the served signature on the eval split and blesses a model that meets every threshold."""
