"""DataGate: stops the run on anomalies, before anything is trained."""


class DataRefusedError(RuntimeError):
    """The data contradict the schema; the message has a line for each anomaly."""
