"""`sluice init`: from a table to a pipeline. Imports neither TensorFlow nor TFX."""

import difflib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from components.example_gen.csv_table import CsvOptions
from components.example_gen.table import Table, TableError
from components.example_gen.tables import open_table, other_delimiter
from pipeline.config import load_config
from pipeline.config_errors import ConfigError
from pipeline.init.decision import IGNORED, LABEL, Decision, InitError
from pipeline.init.decisions import Wishes, decide
from pipeline.init.files import CONFIG_FILE, SCHEMA_FILE, config_text, schema_text
from pipeline.init.hints import hints
from pipeline.init.profiles import null_words, profile_tables
from pipeline.run_record import ExitCode
from pipeline.terminal import Terminal, shown

_NARROWEST, _PIPE_WIDTH = 60, 110
_TYPES = {1: "BYTES", 2: "INT", 3: "FLOAT"}


@click.command()
@click.argument("data", metavar="DATA")
@click.option("--label", required=True, metavar="COLUMN", help="What is to be predicted.")
@click.option("--name", metavar="NAME", help="Of the pipeline; made of the name of DATA unless given.")
@click.option(
    "--output-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where to write; ./NAME unless given."
)
@click.option("--id", "ids", multiple=True, metavar="COLUMN", help="Identifies a row and is never trained on.")
@click.option("--weight", metavar="COLUMN", help="Says how much a row counts.")
@click.option("--ignore", "ignored", multiple=True, metavar="COLUMN", help="Is left out.")
@click.option("--delimiter", metavar="CHARACTER", help="Between the cells of a CSV; guessed unless given.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of a CSV.")
@click.option(
    "--null-value", "null_values", multiple=True, metavar="TEXT", help="A cell that stands for a missing value."
)
@click.option("--force", is_flag=True, help="Write over files that exist.")
def init(
    data: str,
    label: str,
    name: str | None,
    output_dir: Path | None,
    ids: tuple[str, ...],
    weight: str | None,
    ignored: tuple[str, ...],
    delimiter: str | None,
    encoding: str,
    null_values: tuple[str, ...],
    force: bool,
) -> None:
    """Write the schema and the config of a pipeline for a table.

    DATA is a file, a folder or a quoted pattern: CSV (plain, .gz or .zst), Parquet or Arrow.

    \b
    Examples:
      sluice init houses.csv --label sold
      sluice init "exports/2024-*.parquet" --label churned --id customer --weight months
    """
    try:
        options = _options(delimiter, encoding, null_values)
        files, input_dir, pattern = _find(data)
        name = _pipeline_name(name or _stem(input_dir if pattern.startswith("*") else Path(pattern)))
        folder = output_dir or Path(name)
        _check_output(folder, force=force)
        tables, options = _open(files, options, is_delimiter_given=delimiter is not None)
        _check_columns(tables[0], label=[label], id=ids, weight=[weight] if weight else [], ignore=ignored)
        profiles = profile_tables(tables)
        options = CsvOptions(options.delimiter, encoding, null_words(profiles, options))
        if not profiles[0].num_rows:
            raise InitError(f"{shown(files[0])} has no rows.")
        decisions = decide(profiles, Wishes(label, ids, weight, ignored))
        num_uneven = sum(len(table.uneven_rows) for table in tables)
        _write(decisions, folder, name=name, input_dir=input_dir, pattern=pattern, options=options)
    except (InitError, TableError, ConfigError, OSError, UnicodeDecodeError) as err:
        text = f"{data} holds text that is not UTF-8." if isinstance(err, UnicodeDecodeError) else str(err)
        for line in text.splitlines():
            click.echo(f"Error: {line}", err=True)
        sys.exit(ExitCode.USAGE)
    _print(decisions, options, folder, num_files=len(files), num_uneven=num_uneven)


def _options(delimiter: str | None, encoding: str, null_values: Sequence[str]) -> CsvOptions:
    delimiter = {None: ",", "\\t": "\t"}.get(delimiter, delimiter)
    if delimiter is None or len(delimiter) != 1:
        raise InitError(f"--delimiter: {delimiter!r} is not one character.")
    try:
        "".encode(encoding)
    except LookupError as err:
        raise InitError(
            f"--encoding: Python knows no '{encoding}'. Expected one such as utf-8, latin-1, utf-16."
        ) from err
    return CsvOptions(delimiter, encoding, ("", *null_values))


def _find(data: str) -> tuple[list[Path], Path, str]:
    """Returns the files, their folder and a pattern for them."""
    path = Path(data).expanduser()
    if path.is_file():
        if set(path.name) & set("*?[]{}"):
            raise InitError(f"the name {path.name} holds one of * ? [ ] {{ }}, which patterns have. Rename the file.")
        return [path], path.parent, path.name
    if path.is_dir():
        names = [each for each in sorted(path.iterdir()) if each.is_file() and not each.name.startswith(("_", "."))]
        endings = {"".join(each.suffixes[-2:]) if each.suffix in (".gz", ".zst") else each.suffix for each in names}
        if len(endings) != 1:
            found = ", ".join(sorted(endings)) or "no file"
            raise InitError(f"{data} holds {found}. Name one kind of files by a quoted pattern: '{data}/*.csv'.")
        return names, path, f"*{endings.pop()}"
    files = sorted(each for each in path.parent.glob(path.name) if each.is_file()) if path.parent.is_dir() else []
    if not files:
        raise InitError(f"there is no file {data}.")
    return files, path.parent, path.name


