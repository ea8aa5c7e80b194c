"""A MariaDB server of the tests' own, as a child process with its data in a temporary folder."""

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pymysql
from ml_metadata.proto import metadata_store_pb2

PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"  # where Debian puts the server
MARIADBD = shutil.which("mariadbd", path=PATH)
# What is looked for is the core, which every escape leaves as it is.
USER_CORE, PASSWORD_CORE = "canaryuser7q", "CanaryPw5x93"
USER, PASSWORD = USER_CORE, f"a'\"\\ %@:/?#ü{PASSWORD_CORE}é$`;"


class MariaDb:
    """A server with one user who has databases of the tests, and an administrator on the socket."""

    credentials = {"SLUICE_METADATA_USER": USER, "SLUICE_METADATA_PASSWORD": PASSWORD}

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
        self.socket = self.folder / "socket"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        self.options = ["--no-defaults", f"--user={user}", f"--datadir={self.folder / 'data'}"]
        install = ["mariadb-install-db", *self.options, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, env=os.environ | {"PATH": PATH}, check=True, capture_output=True)
        self.start()
        self.execute(f"CREATE USER {USER} IDENTIFIED BY %s", PASSWORD)

    def start(self):
        """Starts the server and waits until it answers."""
        command = [MARIADBD, *self.options, f"--socket={self.socket}", f"--port={self.port}"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*command, "--bind-address=127.0.0.1"], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                self.execute("SELECT 1")
                return
            except pymysql.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder)

    def execute(self, statement, *values):
        """Returns the rows of a statement of the administrator."""
        with pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True) as connection:
            cursor = connection.cursor()
            cursor.execute(statement, values)
            return cursor.fetchall()

    def make_database(self, root):
        """Returns the name of the database of a root, which is made as README says."""
        name = f"sluice_{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"
        self.execute(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        self.execute(f"GRANT ALL ON {name}.* TO {USER}")
        return name

    def set_options(self, database):
        """Returns the options of a command that leads it to a database."""
        settings = {"backend": "mysql", "host": "127.0.0.1", "port": self.port, "database": database}
        return [word for key, value in settings.items() for word in ("--set", f"metadata.{key}={value}")]

    def connection(self, database):
        """Returns what MLMD connects with."""
        return metadata_store_pb2.ConnectionConfig(
            mysql=metadata_store_pb2.MySQLDatabaseConfig(
                host="127.0.0.1", port=self.port, database=database, user=USER, password=PASSWORD
            )
        )

    def database_of(self, root):
        """Returns the database in which a root has its metadata."""
        for (name,) in self.execute("SHOW DATABASES LIKE 'sluice\\_%%'"):
            if self.execute(
                f"SELECT 1 FROM {name}.ContextProperty WHERE name = 'root' AND string_value = %s", str(root)
            ):
                return name
        raise LookupError(root)

    def dump(self):
        """Returns every row of every table of the tests' databases, as bytes."""
        rows = []
        for (database,) in self.execute("SHOW DATABASES LIKE 'sluice\\_%%'"):
            for (table,) in self.execute(f"SHOW TABLES FROM {database}"):
                rows += self.execute(f"SELECT * FROM {database}.{table}")
        cells = (cell for row in rows for cell in row)
        return b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells)
