"""Drift: the rows to train on against those of the version that is served. Runs in DataGate's process."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.baseline.served import current_version, version_dir
from components.data_gate import STATISTICS_FILE
from components.data_gate.distances import find_high, measure_distances
from components.data_gate.findings import Finding
from components.data_gate.report import Comparison
from components.model_manifest import MANIFEST_FILE, ManifestError, is_there, read_companion, read_manifest


class DriftError(RuntimeError):
    """What was pushed for comparison cannot be read."""


@dataclass(frozen=True)
class ServedStatistics:
    """Statistics of the rows that the version now served was trained on.

    Attributes:
        version: The version; None if nothing is served.
        statistics: Of its train split; None if it was pushed without them.
        note: Why there are none.
    """

    version: int | None
    statistics: statistics_pb2.DatasetFeatureStatisticsList | None
    note: str = ""


def compare_with_served(
    ours: statistics_pb2.DatasetFeatureStatisticsList,
    names: Sequence[str],
    *,
    serving_model_dir: str,
    settings: Mapping[str, Any],
) -> tuple[Comparison, list[Finding]]:
    """Compares the rows to train on with those of the version now served.

    Args:
        ours: Statistics of the rows to train on.
        names: The features to compare.
        serving_model_dir: Folder of pushed versions, local or remote.
        settings: `data_gate.drift` of the config.

    Raises:
        DriftError: If the statistics of that version are damaged.
        VersionError: If `models.config` cannot be read.
    """
    served = served_statistics(serving_model_dir)
    against = "" if served.version is None else f"version {served.version}"
    if served.statistics is None:
        return Comparison(against, served.note, settings["severity"]), []
    distances = measure_distances(ours, served.statistics, names, comparison="drift", settings=settings)
    found = find_high(distances, severity=settings["severity"], against=f"what {against} was trained on")
    return Comparison(against, "", settings["severity"], distances), found


def served_statistics(serving_model_dir: str) -> ServedStatistics:
    """Returns the statistics that were pushed with the version now served.

    Args:
        serving_model_dir: Folder of pushed versions, local or remote.

    Raises:
        DriftError: If they are damaged.
        VersionError: If `models.config` cannot be read.
    """
    version = current_version(serving_model_dir)
    if version is None:
        return ServedStatistics(None, None, "nothing is served yet")
    folder = version_dir(serving_model_dir, version)
    content = None
    try:
        if is_there(posixpath.join(folder, MANIFEST_FILE)):
            content = read_companion(folder, read_manifest(folder), STATISTICS_FILE)
        if content is None:
            return ServedStatistics(version, None, "it was pushed without statistics")
        return ServedStatistics(version, statistics_pb2.DatasetFeatureStatisticsList.FromString(content))
    except (ManifestError, DecodeError) as err:
        raise DriftError(
            f"the statistics of version {version}, which is served, cannot be compared with: {err} "
            "Promote another version, or remove this one."
        ) from err
