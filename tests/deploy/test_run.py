"""`make run`, from its start to its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.__main__ import metrics_of
from deploy.local.database import Database
from deploy.local.process import free_port, listens
from deploy.local.services import Services
from nowait.jobs.migrations import migrate
from tests import marks, programs
from tests.conftest import ROOT
from tests.http import fetch


class Run:
    """One run of the local stack in its own session, as make starts it.

    Attributes:
        url: of its server.
        output: what it printed.
    """

    def __init__(self, folder: Path, output: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = output
        self.mark = marks.new()
        inherited = {key: text for key, text in os.environ.items() if not key.startswith("NOWAIT_")}
        environment = {**inherited, "NOWAIT_PORT": str(self.port), marks.NAME: self.mark, **settings}
        with output.open("w") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", "--folder", str(folder)],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, timeout: float = 90.0) -> None:
        deadline = time.monotonic() + timeout
        while f"ready: {self.url}" not in self.printed():
            assert self.popen.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.05)

    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def processes(self) -> list[str]:
        """The names of the processes that it started and that are still there."""
        return marks.carriers(self.mark)

    def end(self, number: int) -> int:
        """Send a signal to the whole session's leader and wait. Returns the exit status."""
        self.popen.send_signal(number)
        status = self.popen.wait(30)
        deadline = time.monotonic() + 10
        while self.processes():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.05)
        return status


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "stack"


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Run]]:
    """Runs that are ended with the test."""
    started: list[Run] = []
    yield started
    for run in started:
        run.popen.kill()
        run.popen.wait()


def begin(runs: list[Run], folder: Path, **settings: str) -> Run:
    runs.append(Run(folder, folder.with_name(f"output-{len(runs)}"), **settings))
    return runs[-1]


def test_it_starts_serves_stops_and_starts_again_with_its_data(folder: Path, runs: list[Run]) -> None:
    first = begin(runs, folder)
    first.wait_ready()
    assert fetch(f"{first.url}/i_want_you_now").body == b"i want you, right now!"
    answer = fetch(f"{first.url}/mysql_query/1")
    assert (answer.status, len(answer.json()["rows"])) == (200, 10)
    assert fetch(f"{first.url}/blocking/mysql_query/1").body == answer.body
    assert "sample data: loaded" in first.printed()
    assert len(first.processes()) >= 6
    ticks = b'{"job": {"name": "add_visit", "parameters": {"user": 1}}, "every": 1}'
    kind = {"Content-Type": "application/json"}
    while fetch(f"{first.url}/schedules/s", "PUT", kind, ticks).status not in (200, 201):
        time.sleep(0.2)
    while not fetch(f"{first.url}/jobs?schedule=s&state=succeeded").json()["jobs"]:
        time.sleep(0.2)
    assert first.end(signal.SIGINT) == 0
    assert not listens(first.port)

    # Killed, it takes everything along and leaves nothing that is in the way of the next.
    second = begin(runs, folder)
    second.wait_ready()
    assert second.end(signal.SIGKILL) == -signal.SIGKILL

    third = begin(runs, folder)
    third.wait_ready()
    assert "sample data: loaded" not in third.printed()
    assert fetch(f"{third.url}/mysql_query/1").body == answer.body
    assert third.end(signal.SIGTERM) == 0


def test_each_program_has_an_address_for_its_metrics() -> None:
    given = {"NOWAIT_METRICS": "[::1]:9101"}
    assert [metrics_of(given, number) for number in (1, 2)] == [
        {"NOWAIT_METRICS": "[::1]:9102"},
        {"NOWAIT_METRICS": "[::1]:9103"},
    ]
    assert metrics_of({}, 1) == {}


def test_two_stacks_run_side_by_side(tmp_path: Path, runs: list[Run]) -> None:
    one, other = begin(runs, tmp_path / "one"), begin(runs, tmp_path / "other")
    one.wait_ready()
    other.wait_ready()
    assert fetch(f"{one.url}/mysql_query/2").body == fetch(f"{other.url}/mysql_query/2").body
    assert one.end(signal.SIGTERM) == 0
    assert fetch(f"{other.url}/mysql_query/2").status == 200
    assert other.end(signal.SIGTERM) == 0


