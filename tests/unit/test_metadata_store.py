import re

import pytest
from click.testing import CliRunner
from ml_metadata import errors

from pipeline.cli import main
from pipeline.config import load_config
from pipeline.config_errors import ConfigError
from pipeline.retries import can_pass

MYSQL = ("metadata.backend=mysql", "metadata.host=db.example.com", "metadata.database=sluice")
VARIABLES = ("SLUICE_METADATA_USER", "SLUICE_METADATA_PASSWORD")
BELONG = "User and password come from the environment alone: SLUICE_METADATA_USER and SLUICE_METADATA_PASSWORD."
SECRET = "s3cret"


def test_metadata_are_in_sqlite_unless_the_config_says_otherwise(reference_config_file):
    assert load_config(reference_config_file).metadata.backend == "sqlite"
    settings = load_config(reference_config_file, MYSQL).metadata
    assert (settings.backend, settings.host, settings.port) == ("mysql", "db.example.com", 3306)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"metadata.password={SECRET}", "password may not stand in a config"),
        (f"metadata.user={SECRET}", "user may not stand in a config"),
        (f"metadata={{backend: mysql, url: '{SECRET}', db_passwd: '{SECRET}'}}", "url, db_passwd may not stand in"),
        (f"metadata=mysql://me:{SECRET}@host/sluice", "must be a section of 'key: value' lines"),
        (f"metadata.host=me:{SECRET}@host", "must be the name or address of a host alone"),
    ],
)
def test_credentials_in_a_config_are_refused_and_not_repeated(reference_config_file, override, message):
    with pytest.raises(ConfigError) as raised:
        load_config(reference_config_file, [override])
    assert re.fullmatch(rf"--set: metadata(\.host)?: {re.escape(message)}.* {re.escape(BELONG)}", str(raised.value))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "overrides",
    [
        MYSQL[:2],
        (MYSQL[0], MYSQL[2]),
        (*MYSQL, "metadata.socket=/run/mysqld/mysqld.sock"),
    ],
)
def test_mysql_needs_a_database_and_one_way_to_it(reference_config_file, overrides):
    with pytest.raises(ConfigError, match="metadata: backend: mysql needs a database, and either a host or a socket"):
        load_config(reference_config_file, overrides)


@pytest.mark.parametrize("missing", [VARIABLES, VARIABLES[:1], VARIABLES[1:]])
@pytest.mark.parametrize("command", [["run"], ["clean", "--keep", "1"]])
def test_missing_variable_exits_2_before_anything_is_written(monkeypatch, tmp_path, command, missing):
    for name in VARIABLES:
        monkeypatch.setenv(name, SECRET)
    for name in missing:
        monkeypatch.setenv(name, "")
    (tmp_path / "output" / "metadata" / "reference").mkdir(parents=True)
    options = [word for setting in MYSQL for word in ("--set", setting)]
    result = CliRunner().invoke(main, [*command, "--root", str(tmp_path / "output"), *options])
    assert result.exit_code == 2
    needed = f"metadata.backend: mysql needs {' and '.join(missing)} in the environment."
    assert needed in " ".join(result.stderr.split())
    assert [each.name for each in tmp_path.rglob("*")] == ["output", "metadata", "reference"]


def test_validate_needs_no_credentials(monkeypatch, reference_config_file):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    options = [word for setting in MYSQL for word in ("--set", setting)]
    assert CliRunner().invoke(main, ["validate", reference_config_file, *options]).exit_code == 0


@pytest.mark.parametrize(
    ("err", "passes"),
    [
        (errors.InternalError("mysql_query failed: errno: Lost connection to MySQL server during query"), True),
        (errors.InternalError("mysql_query failed: errno: MySQL server has gone away, error: ..."), True),
        (errors.InternalError("mysql_query aborted: errno: Deadlock found when trying to get lock"), True),
        (errors.InternalError("mysql_real_connect failed: errno: , error: "), True),
        (
            RuntimeError("Failed to establish connection to Metadata storage with error: mysql_real_connect failed"),
            True,
        ),
        (errors.InternalError("mysql_query failed: errno: Data too long for column 'uri' at row 1"), False),
        (errors.InvalidArgumentError("No property is defined for the Type"), False),
        (ValueError("Lost connection to MySQL server"), False),
    ],
)
def test_lost_server_can_pass(err, passes):
    assert can_pass(err) is passes
