"""ExampleGen: reads the data and splits it into train and eval examples."""

from typing import Any

REQUESTED_SPAN = "requested_span"  # execution property: the span to read
NEWEST_SPAN = -1
SETTINGS = "settings"  # execution property of the columnar ExampleGen: JSON, `components/example_gen/settings.py`


def select_span(exec_properties: dict[str, Any]) -> None:
    """Puts the execution property `requested_span` where TFX's drivers read it, as a JSON `range_config`."""
    span = exec_properties.get(REQUESTED_SPAN, NEWEST_SPAN)
    if span != NEWEST_SPAN:
        span_range = f'{{"start_span_number": {span:.0f}, "end_span_number": {span:.0f}}}'
        exec_properties["range_config"] = f'{{"static_range": {span_range}}}'
