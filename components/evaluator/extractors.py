"""Slices by buckets of a feature's values, for TFMA. Runs in Beam workers; TFX finds `custom_extractors` by name."""

from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.eval_config import bucketed_slices
from components.evaluator.rules import Slice


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any
) -> list[tfma.extractors.Extractor]:
    """Returns TFMA's own extractors, with the names of the buckets as features before the slices are found."""
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model, eval_config=eval_config, tensor_adapter_config=tensor_adapter_config
    )
    stages = [extractor.stage_name for extractor in extractors]
    slices = bucketed_slices(eval_config)
    name_buckets = beam.Map(_with_buckets, slices)
    extractors.insert(
        stages.index(slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME),
        tfma.extractors.Extractor(stage_name="NameBuckets", ptransform="NameBuckets" >> name_buckets),
    )
    return extractors


def _with_buckets(extracts: dict[str, Any], slices: list[Slice]) -> dict[str, Any]:
    features = dict(extracts[constants.FEATURES_KEY])
    for each in slices:
        values = np.ravel(features.get(each.feature, ()))
        features[each.key] = np.array([each.bucket(float(value)) for value in values[:1]])
    return {**extracts, constants.FEATURES_KEY: features}
