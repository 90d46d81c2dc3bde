"""A private MariaDB: own data folder, port, socket and accounts, reachable on 127.0.0.1 alone."""

import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pymysql

from deploy.local import programs
from deploy.local.errors import LocalError
from deploy.local.process import Process, free_port

_START_TIMEOUT = 60.0
_INIT = """\
CREATE DATABASE IF NOT EXISTS nowait CHARACTER SET utf8mb4;
CREATE OR REPLACE USER nowait@'127.0.0.1' IDENTIFIED BY '{password}';
GRANT ALL ON nowait.* TO nowait@'127.0.0.1';
ALTER USER root@localhost IDENTIFIED BY '{password}';
"""
_ROOT = """\
[client]
user = root
password = {password}
socket = {socket}
"""


class Database:
    """One MariaDB server under `directory`; its data outlives stop().

    Args:
        directory: where it lives.
        address: the IPv4 address to listen on.
        options: further options of mariadbd; also an attribute, read at each start.
    """

    programs = ("mariadbd", "mariadb-install-db", "my_print_defaults")

    def __init__(self, directory: Path, *, address: str = "127.0.0.1", options: Sequence[str] = ()) -> None:
        self.directory = directory.resolve()
        self.options = options
        self._address = address
        self.port = free_port()
        self._password = secrets.token_hex(16)
        self._server: Process | None = None

    @property
    def url(self) -> str:
        return f"mysql://nowait:{self._password}@127.0.0.1:{self.port}/nowait"

    @property
    def root(self) -> list[str]:
        """The options that let MariaDB's own client in as root, on this machine; they come first."""
        return [f"--defaults-file={self.directory / 'root.cnf'}"]

    @property
    def process(self) -> Process:
        """The server's process. Raises LocalError when it was not started."""
        if self._server is None:
            raise LocalError("the private database was not started")
        return self._server

    def start(self) -> None:
        """Start the server; wait_ready() waits for it.

        Raises LocalError when MariaDB is neither installed nor can be, or its data folder cannot
        be made.
        """
        programs.require(self.programs)
        self.directory.mkdir(parents=True, exist_ok=True)
        data = self.directory / "data"
        if not data.exists():
            self._install(data)
        init = self.directory / "init.sql"
        # Not on a command line, which anybody on the machine can read.
        for file, template in ((init, _INIT), (self.directory / "root.cnf", _ROOT)):
            file.touch(mode=0o600)
            file.write_text(template.format(password=self._password, socket=data / "database.sock"))
        self._server = Process(
            "database",
            [
                programs.path("mariadbd"),
                "--no-defaults",
                f"--datadir={data}",
                f"--tmpdir={self._temporary()}",
                # Relative to the data folder: Linux limits the path to 107 bytes (unix(7)).
                "--socket=database.sock",
                f"--pid-file={self.directory / 'database.pid'}",
                f"--port={self.port}",
                f"--init-file={init}",
                f"--bind-address={self._address}",
                "--skip-name-resolve",
                "--max-connections=600",
                "--character-set-server=utf8mb4",
                "--innodb-flush-log-at-trx-commit=2",
                *self.options,
                *_user(),
            ],
            output=self.directory / "database.log",
        )

    def wait_ready(self) -> None:
        """Return once it serves queries. Raises LocalError when it ends or takes too long."""
        self.process.wait_until(self._answers, _START_TIMEOUT)

    def terminate(self) -> None:
        """Ask the server to stop, without waiting."""
        if self._server is not None:
            self._server.terminate()

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the server; SIGKILL after `timeout` seconds."""
        if self._server is not None:
            self._server.stop(timeout)

    def _install(self, data: Path) -> None:
        # Under another name first: a half-made data folder must not be taken for a whole one.
        unfinished = self.directory / f"data.{os.getpid()}"
        done = subprocess.run(
            [
                programs.path("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={unfinished}",
                f"--tmpdir={self._temporary()}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *_user(),
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise LocalError(f"mariadb-install-db failed:\n{(done.stdout + done.stderr)[-2000:]}")
        unfinished.rename(data)

    def _temporary(self) -> Path:
        """A folder of its own for temporary tables: a server that starts deletes those that it finds."""
        folder = self.directory / "tmp"
        folder.mkdir(exist_ok=True)
        return folder

    def _answers(self) -> bool:
        try:
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user="nowait",
                password=self._password,
                database="nowait",
                connect_timeout=2,
            ).close()
        except pymysql.err.MySQLError:
            return False
        return True


def _user() -> list[str]:
    """mariadbd refuses to run as root unless told to."""
    return ["--user=root"] if os.geteuid() == 0 else []
