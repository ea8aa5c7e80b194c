"""The versions of one push destination that a server holds in memory. Runs in the development server.

What is loaded follows the folder as in TF Serving (file_system_storage_path_source.cc,
availability_preserving_policy.cc): the newest version, or those of `models.config`; a new one is loaded and warmed up
before an old one goes. A folder that vanishes changes nothing, one that is emptied unloads all. Three things differ: a
folder without `saved_model.pb` is no version yet; a label moves as soon as its new version is loaded, which TF Serving
refuses (server_core.cc, UpdateModelVersionLabelMap); a version that fails to load is shown as END with its error at
once, not as LOADING between attempts.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from components.pusher.versions import VersionError, read_policy, served_versions
from components.trainer import WARMUP_FILE
from pipeline.serving.servable import Servable
from pipeline.serving.status import ServingError, invalid_argument, not_found
from pipeline.serving.warmup import warm_up

RETRY_SECS = 60.0  # as --load_retry_interval_micros
Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass
class _Loaded:
    servable: Servable
    num_users: int = 0
    is_retired: bool = False


@dataclass(frozen=True)
class _Failure:
    fingerprint: Fingerprint
    retry_at: float


@dataclass
class ServedModel:
    """The model of a push destination.

    Attributes:
        name: By which clients ask for it.
        base_dir: The push destination.
        report: Told what is loaded, unloaded and wrong, in words.
        retry_secs: After so long a version that failed is tried again, sooner if its files change.
    """

    name: str
    base_dir: Path
    report: Callable[[str], None]
    retry_secs: float = RETRY_SECS
    _loaded: dict[int, _Loaded] = field(default_factory=dict)
    _labels: dict[str, int] = field(default_factory=dict)
    _failures: dict[int, _Failure] = field(default_factory=dict)
    _statuses: dict[int, ModelVersionStatus] = field(default_factory=dict)
    _problem: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def poll(self) -> None:
        """Loads and unloads what the folder asks for. Called by one thread."""
        try:
            wanted = served_versions(self.base_dir)
            labels = read_policy(self.base_dir).labels
            exists = self.base_dir.is_dir()
        except (OSError, VersionError) as err:
            self._report_once(f"{err} What is served stays.")
            return
        if not exists:
            stays = "What is served stays." if self._loaded else "Waiting for a first push."
            self._report_once(f"{self.base_dir} is not there. {stays}")
            return
        for version in wanted:
            if version not in self._loaded and self._is_due(version):
                self._load(version)
        with self._lock:
            self._labels = {label: self._target(label, version) for label, version in labels.items()}
            keep = {*wanted, *self._labels.values()}
            doomed = [] if wanted and not keep & self._loaded.keys() else sorted(self._loaded.keys() - keep)
        for version in doomed:
            self._unload(version)
        self._report_once(
            "" if self._loaded or self._failures else f"{self.base_dir} holds no version yet. Waiting for a first push."
        )

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None, label: str = "") -> Iterator[Servable]:
        """Yields a version, which stays in memory meanwhile.

        Args:
            name: Of the model.
            version: Its number; the newest that is loaded, if None.
            label: Instead of the number.

        Raises:
            ServingError: If it is not loaded.
        """
        loaded = self._acquire(name, version, label)
        try:
            yield loaded.servable
        finally:
            with self._lock:
                loaded.num_users -= 1
                is_unused = loaded.is_retired and not loaded.num_users
            if is_unused:
                self._close(loaded.servable)

    def statuses(self, name: str, version: int | None = None) -> list[ModelVersionStatus]:
        """Returns the state of every version since the start, newest first, or of one.

        Raises:
            ServingError: If there is none.
        """
        if name != self.name or not self._statuses:
            raise not_found(f"Could not find any versions of model {name}")
        with self._lock:
            found = [it for number, it in self._statuses.items() if version in (None, number)]
        if not found:
            raise not_found(f"Could not find version {version} of model {name}")
        return sorted(found, key=lambda status: -status.version)

    def close(self) -> None:
        """Unloads all; a version in use goes with its last request."""
        for version in sorted(self._loaded):
            self._unload(version)

    def _acquire(self, name: str, version: int | None, label: str) -> _Loaded:
        with self._lock:
            if label:
                if name != self.name or label not in self._labels:
                    raise invalid_argument(f"Unrecognized servable version label: {label}")
                version = self._labels[label]
            number = max(self._loaded, default=None) if version is None else version
            if name != self.name or number not in self._loaded:
                which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                have = ", ".join(map(str, sorted(self._loaded))) or "none yet"
                raise not_found(f"Servable not found for request: {which}. Model {self.name} has versions: {have}.")
            loaded = self._loaded[number]
            loaded.num_users += 1
            return loaded

    def _load(self, version: int) -> None:
        model_dir = self.base_dir / str(version)
        fingerprint = _fingerprint(model_dir)
        self._set_status(version, ModelVersionStatus.LOADING)
        start = time.perf_counter()
        try:
            servable = _load_warm(model_dir, version)
        except ServingError as err:
            self._failures[version] = _Failure(fingerprint, time.monotonic() + self.retry_secs)
            self._set_status(version, ModelVersionStatus.END, err)
            self.report(f"version {version} does not load: {err}")
            return
        self._failures.pop(version, None)
        with self._lock:
            self._loaded[version] = _Loaded(servable)
        self._set_status(version, ModelVersionStatus.AVAILABLE)
        self.report(f"version {version} is served (loaded and warmed up in {time.perf_counter() - start:.1f} s)")

    def _unload(self, version: int) -> None:
        self._set_status(version, ModelVersionStatus.UNLOADING)
        with self._lock:
            loaded = self._loaded.pop(version)
            loaded.is_retired = True
            is_unused = not loaded.num_users
        if is_unused:
            self._close(loaded.servable)

    def _close(self, servable: Servable) -> None:
        servable.close()
        if servable.version not in self._loaded:  # it may have been asked for again meanwhile
            self._set_status(servable.version, ModelVersionStatus.END)
        self.report(f"version {servable.version} is unloaded")

    def _is_due(self, version: int) -> bool:
        failure = self._failures.get(version)
        return (
            failure is None
            or time.monotonic() >= failure.retry_at
            or _fingerprint(self.base_dir / str(version)) != failure.fingerprint
        )

    def _target(self, label: str, version: int) -> int:
        """Returns what a label points to: its new version, or the old one until the new one is loaded."""
        before = self._labels.get(label, version)
        return before if version not in self._loaded and before in self._loaded else version

    def _set_status(self, version: int, state: int, error: ServingError | None = None) -> None:
        status = ModelVersionStatus(version=version, state=state)
        status.status.error_code = error.code.value[0] if error else 0  # set, so that "OK" is written
        status.status.error_message = str(error or "")
        with self._lock:
            self._statuses[version] = status

    def _report_once(self, problem: str) -> None:
        if problem and problem != self._problem:
            self.report(problem)
        self._problem = problem


def _load_warm(model_dir: Path, version: int) -> Servable:
    servable = Servable(model_dir, version)
    try:
        warm_up(servable, model_dir)
    except ServingError:
        servable.close()
        raise
    except Exception as err:
        servable.close()
        raise ServingError(grpc.StatusCode.INTERNAL, f"{WARMUP_FILE}: {err!r}") from err
    return servable


def _fingerprint(model_dir: Path) -> Fingerprint:
    """Returns what changes when a file of the model does; empty if it is being changed right now."""
    try:
        stats = ((str(path), path.stat()) for path in sorted(model_dir.rglob("*")))
        return tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
    except OSError:
        return ()
