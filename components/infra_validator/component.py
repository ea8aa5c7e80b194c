"""InfraValidator in the DAG. Runs at compile time."""

from tfx import types
from tfx.components import InfraValidator as StockInfraValidator
from tfx.dsl.components.base import base_component
from tfx.proto import infra_validator_pb2

from components.infra_validator import executor, loader
from components.source_digest import source_digest


def create_infra_validator(
    model: types.BaseChannel, model_run: types.BaseChannel, *, tolerance: float, timeout_secs: float
) -> base_component.BaseComponent:
    """Creates the node that runs a candidate in TensorFlow's C++ loader before it may be pushed.

    Args:
        model: The candidate Model.
        model_run: The Trainer's ModelRun, with the recorded logits.
        tolerance: Largest difference of a logit that passes, absolute up to 1 and relative beyond.
        timeout_secs: After which the model's process is killed, and the model refused.

    Returns:
        A node with the output `blessing` (InfraBlessing).
    """
    return executor.InfraValidator(
        model=model,
        model_run=model_run,
        tolerance=tolerance,
        timeout_secs=timeout_secs,
        source_digest=source_digest(executor.__file__, loader.__file__),
    )


def create_stock_infra_validator(
    model: types.BaseChannel, examples: types.BaseChannel, *, image_tag: str
) -> StockInfraValidator:
    """Creates TFX's own InfraValidator, which starts TF Serving in Docker and asks it for one prediction.

    Args:
        model: The candidate Model.
        examples: Raw Examples.
        image_tag: Tag of the image `tensorflow/serving`.
    """
    return StockInfraValidator(
        model=model,
        examples=examples,
        serving_spec=infra_validator_pb2.ServingSpec(
            tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=[image_tag]),
            local_docker=infra_validator_pb2.LocalDockerConfig(),
        ),
        request_spec=infra_validator_pb2.RequestSpec(
            tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(signature_names=["serving_default"]),
            num_examples=1,
        ),
    )
