"""Compiles the profile of a target from Python, as `sluice compile` does: python kubeflow/compile.py TARGET IMAGE."""

import sys
from pathlib import Path
from typing import get_args

from pipeline.config import REFERENCE_CONFIG, load_config
from pipeline.deployment_config import Target
from pipeline.kubeflow_v2_runner import compile_pipeline

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in get_args(Target):
        sys.exit(f"Usage: python {sys.argv[0]} {'|'.join(get_args(Target))} IMAGE")
    target, image = sys.argv[1:]
    config = load_config(str(Path(REFERENCE_CONFIG).with_name(f"{target}.yaml")), overrides=())
    compiled = compile_pipeline(config, target=target, image=image)
    Path(f"{config.pipeline_name}-{target}.yaml").write_text(compiled.yaml_text)
