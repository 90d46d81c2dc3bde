"""deploy/database/setup.sh, what tests/faults/test_accounts.py does not see of it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from deploy.local.database import Database
from nowait.jobs.migrations import migrate
from tests import programs
from tests.conftest import ROOT, Start
from tests.conftest import connect as connected
from tests.conftest import printed
from tests.faults.deployment import stand_in

PASSWORDS = {f"{account}_DATABASE_PASSWORD": "change-me" for account in ("SERVER", "WORKER", "SCHEDULER")}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database, whose client is the root's."""
    programs.require("mariadb")
    database = Database(tmp_path / "database")
    try:
        database.start()
        database.wait_ready()
        stand_in(tmp_path / "mariadb", programs.path("mariadb"), *database.root)
        yield database
    finally:
        database.stop()


def setup(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", str(ROOT / "deploy/database/setup.sh")], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PATH": path, "DATABASE": "nowait", **environment},
    )  # fmt: skip


def connect(database: Database, user: str, password: str, name: str = "nowait") -> None:
    pymysql.connect(host="127.0.0.1", port=database.port, user=user, password=password, database=name).close()


def test_accounts_are_made_behind_the_migration_and_their_passwords_can_be_changed(
    database: Database, tmp_path: Path
) -> None:
    done = setup(tmp_path, **PASSWORDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the database nowait has no table deliveries: run python -m nowait.jobs first\n"
    migrate(database.url)
    for tls, password in (("1", "change-me"), ("0", "changed")):
        done = setup(tmp_path, **dict.fromkeys(PASSWORDS, password), DATABASE_TLS=tls)
        assert (done.returncode, done.stderr) == (0, "")
    for user in ("server", "worker", "scheduler"):
        connect(database, user, "changed")


def test_workers_read_the_database_of_that_name_and_none_of_a_similar_one(database: Database, tmp_path: Path) -> None:
    root = [programs.path("mariadb"), *database.root, "-e"]
    for name in ("shop_eu", "shopXeu"):
        subprocess.run([*root, f"CREATE DATABASE {name}; GRANT ALL ON {name}.* TO nowait@'127.0.0.1'"], check=True)
    migrate(database.url.removesuffix("nowait") + "shop_eu")
    assert setup(tmp_path, **PASSWORDS, DATABASE="shop_eu", DATABASE_TLS="0").returncode == 0
    connect(database, "worker", "change-me", "shop_eu")
    with pytest.raises(pymysql.err.OperationalError, match="denied"):
        connect(database, "worker", "change-me", "shopXeu")


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_password_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    done = setup(tmp_path, **{**PASSWORDS, name: ""})
    assert done.returncode != 0 and name in done.stderr
    done = setup(tmp_path, **{**PASSWORDS, name: "a'b"})
    assert (done.returncode, done.stderr) == (2, "a password may have no ' and no \\\n")


def test_the_account_of_the_scheduler_is_enough_for_it_and_for_nothing_else(
    database: Database, tmp_path: Path, start: Start
) -> None:
    migrate(database.url)
    assert setup(tmp_path, **PASSWORDS, DATABASE_TLS="0").returncode == 0
    url = f"mysql://scheduler:change-me@127.0.0.1:{database.port}/nowait"
    with connected(database.url) as owner, owner.cursor() as cursor:
        cursor.execute(
            "INSERT INTO schedules (name, job, queue, parameters, retry, every, enabled, overlap, catch_up, due,"
            " last_job, created, changed) VALUES ('s', 'j', 'q', '{}', '{}', 1, 1, 'skip', 'latest', UTC_TIMESTAMP(6),"
            " 'another', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))"
        )
        beat = start("beat", *"celery --quiet -A tasks beat".split(), database_url=url)
        beat.wait_until(lambda: bool(cursor.execute("SELECT id FROM jobs WHERE schedule = 's'")), 60)
        assert printed(beat) == ""
        beat.kill()
    with connected(url) as scheduler, scheduler.cursor() as cursor:
        for statement in (
            "DELETE FROM jobs",
            "UPDATE jobs SET state = 'failed'",
            "SELECT parameters FROM jobs",
            "SELECT result FROM jobs",
            "INSERT INTO jobs (id, result) VALUES ('x', '1')",
            "DELETE FROM schedules",
            "UPDATE schedules SET parameters = '1'",
            "UPDATE schedules SET enabled = 0",
            "INSERT INTO schedules (name) VALUES ('t')",
        ):
            with pytest.raises(pymysql.err.OperationalError, match="denied"):
                cursor.execute(statement)
