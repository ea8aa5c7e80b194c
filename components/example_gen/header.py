"""Finds in a CSV header what the stock CsvExampleGen would misread without a word. Runs at compile time.

Of a name that is there twice the last column wins; quotes and a byte order mark become part of a name.
"""

import codecs
from pathlib import Path


def header_problems(csv_file: Path) -> list[str]:
    """Returns a sentence for each problem of a local file's first line."""
    try:
        with csv_file.open("rb") as file:
            line = file.readline()
        names = line.decode().rstrip("\r\n").split(",")
    except OSError as err:
        return [f"{csv_file} cannot be read: {err.strerror}."]
    except UnicodeDecodeError:
        return [f"{csv_file} line 1: is not UTF-8 text."]
    problems = [f"{csv_file} line 1: '{name}' is there twice." for name in set(names) if names.count(name) > 1]
    if line.startswith(codecs.BOM_UTF8):
        problems.append(f"{csv_file} line 1: begins with a byte order mark, which would become part of a name.")
    if b'"' in line:
        problems.append(f"{csv_file} line 1: has quotes, which would become part of the names.")
    return problems
