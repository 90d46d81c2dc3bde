"""A private MySQL in a root."""

import secrets
from pathlib import Path

import pymysql

from deploy.local.process import Process, free_port
from tests.platforms.root import Root

_START_TIMEOUT = 120.0
_INIT = """\
CREATE DATABASE IF NOT EXISTS nowait CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS nowait@'127.0.0.1';
ALTER USER nowait@'127.0.0.1' IDENTIFIED BY '{password}';
GRANT ALL ON nowait.* TO nowait@'127.0.0.1';
GRANT ALL ON `nowait\\_%`.* TO nowait@'127.0.0.1';
"""
_PROGRAM = "mysqld --no-defaults --user=root --datadir=/var/lib/nowait".split()


class MySQL:
    """One MySQL server; its data goes with each start.

    Args:
        root: where it is installed.
        output: the file for what it prints.
    """

    def __init__(self, root: Root, output: Path) -> None:
        self._root = root
        self._output = output
        self._port = free_port()
        self._password = secrets.token_hex(16)
        self._server: Process | None = None

    @property
    def url(self) -> str:
        """Its database, for an account that owns nothing else."""
        return f"mysql://nowait:{self._password}@127.0.0.1:{self._port}/nowait"

    def start(self) -> None:
        """Start it and wait until it serves. Raises LocalError."""
        self._root.run("sh", "-c", f"rm -rf /var/lib/nowait && {' '.join(_PROGRAM)} --initialize-insecure")
        init = self._root.folder / "var/lib/nowait/init.sql"
        init.touch(mode=0o600)
        init.write_text(_INIT.format(password=self._password))
        options = [
            f"--port={self._port}", "--bind-address=127.0.0.1", "--socket=/var/lib/nowait/mysqld.sock", "--mysqlx=OFF",
            "--pid-file=/var/lib/nowait/mysqld.pid", "--skip-name-resolve", "--secure-file-priv=NULL",
            "--init-file=/var/lib/nowait/init.sql", "--max-connections=600", "--innodb-flush-log-at-trx-commit=2",
            "--skip-log-bin",  # with it, who makes a trigger has to be an administrator
        ]  # fmt: skip
        self._server = Process("mysql", self._root.command([*_PROGRAM, *options]), output=self._output)
        self._server.wait_until(self._answers, _START_TIMEOUT)

    def stop(self) -> None:
        """End it at once: nobody reads its data again."""
        if self._server is not None:
            self._server.kill()

    def version(self) -> str:
        """What it calls itself."""
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            ((version,),) = cursor.fetchall()
            return str(version).partition("-")[0]

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.err.MySQLError:
            return False
        return True

    def _connect(self) -> pymysql.Connection:
        return pymysql.connect(
            host="127.0.0.1", port=self._port, user="nowait", password=self._password, database="nowait",
            connect_timeout=2,
        )  # fmt: skip
