"""Trainer: builds, compiles and fits the Keras model and exports it for serving."""

TRAINING_TRACE_FILE = "training_trace.json"  # in the output `model_run`
RECORDED_LOGITS_FILE = "recorded_logits.json"  # in the output `model_run`
DESCRIPTION_FILE = "model.json"  # in the output `model_run`
START_FILE = "training_start.json"  # in the output `model_run`: where training started, what was tuned
RAW_EVAL_FILES = "raw_eval_files"  # key of `custom_config`, where the Trainer's executor puts their patterns
REQUEST_FILE = "request.json"  # in the model
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"  # in the model
