"""Kills a push at every call into the operating system and checks what is left. Run as a script by `test_push.py`.

Python tells a profile function of every call of a C function, and a push reaches the disk through nothing else; so
`point` counts the calls into `posix`, `_io` and `fcntl` and their returns, and the process kills itself at the chosen
one.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from components.model_manifest import check_companions, make_manifest, read_manifest
from components.pusher.push import push_model
from components.pusher.versions import list_versions, served_versions

folder = Path(sys.argv[1])
base, template = folder / "base", folder / "template"
_MODULES = ("posix", "_io", "fcntl")


def push(name):
    return push_model(
        str(folder / name), str(base), facts={"run_id": name}, companions={"rows.pb": b"rows"}, keep_versions=1
    )


def reset():
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(template, base)


def push_and_die(point):
    """Pushes in a child that kills itself at a point; returns whether it was killed."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        if event in ("c_call", "c_return"):
            owner = getattr(argument, "__module__", None) or type(getattr(argument, "__self__", None)).__module__
            if owner in _MODULES:
                count += 1
                if count == point:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)
    push("new")
    os._exit(0)


def check(condition, *evidence):
    if not condition:
        sys.exit(f"{evidence}: {sorted(str(path) for path in base.rglob('*'))}")


first = push("old").version
shutil.copytree(base, template)
digest = {name: read_manifest(str(folder / name))["digest"] for name in ("old", "new", "next")}
counts = {"points": 0, "old": 0, "new": 0}
while True:
    reset()
    point = counts["points"] + 1
    killed = push_and_die(point)
    if not killed:
        break
    versions = [int(path.name) for path in base.iterdir() if path.name.isdecimal()]
    found = []
    for version in versions:  # each is whole
        manifest = read_manifest(str(base / str(version)))
        check(make_manifest(str(base / str(version)))["digest"] == manifest["digest"], "incomplete", point, version)
        check_companions(str(base / str(version)), manifest)
        check(manifest["companions"].keys() == {"rows.pb"}, "without its companion", point, version)
        found.append(manifest["digest"])
    newest = dict(zip(versions, found, strict=True))[max(versions)]
    check(newest in (digest["old"], digest["new"]), "neither state", point)
    counts["new" if newest == digest["new"] else "old"] += 1
    result = push("next")
    check(result.is_new and result.version == max(list_versions(base)), "next push", point)
    check({path.name for path in base.iterdir()} == {str(result.version), "models.config"}, "not cleaned up", point)
    check(served_versions(base) == [result.version], "not served", point)
    counts["points"] = point
print(json.dumps(counts))
