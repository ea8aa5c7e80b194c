"""DataGate: stops the run on data that contradict the schema, are too few or have drifted, before anything is trained.

Imports neither TensorFlow nor TFX.
"""

REPORT_FILE = "gate.json"  # in the folder of the output `findings`
STATISTICS_FILE = "sluice_statistics.pb"  # of the train split, beside a pushed model
DEFAULT_THRESHOLD = 0.15


class DataRefusedError(RuntimeError):
    """The data are refused; the message has a line for each reason.

    Attributes:
        report: Text of `gate.json`, because TFX removes the outputs of an execution that failed.
        advice: What to do, which is the last line of the message; empty if nothing is to be said.
    """

    def __init__(self, message: str, report: str = "", advice: str = "") -> None:
        super().__init__("\n".join(part for part in (message, advice) if part))
        self.report = report
        self.advice = advice
