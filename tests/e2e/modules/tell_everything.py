"""A Trainer's module file that logs all it can find, and fails."""

import os
from pathlib import Path

from absl import logging


def run_fn(fn_args):
    logging.set_verbosity(logging.DEBUG)
    logging.info("environment: %s", dict(os.environ))
    logging.info("arguments: %s", Path("/proc/self/cmdline").read_text().split("\0"))
    raise RuntimeError("everything is told")
