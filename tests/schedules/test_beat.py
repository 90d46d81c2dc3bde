"""Celery's beat with our scheduler, as processes."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymysql.cursors import DictCursor

from deploy.local.database import Database
from deploy.local.process import Process
from nowait.jobs.schema import MIGRATE
from tests.conftest import Start, connect, printed

BEAT = "celery --quiet -A tasks beat -l INFO".split()
NOWHERE = "amqp://127.0.0.1:1//"  # no broker is there
NOW = "UTC_TIMESTAMP(6)"


class Schedules:
    """The tables, behind the back of schedulers."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url)

    def run(self, statement: str, *values: Any) -> Any:
        """Run a statement, committed at once. Returns its rows as dictionaries."""
        with self._connection.cursor(DictCursor) as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall()

    def add(self, name: str, every: float = 1.0, ago: float = 0.0, **values: Any) -> None:
        """A schedule whose first tick is, or was, so many seconds ago."""
        row = {
            "owner": "me", "name": name, "job": "count", "queue": "queries.night", "parameters": '{"n": 1}',
            "retry": '{"max_retries": 2, "backoff": 1, "backoff_max": 600}', "every": every, "enabled": 1,
            "webhook": "https://example.com/", "overlap": "allow", "catch_up": "latest", **values,
        }  # fmt: skip
        names, places = ", ".join(row), ", ".join(["%s"] * len(row))
        self.run(
            f"INSERT INTO schedules ({names}, created, changed, due) VALUES ({places}, {NOW},"
            f" TIMESTAMPADD(MICROSECOND, %s, {NOW}), TIMESTAMPADD(MICROSECOND, %s, {NOW}))",
            *row.values(), -round(ago * 1e6) - round(every * 1e6), -round(ago * 1e6),
        )  # fmt: skip

    def jobs(self, name: str) -> list[dict[str, Any]]:
        """The jobs of a schedule, by their ticks."""
        return list(self.run("SELECT * FROM jobs WHERE schedule = %s ORDER BY tick", name))

    def schedule(self, name: str) -> dict[str, Any]:
        (row,) = self.run("SELECT * FROM schedules WHERE name = %s", name)
        return dict(row)

    def until(self, reached: Callable[[], bool]) -> None:
        """Return once that is so."""
        deadline = time.monotonic() + 60
        while not reached():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def schedules(database_url: str) -> Iterator[Schedules]:
    tables = Schedules(database_url)
    yield tables
    tables.close()


@pytest.fixture
def beat(start: Start, database_url: str) -> Iterator[Callable[..., Process]]:
    """Starts schedulers, and ends them behind the test."""
    started: list[Process] = []

    def begin(url: str = database_url) -> Process:
        started.append(start("beat", *BEAT, broker_url=NOWHERE, database_url=url))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


def test_a_tick_becomes_a_job_that_the_relay_finds(schedules: Schedules, beat: Callable[..., Process]) -> None:
    schedules.add("s", every=3600, ago=1)
    due = schedules.schedule("s")["due"]
    beat()
    schedules.until(lambda: bool(schedules.jobs("s")))
    (job,) = schedules.jobs("s")
    assert (job["owner"], job["name"], job["queue"], job["tick"]) == ("me", "count", "queries.night", due)
    assert (json.loads(job["parameters"]), job["webhook"]) == ({"n": 1}, "https://example.com/")
    assert json.loads(job["retry"]) == {"max_retries": 2, "backoff": 1, "backoff_max": 600}
    assert (job["state"], job["attempt"], job["eta"], job["idempotency_key"]) == ("queued", 0, None, None)
    assert job["due"] == job["created"]
    row = schedules.schedule("s")
    assert (row["due"], row["last_tick"]) == (due + timedelta(hours=1), due)
    assert (row["last_job"], row["version"]) == (job["id"], 0)


