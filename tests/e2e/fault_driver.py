"""Runs `sluice` and does something to it at one point: `fault_driver.py COMPONENT PHASE ACTION ARGUMENT...`.

PHASE: `prepared`, when the execution is registered and nothing is written; `writing`, at the first file, folder or
rename of its own under the root; `executed`, when all is written and nothing published; `publishing`,
before the metadata store commits; `published`, before the next component. COMPONENT may be `report` too: then `writing`
is the run's report.

ACTION: `kill`, by SIGKILL; `term`, by SIGTERM; `fill`, the file system of the root is filled to the last byte, with a
file `ballast` beside the root.
"""

import errno
import os
import signal
import sys
from pathlib import Path

from components.imports import quick_imports
from pipeline.log_file import discarded_stderr

with discarded_stderr(), quick_imports():
    from tensorflow.python.lib.io import file_io

    from pipeline import local_runner, run_command
from pipeline.cli import main

component, phase, action, *arguments = sys.argv[1:]
root = Path(arguments[arguments.index("--root") + 1]).resolve()
now = {"component": "", "is_writing": False}


def act():
    now["component"] = ""  # once
    if action == "fill":
        with open(root.with_name("ballast"), "wb", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        ballast.write(b"\0" * size)
                except OSError as err:
                    if err.errno != errno.ENOSPC:
                        raise
    else:
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGTERM)


def at(reached):
    if now["component"] == component and reached == phase:
        act()


def hook(event, values):
    if event not in ("open", "os.mkdir", "os.rename"):
        return
    if event == "open" and not (values[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    at_path(values[1] if event == "os.rename" else values[0])


def at_path(path):
    if not now["is_writing"] or not isinstance(path, str | bytes | os.PathLike):
        return
    if Path(os.fsdecode(path)).is_relative_to(root):
        at("writing")


def before_write(self, prewrite_check=file_io.FileIO._prewrite_check):
    at_path(self.name)
    prewrite_check(self)


file_io.FileIO._prewrite_check = before_write  # of C++, which the audit hook does not see


def phased(name, *, before="", after="", writes=False):
    original = getattr(local_runner._Launcher, name)

    def method(self, *values, **named):
        if name == "_prepare_execution":
            now["component"] = self._pipeline_node.node_info.id
        at(before)
        now["is_writing"] = writes
        try:
            result = original(self, *values, **named)
        finally:
            now["is_writing"] = False
        at(after)
        return result

    setattr(local_runner._Launcher, name, method)


phased("_prepare_execution", after="prepared")
phased("_run_executor", after="executed", writes=True)
phased("_publish_successful_execution", before="publishing", after="published")
report_run = run_command.report_run


def reporting(*values, **named):
    now.update(component="report", is_writing=True)
    return report_run(*values, **named)


run_command.report_run = reporting
sys.addaudithook(hook)
sys.argv[1:] = arguments
main(prog_name="sluice")
