"""Opens the metadata store of local runs and says in one sentence why it cannot. Runs in the process of a command.

MLMD's client says nothing of why a MySQL server refuses it, so that PyMySQL asks the server before. Neither user nor
password stands in what is raised or logged here.
"""

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pymysql
from absl import logging as absl_logging
from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from pymysql.constants import CR, ER
from tfx.orchestration import metadata

from pipeline.metadata_config import PASSWORD_VARIABLE, USER_VARIABLE, MetadataConfig
from pipeline.recovery import check_sqlite
from pipeline.run_outcome import MetadataError
from pipeline.run_record import RunPaths, write_whole

_OWNER_TYPE = "sluice.root"  # of the MLMD context that says under which root the artifacts of a pipeline lie
_ROOT_ID_FILE = "root_id"
_TIMEOUT_SECS = 10


def connection_config(settings: MetadataConfig, sqlite_file: Path) -> metadata_store_pb2.ConnectionConfig:
    """Returns what MLMD connects with. User and password leave the environment, so that no child process has them.

    Args:
        settings: Of the config.
        sqlite_file: The store if there is no server.
    """
    if settings.backend == "sqlite":
        return metadata.sqlite_metadata_connection_config(str(sqlite_file))
    absl_logging.get_absl_logger().addFilter(_hides_connection)
    return metadata_store_pb2.ConnectionConfig(
        mysql=metadata_store_pb2.MySQLDatabaseConfig(
            # The C client takes `localhost` for a socket whose path was compiled in.
            host="127.0.0.1" if settings.host == "localhost" else settings.host,
            port=settings.port,
            socket=settings.socket,
            database=settings.database,
            user=os.environ.pop(USER_VARIABLE),
            password=os.environ.pop(PASSWORD_VARIABLE),
            skip_db_creation=True,
        )
    )


def check_store(connection: metadata_store_pb2.ConnectionConfig) -> str:
    """Checks that a store can be opened, and makes MLMD's tables where there are none. Returns what it is.

    Raises:
        MetadataError: If it is damaged, or its server or MLMD refuses it.
    """
    if connection.HasField("sqlite"):
        check_sqlite(Path(connection.sqlite.filename_uri))
        return f"sqlite at {connection.sqlite.filename_uri}"
    mysql = connection.mysql
    with _logged_in(mysql) as (cursor, version):
        # Clients of MLMD that make its tables at once refuse what they find half made.
        cursor.execute("SELECT GET_LOCK('sluice.tables', %s)", (_TIMEOUT_SECS,))
        try:
            metadata_store.MetadataStore(connection)
        except RuntimeError as err:
            raise MetadataError(f"{_name(mysql)} {_refusal_of_mlmd(str(err), mysql)}.") from None
    return f"{version} at {_place(mysql)}, database {mysql.database}"


@contextlib.contextmanager
def opened(connection: metadata_store_pb2.ConnectionConfig) -> Iterator[metadata.Metadata]:
    """Opens a store.

    Raises:
        MetadataError: If it is lost meanwhile.
    """
    try:
        with metadata.Metadata(connection) as handle:
            yield handle
    except (RuntimeError, errors.StatusError) as err:
        if sentence := lost_store(connection, err):
            raise MetadataError(f"{sentence}.") from err
        raise


def lost_store(connection: metadata_store_pb2.ConnectionConfig, err: BaseException) -> str:
    """Says that the server was lost, if an error is of it; empty of any other, and of sqlite."""
    is_of_store = isinstance(err, errors.StatusError) or "Metadata storage" in str(err)
    if not (connection.HasField("mysql") and is_of_store and "mysql_" in str(err)):
        return ""
    mysql = connection.mysql
    try:
        with _logged_in(mysql):
            return f"{_name(mysql)} broke off: {_without_credentials(str(err).rpartition('error: ')[2], mysql)}"
    except MetadataError as why:
        return str(why).rstrip(".")


def claim(handle: metadata.Metadata, paths: RunPaths) -> None:
    """Makes a root the only one whose runs of a pipeline a shared database holds.

    MLMD knows a pipeline by its name alone: runs under another root would take each other for dead, and remove what
    they do not know.

    Raises:
        MetadataError: If the database has the pipeline under another root, or of another tool.
    """
    id_file = paths.metadata_file.with_name(_ROOT_ID_FILE)
    if not id_file.exists():
        write_whole(id_file, uuid.uuid4().hex)
    root = {"root": str(paths.root), "id": id_file.read_text(encoding="utf-8")}
    owner = _put_owner(handle.store, paths.pipeline_name, root)
    if owner == root:
        return
    where = owner["root"]
    raise MetadataError(
        f"the metadata of pipeline {paths.pipeline_name} in this database are those of root {where}"
        f"{', removed since or on another machine' * (where == root['root'])}; this root is {root['root']}. "
        "A pipeline has one root: name another pipeline_name or metadata.database, or use that root."
    )


