"""`make audit`: the locked packages against known advisories. Asks for them where there is a network.

`.ci/advisories.toml` says what was known when it was written, and which of it is accepted, why and until when. An
acceptance that has ended accepts nothing. Online, `uv audit` looks the whole lock up; the same acceptances count.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

_NEEDED = {"id": str, "package": str, "affected": list, "published": date, "summary": str}
_SECONDS = 120
_UV_FOUND_SOME, _UV_FAILED = 1, 2  # exit codes of `uv audit`


class AuditError(ValueError):
    """A list of advisories that cannot be used."""


def load_advisories(file: Path) -> tuple[date, list[dict[str, Any]]]:
    """Returns the day of a list of advisories, and the list.

    Raises:
        AuditError: If it is no such list, or accepts something without a reason or an end.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        known, advisories = document["known"], document["advisory"]
        for advisory in advisories:
            _check(advisory)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as err:
        raise AuditError(f"{file} cannot be used: {err!r}") from err
    return known, advisories


def _check(advisory: Mapping[str, Any]) -> None:
    wrong = [name for name, kind in _NEEDED.items() if not (advisory.get(name) and isinstance(advisory[name], kind))]
    accepted = advisory.get("accepted")
    if accepted is not None and not (str(accepted.get("reason", "")).strip() and isinstance(accepted["until"], date)):
        wrong.append("accepted")
    if wrong:
        raise ValueError(f"{advisory.get('id')}: {', '.join(wrong)}")
    for each in advisory["affected"]:
        _holds(each, Version("1"))


def _holds(affected_range: Mapping[str, str], version: Version) -> bool:
    """Whether a version lies in a range of OSV's kind: from where a fault came in to before it was fixed, if it was."""
    introduced, fixed = affected_range.get("introduced", "0"), affected_range.get("fixed")
    return version >= Version(introduced) and (fixed is None or version < Version(fixed))


def locked_versions(lock: Path) -> dict[str, str]:
    """Returns the version of every package of a uv.lock by its canonical name, the project itself left out."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    return {canonicalize_name(each["name"]): each["version"] for each in packages if "registry" in each["source"]}


def is_accepted(advisory: Mapping[str, Any], today: date) -> bool:
    """Whether an advisory is accepted on a day; on its last one still."""
    return "accepted" in advisory and today <= advisory["accepted"]["until"]


def affected(advisories: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Yields the advisories that concern a locked version."""
    for advisory in advisories:
        version = versions.get(canonicalize_name(advisory["package"]))
        if version and any(_holds(each, Version(version)) for each in advisory["affected"]):
            yield advisory


def audit_offline(
    known: date, advisories: Sequence[Mapping[str, Any]], versions: Mapping[str, str], today: date
) -> int:
    """Prints what concerns the lock and returns how many of that are not accepted."""
    found = list(affected(advisories, versions))
    for advisory in found:
        state = f"accepted until {advisory['accepted']['until']}" if is_accepted(advisory, today) else "NOT ACCEPTED"
        if "accepted" in advisory and not is_accepted(advisory, today):
            state = f"NOT ACCEPTED after {advisory['accepted']['until']}"
        name = f"{advisory['package']} {versions[canonicalize_name(advisory['package'])]}"
        print(f"{state:<30} {name:<20} {advisory['id']}: {advisory['summary']}")
    open_ones = sum(not is_accepted(advisory, today) for advisory in found)
    counts = f"{open_ones} open, {len(found) - open_ones} accepted"
    print(f"{len(versions)} packages, {len(advisories)} advisories known on {known}: {counts}.")
    return open_ones


def audit_online(uv: str, advisories: Sequence[Mapping[str, Any]], today: date) -> int | None:
    """Lets uv look the lock up; returns its exit code, None where it could not ask."""
    ids = [name for each in advisories if is_accepted(each, today) for name in (each["id"], *each.get("aliases", ()))]
    command = [uv, "audit", "--frozen", "--preview-features", "audit-command", *(f"--ignore={name}" for name in ids)]
    environment = {**os.environ, "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "20", "UV_HTTP_CONNECT_TIMEOUT": "5"}
    try:
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as err:
        print(f"No answer from the advisory service: {err}")
        return None
    if process.returncode in (0, _UV_FOUND_SOME):
        print(process.stdout + process.stderr, end="")
        return process.returncode
    causes = [line.strip() for line in process.stderr.splitlines() if "cause:" in line or line.startswith("error")]
    print(f"No answer from the advisory service: {' '.join(causes)}")
    return None


def main(uv: str) -> int:
    """Returns 0 if nothing is open, else 1."""
    here, today = Path(__file__).resolve().parent, datetime.now(UTC).date()
    known, advisories = load_advisories(here / "advisories.toml")
    open_ones = audit_offline(known, advisories, locked_versions(here.parent / "uv.lock"), today)
    online = audit_online(uv, advisories, today)
    return int(bool(open_ones) or online == _UV_FOUND_SOME)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
