"""`sluice predict`, the command. Imports neither TensorFlow nor TFX."""

import signal
import sys
from pathlib import Path

import click

from pipeline.cli_options import load_or_exit, root_option
from pipeline.config import REFERENCE_CONFIG
from pipeline.run_record import ExitCode


@click.command()
@click.argument("input_file", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "output_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV or Parquet file to write.",
)
@click.option("--id", "id_columns", metavar="COLUMN", multiple=True, help="Repeat COLUMN in the output. Repeatable.")
@click.option("--config", "config_file", default=REFERENCE_CONFIG, help="Config that names pipeline and schema.")
@root_option
@click.option("--server", metavar="URL", default="", help="Ask http://, https:// or grpc://HOST:PORT to predict.")
@click.option(
    "--model-version",
    "version",
    metavar="VERSION",
    default="",
    help="Its number or label; what is served unless given.",
)
def predict(
    input_file: Path,
    output_file: Path,
    id_columns: tuple[str, ...],
    config_file: str,
    root: Path,
    server: str,
    version: str,
) -> None:
    """Predict every row of INPUT, a CSV or Parquet file.

    The pushed model predicts on this machine, through BulkInferrer's engine on Beam; with --server, a server does. The
    output has the rows of the input in the same order: the --id columns (without any, `row`, counted from 0),
    `predicted_class` and `probability_<class>`.

    A cell that is no number is an error before anything is predicted; a value outside the schema's domain is
    predicted, with a warning.

    \b
    Exit codes: 0 predicted   1 failed   2 wrong usage, config or input   130 interrupted

    \b
    Examples:
      sluice predict rows.csv --output predictions.csv --id site
      sluice predict rows.parquet --output predictions.parquet --server grpc://127.0.0.1:8500
    """
    config = load_or_exit(config_file, ())
    from pipeline.prediction.predict import PredictionError, predict_file
    from pipeline.prediction.tables import InputError

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves nothing behind either
    try:
        predict_file(
            config,
            input_file,
            output_file=output_file,
            id_columns=id_columns,
            root=root,
            server=server,
            version=version,
        )
    except InputError as err:
        click.echo(f"InputError: {err}", err=True)
        sys.exit(ExitCode.USAGE)
    except (PredictionError, OSError) as err:
        click.echo(f"FAILED: {err}", err=True)
        sys.exit(ExitCode.FAILED)
    except KeyboardInterrupt:
        click.echo("INTERRUPTED; there is no output.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
