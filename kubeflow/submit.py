"""Submits the profile of a target from Python, as `sluice submit` does: python kubeflow/submit.py TARGET IMAGE ..."""

import sys
from pathlib import Path
from typing import get_args

from pipeline.config import REFERENCE_CONFIG
from pipeline.deployment_config import Target
from pipeline.submission.command import submit

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in get_args(Target):
        sys.exit(f"Usage: python {sys.argv[0]} {'|'.join(get_args(Target))} IMAGE [--dry-run] [--wait] ...")
    target, image, *options = sys.argv[1:]
    profile = Path(REFERENCE_CONFIG).with_name(f"{target}.yaml")
    submit([str(profile), "--target", target, "--image", image, *options])