def _put_owner(store: metadata_store.MetadataStore, pipeline_name: str, root: dict[str, str]) -> dict[str, str]:
    """Returns which root has a pipeline: `root` if none had it."""
    type_id = store.put_context_type(metadata_store_pb2.ContextType(name=_OWNER_TYPE))
    owner = store.get_context_by_type_and_name(_OWNER_TYPE, pipeline_name)
    if owner is None:
        if _has_executions(store, pipeline_name):
            return {"root": "unknown, of another tool", "id": ""}
        owner = metadata_store_pb2.Context(type_id=type_id, name=pipeline_name)
        for key, value in root.items():
            owner.custom_properties[key].string_value = value
        with contextlib.suppress(errors.AlreadyExistsError):  # another root was quicker
            store.put_contexts([owner])
        owner = store.get_context_by_type_and_name(_OWNER_TYPE, pipeline_name)
    return {key: value.string_value for key, value in owner.custom_properties.items()}


def _has_executions(store: metadata_store.MetadataStore, pipeline_name: str) -> bool:
    with contextlib.suppress(errors.NotFoundError):
        context = store.get_context_by_type_and_name("pipeline", pipeline_name)
        return bool(context and store.get_executions_by_context(context.id))
    return False


@contextlib.contextmanager
def _logged_in(mysql: metadata_store_pb2.MySQLDatabaseConfig) -> Iterator[tuple[pymysql.cursors.Cursor, str]]:
    """Logs in; yields a cursor and the server's version.

    Raises:
        MetadataError: If the server refuses it, or is lost.
    """
    try:
        connection = pymysql.connect(
            host=mysql.host,
            port=mysql.port,
            unix_socket=mysql.socket or None,
            user=mysql.user,
            password=mysql.password.encode(),  # a str would become Latin-1
            database=mysql.database,
            ssl_disabled=True,  # as MLMD
            connect_timeout=_TIMEOUT_SECS,
            read_timeout=2 * _TIMEOUT_SECS,
        )
        with contextlib.closing(connection):
            yield connection.cursor(), connection.get_server_info().removeprefix("5.5.5-")  # before MariaDB's own
    except (pymysql.MySQLError, OSError) as err:
        raise MetadataError(f"{_name(mysql)} {_refusal(err, mysql)}.") from None


def _refusal(err: Exception, mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str:
    number = err.args[0] if err.args and isinstance(err.args[0], int) else 0
    if number in (CR.CR_CONN_HOST_ERROR, CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR):
        return f"does not answer: {getattr(err, 'original_exception', None) or 'the connection was lost'}"
    if number == ER.ACCESS_DENIED_ERROR:
        return f"refuses the user or the password of {USER_VARIABLE} and {PASSWORD_VARIABLE}"
    if number in (ER.BAD_DB_ERROR, ER.DBACCESS_DENIED_ERROR):
        return f"has no such database, or none that the user of {USER_VARIABLE} may use"
    return f"refuses the connection: {_without_credentials(' '.join(map(str, err.args[1:] or err.args)), mysql)}"


def _refusal_of_mlmd(reason: str, mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str:
    if "is older than library" in reason:
        return "has tables of an older MLMD: upgrade them once by MLMD's own migration, or name an empty database"
    if "is greater than library" in reason:
        return "has tables of a newer MLMD: name another database, or upgrade Sluice"
    if "mysql_real_connect" in reason:
        return f"lets MLMD not in: the user of {USER_VARIABLE} must log in by mysql_native_password, without TLS"
    if "denied" in reason:
        return f"denies MLMD its tables: the user of {USER_VARIABLE} needs all rights on the database"
    return f"refuses MLMD: {_without_credentials(reason, mysql)}"


def _without_credentials(text: str, mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str:
    return text.replace(mysql.password, "***").replace(mysql.user, "***").rstrip(". ")


def _name(mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str:
    return f"the metadata store, MySQL at {_place(mysql)}, database {mysql.database},"


def _place(mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str:
    return mysql.socket or f"{mysql.host}:{mysql.port}"


def _hides_connection(record: logging.LogRecord) -> bool:
    """Drops the line in which MLMD logs, at level DEBUG, what it connects with."""
    return not str(record.msg).startswith("ConnectionConfig")
