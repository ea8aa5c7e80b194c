"""Pusher in the DAG. Runs at compile time."""

from tfx import types
from tfx.components import Pusher
from tfx.proto import pusher_pb2


def create_pusher(
    model: types.BaseChannel,
    model_blessing: types.BaseChannel,
    *,
    serving_model_dir: str,
) -> Pusher:
    """Creates the node that copies a blessed model to `serving_model_dir/<version>`.

    Args:
        model: The Model.
        model_blessing: The ModelBlessing that guards it.
        serving_model_dir: Folder of numbered versions, as TF Serving reads it.

    Returns:
        A node with the output `pushed_model` (PushedModel).
    """
    destination = pusher_pb2.PushDestination.Filesystem(base_directory=serving_model_dir)
    return Pusher(
        model=model,
        model_blessing=model_blessing,
        push_destination=pusher_pb2.PushDestination(filesystem=destination),
    )