def test_two_make_one_job_of_each_tick(schedules: Schedules, beat: Callable[..., Process]) -> None:
    for number in range(50):
        schedules.add(f"s{number}", every=1 + number % 3, ago=-4 - number / 50)
    beat(), beat()
    enough = "SELECT schedule FROM jobs GROUP BY schedule HAVING COUNT(*) >= 4"
    schedules.until(lambda: len(schedules.run(enough)) == 50)
    for number in range(50):
        ticks = [job["tick"] for job in schedules.jobs(f"s{number}")]
        every = timedelta(seconds=1 + number % 3)
        assert ticks == [ticks[0] + n * every for n in range(len(ticks))]


def test_a_cron_line_has_its_ticks_in_its_zone(schedules: Schedules, beat: Callable[..., Process]) -> None:
    schedules.run(
        "INSERT INTO schedules (owner, name, job, queue, parameters, retry, cron, timezone, enabled, overlap, catch_up,"
        f" created, changed, due) VALUES ('', 's', 'j', 'q', '{{}}', '{{}}', '30 2 * * *', 'Asia/Kolkata', 1, 'allow',"
        f" 'latest', {NOW}, '2026-01-01', '2026-01-01 21:00:00')"
    )
    beat()
    schedules.until(lambda: bool(schedules.jobs("s")))
    (job,) = schedules.jobs("s")
    assert job["tick"].time() == datetime(2026, 1, 1, 21).time()
    assert schedules.schedule("s")["due"] == job["tick"] + timedelta(days=1)


def test_where_no_two_may_overlap_a_tick_waits_for_no_job(schedules: Schedules, beat: Callable[..., Process]) -> None:
    schedules.add("s", overlap="skip")
    schedules.add("t")
    beat()
    schedules.until(lambda: len(schedules.jobs("t")) >= 3)
    (job,) = schedules.jobs("s")
    assert schedules.schedule("s")["last_tick"] > job["tick"]
    schedules.run("UPDATE jobs SET state = 'failed' WHERE schedule = 's'")
    schedules.until(lambda: len(schedules.jobs("s")) == 2)


def test_ticks_that_were_missed(schedules: Schedules, beat: Callable[..., Process]) -> None:
    schedules.add("latest", every=600, ago=6000.5)
    schedules.add("none", every=600, ago=6030, catch_up="none")
    first = schedules.schedule("latest")["due"], schedules.schedule("none")["due"]
    beat()
    schedules.until(lambda: schedules.schedule("none")["last_tick"] is not None)
    (job,) = schedules.jobs("latest")
    assert job["tick"] == first[0] + timedelta(seconds=6000)
    assert schedules.jobs("none") == []
    assert schedules.schedule("none")["due"] == first[1] + timedelta(seconds=6600)


def test_a_schedule_that_cannot_be_read_is_one_line_and_stands_in_no_others_way(
    schedules: Schedules, beat: Callable[..., Process]
) -> None:
    schedules.add("bad", timezone="Nowhere", ago=10)
    schedules.add("good")
    due = schedules.schedule("bad")["due"]
    process = beat()
    schedules.until(lambda: len(schedules.jobs("good")) >= 2)
    # Another host may know the zone.
    assert schedules.schedule("bad")["due"] == due and schedules.jobs("bad") == []
    line = "schedule bad is left to other schedulers until it is edited: timezone: a name"
    assert printed(process).count(line) == 1
    schedules.run("UPDATE schedules SET timezone = 'UTC', version = version + 1 WHERE name = 'bad'")
    schedules.until(lambda: bool(schedules.jobs("bad")))
    assert printed(process).count(line) == 1


def test_a_tick_that_has_a_job_gets_no_other(schedules: Schedules, beat: Callable[..., Process]) -> None:
    schedules.add("s", every=3600, ago=1)
    due = schedules.schedule("s")["due"]
    columns = "id, owner, name, queue, parameters, retry, state, due, created, schedule, tick"
    schedules.run(
        f"INSERT INTO jobs ({columns}) VALUES ('x', 'me', 'n', 'q', '{{}}', '{{}}', 'queued', {NOW}, {NOW}, 's', %s)",
        due,
    )
    schedules.add("t", every=3600, ago=1)
    beat()
    schedules.until(lambda: bool(schedules.jobs("t")))
    assert [job["id"] for job in schedules.jobs("s")] == ["x"]
    row = schedules.schedule("s")
    assert (row["due"], row["last_job"]) == (due + timedelta(hours=1), "x")


