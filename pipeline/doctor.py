"""`sluice doctor`: tries on this machine what a run needs. Imports TFX's parts one by one, to say which is broken."""

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipeline.beam import LOCAL_BEAM_ARGS
from pipeline.log_file import redirected_output
from pipeline.metadata_config import MetadataConfig
from pipeline.serving.engine import MODEL_SERVER
from pipeline.terminal import Terminal

_LOWEST_GLIBC = (2, 27)  # of the locked manylinux wheels
_LOWEST_FREE_GIB = 2
_NATIVE_MODULES = {
    "tensorflow": "tensorflow",
    "ml-metadata": "ml_metadata.metadata_store.pywrap.metadata_store_extension",
    "tfx-bsl": "tfx_bsl.cc.tfx_bsl_extension",
    "tensorflow-data-validation": "tensorflow_data_validation.pywrap.tensorflow_data_validation_extension",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        is_ok: Whether a run can work with it.
        text: What was found, and what to do where it is not ok.
    """

    is_ok: bool
    text: str


def examine_and_print(root: Path, settings: MetadataConfig) -> int:
    """Checks everything, prints a line for each and returns 0 if all is well, else 1.

    Args:
        root: Folder in which runs will write; it is not made.
        settings: Of the metadata store.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("Python", _python),
        ("glibc", _glibc),
        *((name, lambda name=name: _native_wheel(name)) for name in _NATIVE_MODULES),
        ("kfp", _kfp),
        ("Beam runner", _beam_runner),
        ("C++ loader", _cpp_loader),
        ("TF Serving", _tf_serving),
        ("metadata store", lambda: _metadata_store(root, settings)),
        ("disk", lambda: _disk(root)),
    ]
    all_ok = True
    with tempfile.TemporaryDirectory() as folder, redirected_output(Path(folder, "doctor.log")) as stream:
        terminal = Terminal(stream)
        for name, check in checks:
            terminal.start(name)
            finding = _try(check)
            terminal.stop()
            all_ok &= finding.is_ok
            mark, style = ("ok  ", "green") if finding.is_ok else ("FAIL", "bold red")
            terminal.print(f"{mark}  {name:<27} {finding.text}", style)
        terminal.print("Ready to run." if all_ok else "Not ready to run.", "bold")
    return 0 if all_ok else 1


def _try(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as err:
        return Finding(False, f"{type(err).__name__}: {err}")


def _python() -> Finding:
    is_ok = sys.version_info[:2] == (3, 11)
    hint = "" if is_ok else "; Sluice needs 3.11"
    return Finding(is_ok, platform.python_version() + hint)


def _glibc() -> Finding:
    library, release = platform.libc_ver()
    numbers = tuple(int(part) for part in release.split(".")) if library == "glibc" else ()
    is_ok = numbers >= _LOWEST_GLIBC
    lowest = ".".join(map(str, _LOWEST_GLIBC))
    hint = "" if is_ok else f"; the locked wheels need glibc {lowest} or newer"
    return Finding(is_ok, f"{release or 'none'}{hint}")


def _native_wheel(name: str) -> Finding:
    importlib.import_module(_NATIVE_MODULES[name])
    return Finding(True, f"{version(name)}, loads")


def _kfp() -> Finding:
    importlib.import_module("kfp.compiler")
    importlib.import_module("tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner")
    return Finding(True, f"{version('kfp')}, TFX's compiler for it loads")


def _beam_runner() -> Finding:
    import apache_beam as beam

    pipeline = beam.Pipeline(argv=list(LOCAL_BEAM_ARGS))
    _ = pipeline | beam.Create([1, 2]) | beam.Map(str)
    pipeline.run().wait_until_finish()
    name = type(pipeline.runner).__name__
    return Finding(True, f"{name} of apache-beam {version('apache-beam')}, ran")


def _cpp_loader() -> Finding:
    from components.infra_validator.loader import tensorflow_version

    return Finding(True, f"TensorFlow {tensorflow_version()}, loads")


def _tf_serving() -> Finding:
    binary = shutil.which(MODEL_SERVER)
    return Finding(True, binary or f"no {MODEL_SERVER} on the PATH; `sluice serve` uses the built-in server")


def _metadata_store(root: Path, settings: MetadataConfig) -> Finding:
    from pipeline.metadata_store import check_store, connection_config, opened
    from pipeline.run_outcome import MetadataError

    if sentence := settings.missing_credentials():
        return Finding(False, sentence)
    with tempfile.TemporaryDirectory(dir=_existing(root)) as folder:
        connection = connection_config(settings, Path(folder, "metadata.db"))
        try:
            found = check_store(connection)
            with opened(connection) as handle:
                handle.store.get_artifact_types()
        except MetadataError as err:
            return Finding(False, str(err))
    return Finding(True, found if settings.backend == "mysql" else f"sqlite works in {_existing(root)}")


def _disk(root: Path) -> Finding:
    free = {
        str(folder): shutil.disk_usage(folder).free / 2**30 for folder in (_existing(root), Path(tempfile.gettempdir()))
    }
    is_ok = min(free.values()) >= _LOWEST_FREE_GIB
    text = ", ".join(f"{gib:.0f} GiB free in {folder}" for folder, gib in free.items())
    return Finding(
        is_ok,
        text + ("" if is_ok else f"; at least {_LOWEST_FREE_GIB} are needed"),
    )


def _existing(path: Path) -> Path:
    path = Path(os.path.abspath(path))
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