def _stem(path: Path) -> str:
    return path.resolve().name.split(".")[0] if path.name else path.resolve().name


def _pipeline_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
    return name if name[:1].isalpha() else f"pipeline-{name}".rstrip("-")[:63]


def _check_output(folder: Path, *, force: bool) -> None:
    existing = [folder / file for file in (SCHEMA_FILE, CONFIG_FILE) if (folder / file).exists()]
    if existing and not force:
        raise InitError(f"{' and '.join(map(shown, existing))} exist already. Give --force to write over them.")
    if folder.exists() and not folder.is_dir():
        raise InitError(f"{shown(folder)} is no folder. Give --output-dir.")


def _open(files: Sequence[Path], options: CsvOptions, *, is_delimiter_given: bool) -> tuple[list[Table], CsvOptions]:
    first = open_table(str(files[0]), options)
    if not is_delimiter_given and (found := other_delimiter(first, options)):
        options = CsvOptions(found, options.encoding, options.null_values)
    tables = [open_table(str(file), options) for file in files]
    problems = [
        f"{shown(table.file)} has other columns than {shown(tables[0].file)}: "
        f"{', '.join(sorted(set(table.types) ^ set(tables[0].types)))}."
        for table in tables
        if set(table.types) != set(tables[0].types)
    ]
    if problems:
        raise InitError("\n".join(problems))
    return tables, options


def _check_columns(table: Table, **named: Sequence[str]) -> None:
    problems = []
    for option, names in named.items():
        for name in names:
            if name not in table.types:
                close = difflib.get_close_matches(name, list(table.types), n=1)
                hint = (
                    f" Did you mean '{close[0]}'?" if close else f" Its columns: {', '.join(list(table.types)[:20])}."
                )
                problems.append(f"--{option}: {shown(table.file)} has no column '{name}'.{hint}")
    every = [name for names in named.values() for name in names]
    problems += [f"'{name}' is given twice." for name in sorted({name for name in every if every.count(name) > 1})]
    if problems:
        raise InitError("\n".join(problems))


def _write(
    decisions: Sequence[Decision], folder: Path, *, name: str, input_dir: Path, pattern: str, options: CsvOptions
) -> None:
    """Writes both files and reads them as a run would."""
    relative = os.path.relpath(input_dir.resolve(), folder.resolve())
    texts = {
        SCHEMA_FILE: schema_text(decisions, source=pattern),
        CONFIG_FILE: config_text(
            decisions, name=name, input_dir=relative, pattern=pattern, options=options, source=pattern
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    before = {file: (folder / file).read_bytes() if (folder / file).exists() else None for file in texts}
    try:
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        load_config(str(folder / CONFIG_FILE))
    except (ConfigError, OSError):
        for file, content in before.items():
            (folder / file).unlink(missing_ok=True) if content is None else (folder / file).write_bytes(content)
        raise


def _print(
    decisions: Sequence[Decision], options: CsvOptions, folder: Path, *, num_files: int, num_uneven: int
) -> None:
    terminal = Terminal(sys.stdout)
    (label,) = (decision for decision in decisions if decision.role == LABEL)
    files = f"{num_files} files, " if num_files > 1 else ""
    terminal.print(f"{files}{label.profile.num_rows} rows, {len(decisions)} columns")
    is_terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if is_terminal else _PIPE_WIDTH, highlight=False, markup=False)
    table = RichTable(box=box.SIMPLE_HEAD)
    for heading in ("column", "role", "type", "missing", "distinct", "why"):
        table.add_column(heading, justify="right" if heading in ("missing", "distinct") else "left", overflow="fold")
    for decision in decisions:
        profile = decision.profile
        table.add_row(
            profile.name,
            decision.role,
            _TYPES.get(decision.feature.type, "") if decision.feature else "",
            str(profile.num_missing or ""),
            f"{profile.num_distinct}{'+' * profile.has_more_values}",
            decision.why,
            style="dim" if decision.role == IGNORED else "bold" if decision.role == LABEL else "",
        )
    console.print(table)
    guessed = [word for word in options.null_values if word]
    if options.delimiter != ",":
        terminal.print(f"Cells are divided by {options.delimiter!r}.")
    if guessed:
        terminal.print(f"Missing values are also written {', '.join(guessed)}.")
    if num_uneven:
        terminal.print(
            f"Look at rows with another number of cells than the header line: {num_uneven}. A run refuses them, or "
            "keeps them aside with example_gen.bad_rows: quarantine.",
            "yellow",
        )
    for warning in hints(decisions):
        terminal.print(f"Look at {warning}", "yellow")
    terminal.print(f"Written: {shown(folder / SCHEMA_FILE)} and {shown(folder / CONFIG_FILE)}")
    terminal.print(f"Next:    sluice run {shown(folder / CONFIG_FILE)}", "bold")
