"""Who predicts: a pushed version on this machine, or a server. Imports TensorFlow only where a predictor needs it."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from components.bulk_inferrer.predictions import Predictions, concat
from components.imports import quick_imports
from components.pusher.versions import VersionError, list_versions, read_policy, served_versions
from pipeline.prediction.tables import InputError
from pipeline.serving.client import SCHEMES, Client, ServerError, connect

_REQUEST_ROWS = 1024
_REQUESTS_IN_FLIGHT = 4
Array = npt.NDArray[Any]


class Predictor(Protocol):
    """Predicts chunks of rows.

    Attributes:
        chunk_rows: Rows to give to `predict` at once.
        version: The version that predicts.
    """

    chunk_rows: int
    version: int

    def predict(self, columns: Mapping[str, Array]) -> Predictions:
        """Predicts rows.

        Args:
            columns: A tensor `[num_rows, 1]` per raw feature; at least one row.

        Returns:
            Their predictions, in the same order.
        """


class ServerPredictor:
    """Asks a server, a few requests at a time."""

    chunk_rows = 16 * _REQUEST_ROWS

    def __init__(self, client: Client) -> None:
        self.version = client.version
        self._client = client

    def predict(self, columns: Mapping[str, Array]) -> Predictions:
        """As `Predictor.predict`."""
        num_rows = len(next(iter(columns.values())))
        requests = [
            {name: values[start : start + _REQUEST_ROWS] for name, values in columns.items()}
            for start in range(0, num_rows, _REQUEST_ROWS)
        ]
        with ThreadPoolExecutor(_REQUESTS_IN_FLIGHT) as executor:
            return concat(list(executor.map(self._ask, requests)))

    def _ask(self, columns: Mapping[str, Array]) -> Predictions:
        outputs = self._client.predict(columns)
        try:
            classes, probabilities = outputs["classes"], outputs["probabilities"].astype(np.float32)
            num_rows = len(next(iter(columns.values())))
            if classes.shape != probabilities.shape or len(classes) != num_rows or (classes != classes[:1]).any():
                raise ValueError(f"classes {classes.shape} and probabilities {probabilities.shape} for {num_rows} rows")
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise ServerError(f"the server's model does not answer as one of Sluice does: {err!r}") from err
        return Predictions(tuple(classes[0]), probabilities)


def check_server(server: str) -> None:
    """Raises InputError unless `server` is the address of one."""
    if not server.startswith(SCHEMES):
        raise InputError(f"--server: '{server}' is no server. Expected {' or '.join(SCHEMES)} and HOST:PORT.")


def load_predictor(base_dir: Path, *, server: str, version: str) -> Predictor:
    """Loads a pushed model, or connects to a server of models of that name.

    Args:
        base_dir: The push destination; its folder's name is the model's.
        server: As in `pipeline.serving.client.connect`; none if empty.
        version: Number of a version in `base_dir`. Where there is a server: number or label, or empty for its choice.

    Raises:
        ServerError: If the server cannot be reached or has no such version.
    """
    if server:
        return ServerPredictor(connect(server, base_dir.name, version))
    with quick_imports():
        from pipeline.prediction.offline import OfflinePredictor

    return OfflinePredictor(base_dir / version)


def find_version(base_dir: Path, version: str = "") -> int:
    """Returns the number of a pushed version.

    Args:
        base_dir: The push destination.
        version: Its number or label; unless given, what a server of `base_dir` would answer with: the newest version
            that it serves.

    Raises:
        InputError: If there is none.
    """
    versions = list_versions(base_dir)
    try:
        labels, served = read_policy(base_dir).labels, served_versions(base_dir)
    except VersionError as err:
        raise InputError(str(err)) from err
    if not versions:
        raise InputError(f"{base_dir} has no pushed model. Run `sluice run` first, or name another --root.")
    numbers = {str(number): number for number in versions}
    found = {**labels, **numbers}.get(version) if version else max(served, default=None)
    if found not in versions:
        known = ", ".join([*map(str, versions), *sorted(labels)])
        raise InputError(f"{base_dir} has no version {version or 'that is served'}. Expected one of: {known}.")
    return found
