"""Runs one command line after another in one process, so that a table of scenarios imports TensorFlow once.

Reads a JSON list of arguments a line from standard input, and answers with the exit code in a line; what the command
prints goes to the file that its own argument names.
"""

import json
import os
import sys

from pipeline.cli import main

environment = dict(os.environ)


def run(output_file, arguments):
    os.environ.update(environment)  # a run takes its credentials out
    saved = os.dup(1), os.dup(2)
    with open(output_file, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            main(arguments)
        except SystemExit as err:
            return err.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


answers = os.fdopen(os.dup(1), "w", buffering=1)
for line in sys.stdin:
    print(run(*json.loads(line)), file=answers)
