"""Executes the Dockerfile's own steps in an empty folder, for where no image can be built, and tries what they made.

    python3.11 kubeflow/rehearse_image.py FOLDER

FOLDER/opt and FOLDER/tmp stand for the image's, this Python for the base image's. It understands what the Dockerfile
uses and refuses anything else; a RUN is one command without a shell, of python3.11 or of a program below /opt, or an rm
there. Not rehearsed: the base image, what comes from another image, the entrypoint. Root must name a FOLDER that every
user can reach.
"""

import os
import re
import shlex
import shutil
import string
import subprocess
import sys
import time
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
# How this machine reaches its package index; nothing else of its environment is passed on.
NETWORK = re.compile(r"SSL_CERT_|PIP_CERT|PIP_INDEX_URL|UV_DEFAULT_INDEX|https?_proxy", re.IGNORECASE)
DATA_DIR = "/opt/sluice/lib/python3.11/site-packages/schema/reference/data"
CHECKS = f"""
sluice --version
sluice validate
python -c "import components.trainer.module, pipeline.cli; assert pipeline.cli.__file__.startswith('/opt/sluice/')"
python -c "import importlib.util; assert not importlib.util.find_spec('pytest'), 'dev dependencies are installed'"
sluice compile --target kubeflow --image IMAGE
sluice rehearse reference-kubeflow.yaml --parameter input_dir={DATA_DIR} --parameter serving_model_dir=/tmp/models
sluice versions list --model-dir /tmp/models --verify
"""


class Build:
    """A build in the folder `root`, which stands for /; the /opt of a stage that is done becomes `root`/NAME."""

    def __init__(self, root: Path) -> None:
        self.root, self.stage, self.user = root, "", ""
        (root / "tmp").mkdir(parents=True)
        (root / "tmp").chmod(0o1777)

    def here(self, text: str) -> str:
        """Returns a text of the Dockerfile with this machine's paths."""
        return re.sub(r"(?<![\w.])/(opt|tmp)\b", rf"{self.root}/\1", text)

    def do_from(self, argument: str) -> None:
        """Starts an empty stage."""
        if self.stage:
            (self.root / "opt").rename(self.root / self.stage)
        (self.root / "opt").mkdir()
        self.stage, self.workdir = argument.partition(" AS ")[2], self.root
        path = f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"
        self.environment = {"PATH": path, "HOME": str(self.root / "tmp")}
        self.environment |= {name: value for name, value in os.environ.items() if NETWORK.match(name)}

    def do_env(self, argument: str) -> None:
        """Sets variables."""
        for pair in shlex.split(self.here(argument)):
            name, _, value = pair.partition("=")
            self.environment[name] = string.Template(value).substitute(self.environment)

    def do_workdir(self, argument: str) -> None:
        """Makes a folder, and goes there."""
        self.workdir = Path(self.here(argument))
        self.workdir.mkdir(parents=True, exist_ok=True)

    def do_copy(self, argument: str) -> None:
        """Copies from the project, or moves from a stage, which is of no use afterwards."""
        *sources, target = argument.split()
        destination = self.workdir / self.here(target)
        if not sources[0].startswith("--from="):
            for source in (PROJECT_ROOT / source for source in sources):
                if source.is_dir():
                    shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy2(source, destination)
        elif (stage := self.root / sources[0].removeprefix("--from=")).is_dir():
            shutil.move(stage / sources[1].removeprefix("/opt/"), destination)
            shutil.rmtree(stage)
        else:
            print("  not copied: it is another image's")

    def do_run(self, argument: str) -> None:
        """Runs a command; the build stops if it fails."""
        command = shlex.split(self.here(argument))
        if self.user and os.getuid() == 0:  # it may read what root may, since this machine's Python may lie in /root
            uid, gid = self.user.split(":")
            caps = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
            command = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *caps, *command]
        subprocess.run(command, cwd=self.workdir, env=self.environment, check=True)

    def do_user(self, argument: str) -> None:
        """Runs what follows as another user, if this runs as root."""
        self.user = argument


def read_dockerfile() -> list[tuple[str, str]]:
    """Returns the keyword and argument of each instruction to rehearse; exits if one cannot be."""
    lines = re.findall(r"^[^#\n].*", (PROJECT_ROOT / "kubeflow" / "Dockerfile").read_text(), re.MULTILINE)
    for line in lines:
        is_refused = re.match("RUN", line) and not re.fullmatch(
            r"RUN (python3\.11 |rm -r /opt/|/opt/)[^;&|<>$`*]+", line
        )
        if is_refused or not re.match("(FROM|ENV|WORKDIR|COPY|RUN|USER|ENTRYPOINT|CMD) ", line):
            sys.exit(f"Dockerfile: {line}: cannot be rehearsed. {__doc__}")
    steps = (line.split(maxsplit=1) for line in lines)
    return [(keyword, argument) for keyword, argument in steps if keyword not in ("ENTRYPOINT", "CMD")]


def main() -> None:
    """Executes the Dockerfile, then the checks as the image's user; prints what the result weighs."""
    start, root = time.monotonic(), Path(sys.argv[1]).resolve()
    build = Build(root)
    for keyword, argument in [*read_dockerfile(), *(["RUN", check] for check in CHECKS.strip().splitlines())]:
        print(keyword, argument, flush=True)
        getattr(build, f"do_{keyword.lower()}")(argument)
    num_packages = len(list(root.glob("opt/sluice/lib/*/site-packages/*.dist-info")))
    num_bytes = sum(file.lstat().st_size for file in root.glob("opt/**/*"))
    print(f"{num_packages} packages, {num_bytes / 2**30:.2f} GiB, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