def test_given_services_are_used_and_nothing_private_is_started(
    services: Services, folder: Path, runs: list[Run]
) -> None:
    run = begin(runs, folder, **services.environment())
    run.wait_ready()
    assert fetch(f"{run.url}/mysql_query/1").status == 200
    assert not {
        "beam.smp",
        "epmd",
        "mariadbd",
    } & set(run.processes())
    assert "private" not in run.printed()
    assert {path.name for path in folder.iterdir()} == {"lock"}
    assert run.end(signal.SIGTERM) == 0


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Database]:
    """An empty database that somebody else runs, with an account that may only read it."""
    programs.require("mariadb")
    database = Database(tmp_path / "given")
    try:
        database.start()
        database.wait_ready()
        client(database, "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'r'")
        client(database, "GRANT SELECT ON nowait.* TO reader@'127.0.0.1'")
        yield database
    finally:
        database.stop()


def client(database: Database, statement: str) -> list[str]:
    """The lines that a statement of the database's root returns."""
    command = [programs.path("mariadb"), *database.root, "--skip-column-names", "nowait", "-e", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def load(url: str) -> subprocess.CompletedProcess[str]:
    """`make sample`"""
    command = [sys.executable, "-m", "deploy.local.sample"]
    environment = {**os.environ, "NOWAIT_DATABASE_URL": url}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_a_given_database_is_written_to_when_that_is_asked_for_alone(
    services: Services, given: Database, folder: Path, runs: list[Run]
) -> None:
    client(given, "CREATE TABLE users_unfinished (mine INT)")
    reader = f"mysql://reader:r@127.0.0.1:{given.port}/nowait"
    for url in (given.url, reader):
        run = begin(runs, folder, NOWAIT_BROKER_URL=services.broker_url, NOWAIT_DATABASE_URL=url)
        run.wait_ready()
        assert "the database has no table users: `make sample` loads one" in run.printed()
        assert "the table of jobs is missing: run `python -m nowait.jobs`" in run.printed()
        assert run.end(signal.SIGTERM) == 0
    assert client(given, "SHOW TABLES") == ["users_unfinished"]

    done = load(reader)
    assert done.returncode == 1
    assert f"the database 127.0.0.1:{given.port} cannot be used" in done.stderr
    assert "denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert client(given, "SHOW COLUMNS FROM users_unfinished")[0].startswith("mine")

    client(given, "DROP TABLE users_unfinished")
    done = load(given.url)
    assert (done.returncode, done.stdout) == (0, "sample data: loaded into the new table users\n")
    done = load(given.url)
    assert (done.returncode, done.stdout) == (0, "sample data: the table users is there already, nothing was changed\n")

    migrate(given.url)
    run = begin(runs, folder, NOWAIT_BROKER_URL=services.broker_url, NOWAIT_DATABASE_URL=reader)
    run.wait_ready()
    assert "make sample" not in run.printed()
    assert "python -m nowait.jobs" not in run.printed()
    assert len(fetch(f"{run.url}/mysql_query/1").json()["rows"]) == 10
    assert run.end(signal.SIGTERM) == 0


def test_a_database_that_cannot_be_asked_is_named_without_its_password() -> None:
    done = load(f"mysql://nobody:secret@127.0.0.1:{free_port()}/nowait")
    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr
    assert "secret" not in done.stderr
    done = load("mysql://nobody:secret@/")
    assert done.returncode == 2
    assert "NOWAIT_DATABASE_URL" in done.stderr and "secret" not in done.stderr


def test_a_part_that_ends_ends_the_rest_and_says_which(folder: Path, services: Services, runs: list[Run]) -> None:
    run = begin(runs, folder, **services.environment(), NOWAIT_TIMEOUT="never")
    assert run.popen.wait(60) == 1
    assert "NOWAIT_TIMEOUT='never' is not allowed" in run.printed()
    assert "server ended with status 2" in run.printed()
    assert "Traceback" not in run.printed()
    assert run.processes() == []
