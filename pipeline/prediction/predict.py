"""`sluice predict`: a table in, the same rows with their predictions out. Imports TensorFlow only once it predicts."""

import contextlib
import functools
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.bulk_inferrer.predictions import Predictions
from components.pusher.versions import replaced_file
from pipeline.config import PipelineConfig
from pipeline.log_file import redirected_output
from pipeline.prediction.features import check_cells, parse_features
from pipeline.prediction.predictors import Predictor, check_server, find_version, load_predictor
from pipeline.prediction.request import PredictRequest, check_request
from pipeline.prediction.tables import InputError
from pipeline.run_record import RunPaths
from pipeline.serving.client import ServerError
from pipeline.terminal import Terminal, shown
from schema import load_schema, used_features

_LONGEST_MESSAGE = 300


class PredictionError(RuntimeError):
    """A prediction that failed though its input was right; there is no output."""


def predict_file(
    config: PipelineConfig,
    input_file: Path,
    *,
    output_file: Path,
    id_columns: Sequence[str] = (),
    root: Path,
    server: str = "",
    version: str = "",
) -> None:
    """Predicts every row of a table and prints how that went.

    The output has a row for each row of the input, in the same order: the id columns as they were, or else `row`,
    counted from 0; `predicted_class`; and `probability_<class>` for each class. It appears when it is complete.

    Args:
        config: Names the pipeline whose model predicts, and the schema of its features.
        input_file: CSV or Parquet, by its extension.
        output_file: Likewise; replaced if it exists.
        id_columns: Columns of the input that the output repeats.
        root: Folder of everything that a run writes. Its pushed model predicts; the log goes there.
        server: `http://`, `https://` or `grpc://` and HOST:PORT of a server that predicts instead.
        version: Number or label of the version that predicts; the one that is served unless given.

    Raises:
        InputError: If input, output or version cannot be used; nothing has been predicted.
        PredictionError: If the model or the server fails.
        OSError: If output or log cannot be written.
    """
    start = time.perf_counter()
    request = _checked_request(config, input_file, output_file, id_columns)
    run_id = datetime.now(UTC).strftime("predict-%Y%m%dT%H%M%S.%f")
    paths = RunPaths(root.resolve(), config.pipeline_name, run_id)
    if server:
        check_server(server)
    else:
        version = str(find_version(paths.serving_model_dir, version))
    load = functools.partial(load_predictor, paths.serving_model_dir, server=server, version=version)
    terminal = Terminal(sys.stdout)
    with _output_stream(output_file) as output:
        num_rows, warnings = check_cells(request.table, request.features)
        for warning in warnings:
            terminal.print(warning, "yellow")
        if num_rows:
            course = _predict(request, num_rows, output=output, load=load, log_file=paths.log_file)
        else:
            course = f"{shown(input_file)} holds none"
            request.write(output, iter([request.empty_output()]))
    terminal.print(
        f"{num_rows} rows in {time.perf_counter() - start:.1f} s ({course}), peak memory {_peak_mib():.0f} MiB: "
        f"{shown(output_file)}"
    )


def _checked_request(
    config: PipelineConfig, input_file: Path, output_file: Path, id_columns: Sequence[str]
) -> PredictRequest:
    roles = config.feature_roles()
    features = used_features(load_schema(config.schema_gen.schema_file))
    return check_request(
        input_file,
        output_file,
        features=[feature for name, feature in features.items() if name in roles.features],
        class_names=roles.class_names,
        id_columns=id_columns,
        csv_options=config.example_gen.csv_options,
    )


def _peak_mib() -> float:
    """Returns the peak resident memory of this process; getrusage(2) would tell its parent's if that was larger."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def _predict(
    request: PredictRequest, num_rows: int, *, output: BinaryIO, load: Callable[[], Predictor], log_file: Path
) -> str:
    """Writes the predictions of at least one row and returns who made them and how fast."""
    with (
        redirected_output(log_file) as stream,
        _explained(log_file),
        _progress(stream, num_rows) as on_progress,
    ):
        start = time.perf_counter()
        predictor = load()
        loaded = time.perf_counter()
        request.write(output, _predicted(request, predictor, num_rows=num_rows, on_progress=on_progress))
        rate = num_rows / (time.perf_counter() - loaded)
    return f"{rate:.0f} rows/s by version {predictor.version} after {loaded - start:.1f} s of loading"


def _predicted(
    request: PredictRequest, predictor: Predictor, *, num_rows: int, on_progress: Callable[[int], None]
) -> Iterator[pa.Table]:
    """Yields the output, chunk by chunk."""
    done = 0
    for chunk in request.chunks(predictor.chunk_rows):
        predictions = predictor.predict(parse_features(chunk, request.features))
        check_predictions(predictions, request.class_names)
        yield request.output(chunk, done, predictions)
        done += len(chunk)
        on_progress(done)
    if done != num_rows:
        raise InputError(f"{request.table.file} had {num_rows} rows when it was checked and has {done} now.")


def check_predictions(predictions: Predictions, class_names: Sequence[str]) -> None:
    """Raises PredictionError for another problem's classes, and for probabilities that are none."""
    if predictions.class_names != tuple(class_names):
        raise PredictionError(
            f"the model's classes are {', '.join(predictions.class_names)}; the config's are {', '.join(class_names)}. "
            "Give the config of the pipeline that trained it."
        )
    if not ((predictions.probabilities >= 0) & (predictions.probabilities <= 1)).all():
        raise PredictionError("the model answers with probabilities that are not between 0 and 1.")


@contextlib.contextmanager
def _output_stream(output_file: Path) -> Iterator[BinaryIO]:
    """Yields a stream to a file that takes the place of `output_file` when all went well."""
    with replaced_file(output_file) as staged, staged.open("wb") as stream:
        yield stream


@contextlib.contextmanager
def _explained(log_file: Path) -> Iterator[None]:
    try:
        yield
    except (InputError, PredictionError):
        raise
    except ServerError as err:
        raise PredictionError(str(err)) from err
    except Exception as err:  # whatever Beam makes of a model's errors
        if _is_interrupt(err):
            raise KeyboardInterrupt from err
        logging.exception("The prediction failed.")
        message = " ".join("".join(traceback.format_exception_only(err)).split())[:_LONGEST_MESSAGE]
        raise PredictionError(f"{message}; the log is {shown(log_file)}") from err


def _is_interrupt(err: BaseException | None) -> bool:
    """Whether Ctrl-C is what Beam made a RuntimeError of."""
    return err is not None and (isinstance(err, KeyboardInterrupt) or _is_interrupt(err.__cause__ or err.__context__))


@contextlib.contextmanager
def _progress(stream: TextIO, num_rows: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar where `stream` is a terminal; yields a function that is told how many rows are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_terminal = stream.isatty()
    with Progress(
        *columns,
        console=Console(file=stream),
        transient=True,
        disable=not is_terminal,
        redirect_stdout=False,  # what libraries print belongs in the log, to which descriptors 1 and 2 already lead
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task("rows", total=num_rows)
        yield lambda done: progress.update(task, completed=done)
