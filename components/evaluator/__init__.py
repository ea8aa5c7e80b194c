"""Evaluator: measures the served signature on the eval split and blesses a model that meets every threshold."""

EXAMPLE_COUNT = "example_count"  # the metric that counts the rows


def bound_name(metric: str, bound: str) -> str:
    """Names the parameter that holds a metric's `lower_bound` or `upper_bound`, such as `accuracy_lower_bound`."""
    return f"{metric}_{bound}"
