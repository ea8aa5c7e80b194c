"""Pusher: exports a model that has earned it to where TF Serving reads it, atomically."""

OUTCOME_PROPERTY = "outcome"  # of the output `pushed_model`
REASON_PROPERTY = "reason"  # of the output `pushed_model`, where the model was refused