def test_a_job_that_the_database_refuses_is_an_error_and_its_tick_remains(
    schedules: Schedules, beat: Callable[..., Process]
) -> None:
    schedules.add("s", every=3600, ago=1)
    due = schedules.schedule("s")["due"]
    schedules.run("ALTER TABLE jobs ADD CONSTRAINT never CHECK (schedule <> 's')")
    try:
        process = beat()
        process.wait_until(lambda: "of the database" in printed(process), 60)
        row = schedules.schedule("s")
        assert (row["due"], row["last_job"]) == (due, None)
    finally:
        schedules.run("ALTER TABLE jobs DROP CONSTRAINT never")
    schedules.until(lambda: bool(schedules.jobs("s")))
    (job,) = schedules.jobs("s")
    assert (job["tick"], schedules.schedule("s")["last_job"]) == (due, job["id"])


def test_it_waits_for_a_schema_in_one_line(schedules: Schedules, beat: Callable[..., Process]) -> None:
    schedules.run("UPDATE nowait_migrations SET version_num = '0001'")
    try:
        process = beat()
        process.wait_until(lambda: MIGRATE in printed(process), 60)
    finally:
        schedules.run("UPDATE nowait_migrations SET version_num = '0005'")
    schedules.add("s")
    schedules.until(lambda: bool(schedules.jobs("s")))
    process.wait_until(lambda: "looked after again" in printed(process), 60)
    said = [line for line in printed(process).splitlines() if "looked after" in line]
    assert len(said) == 2
    assert f"no schedule is looked after: the schema of jobs is 0001, 0005 is needed: {MIGRATE}" in said[0]
    assert said[1].endswith("schedules are looked after again")


def test_it_outlives_a_database_that_is_killed(
    schedules: Schedules, beat: Callable[..., Process], private_database: Database, database_url: str
) -> None:
    schedules.add("s", ago=-3)
    process = beat()
    schedules.until(lambda: bool(schedules.jobs("s")))
    private_database.process.kill()
    process.wait_until(lambda: "no schedule is looked after" in printed(process), 60)
    private_database.start()
    private_database.wait_ready()
    again = Schedules(database_url)
    before = len(again.jobs("s"))
    again.until(lambda: len(again.jobs("s")) > before)
    again.close()
    process.wait_until(lambda: "looked after again" in printed(process), 60)
    lines = [line for line in printed(process).splitlines() if "looked after" in line]
    assert len(lines) == 2 and "of the database" in lines[0]


@pytest.mark.parametrize("frozen", [False, True])
def test_sigterm_ends_it_at_once(
    schedules: Schedules, beat: Callable[..., Process], private_database: Database, frozen: bool
) -> None:
    schedules.add("s", ago=-3)
    process = beat()
    schedules.until(lambda: bool(schedules.jobs("s")))
    if frozen:
        private_database.process.signal(signal.SIGSTOP)
        time.sleep(1.5)  # it waits for an answer by now, as it looks each second
    try:
        assert process.stop(20.0) == 0  # not killed
    finally:
        private_database.process.signal(signal.SIGCONT)


def test_it_writes_no_file(
    schedules: Schedules, database_url: str, tmp_path: Path, start: Start
) -> None:
    schedules.add("s")
    folder = tmp_path / "empty"
    folder.mkdir()
    process = start(
        "beat", "celery", "--workdir", str(folder), *BEAT[1:], broker_url=NOWHERE, database_url=database_url
    )
    schedules.until(lambda: bool(schedules.jobs("s")))
    assert process.stop() == 0
    assert list(folder.iterdir()) == []
