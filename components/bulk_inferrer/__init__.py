"""BulkInferrer: predicts unlabelled examples with a blessed model, and writes the predictions as a table."""

PREDICTIONS_FILE = "predictions.{}"  # in the artifact InferenceResult; csv or parquet
