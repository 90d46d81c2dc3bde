"""The stack that is soaked: of each part, one that lives through all of it, and one that is killed."""

import asyncio
import json
import math
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pymysql

from deploy.local.database import Database
from deploy.local.process import Process, listens
from nowait.database_url import DatabaseUrl
from tests.conftest import Start, celery_worker
from tests.faults.databases import kill_connections
from tests.faults.jobs.stack import Stack
from tests.faults.jobs.ticks import Outage, TickJournal
from tests.http import fetch

KEPT, KILLED = 0, 1  # servers and workers, by their numbers
EVERY = 5.0  # seconds between two jobs of the schedule
SCHEDULE = "soak"
FILLING = "filling"  # a topic that nobody follows
_WORKERS = ("-P threads -c 8", "-P prefork -c 2")
_FUNCTIONS = "-I tests.faults.jobs.functions"
_SLOW, _GO_ON = 0.2, 0.05  # seconds that a slow database is stopped, and goes on
_ENDED = 60.0  # seconds that a worker has to end
_QUERIES = {
    "note": (
        "INSERT INTO notes (id) VALUES (:id) RETURNING id, SLEEP(0.005) AS slept",
        "repeatable = false\n[note.parameters.id]\ntype = 'string'\nmaxLength = 64",
    ),
    "look": (
        "SELECT :id AS id, SLEEP(0.01) AS slept FROM users LIMIT 1",
        "[look.parameters.id]\ntype = 'string'\nmaxLength = 64",
    ),
}


class SoakStack(Stack):
    """Two servers, of which one reaches the broker through a proxy, two workers, and a scheduler with one schedule.

    Args:
        folder: for all that is kept.
        start: starts the programs.

    Attributes:
        ticks: notes the ticks of the schedule.
        outages: of the database.
        problems: what did not go as it should, in words.
    """

    def __init__(self, folder: Path, start: Start) -> None:
        queries = folder / "queries"
        queries.mkdir()
        for name, (statement, settings) in _QUERIES.items():
            (queries / f"{name}.sql").write_text(statement)
            (queries / f"{name}.toml").write_text(f"[{name}]\n{settings}\n")
        super().__init__(
            folder, start, settings={"queries": str(queries), "topics": f"news,{FILLING}", "log_level": "warning"}
        )
        self.ticks = TickJournal(self.database.url)
        self.outages: list[Outage] = []
        self.problems: list[str] = []
        self.beats: list[Process] = []
        self._down: dict[str, float] = {}  # until when, by the server's URL

    @property
    def ports(self) -> list[int]:
        """Of the servers."""
        return self._ports

    async def begin(self, proxied: bool = True) -> None:
        """Start all of it; returns once it is ready."""
        await super().begin(proxied)
        self.beats.append(await self._apart(self._beat))
        ready = asyncio.get_running_loop().time() + 60
        while not await self._apart(self._is_ready):
            assert asyncio.get_running_loop().time() < ready, "the servers do not know the queries and jobs"
            await asyncio.sleep(0.2)
        job = {"name": "test.effect", "parameters": {"seconds": 0, "failing": 0}}
        answer = await self._apart(
            lambda: fetch(
                f"{self.urls[KEPT]}/schedules/{SCHEDULE}", "PUT", {"Content-Type": "application/json"},
                json.dumps({"job": job, "every": EVERY}).encode(),
            )
        )  # fmt: skip
        assert answer.status == 201, answer

    async def pause(self) -> None:
        """Have the schedule make no more jobs."""
        answer = await self._apart(lambda: fetch(f"{self.urls[KEPT]}/schedules/{SCHEDULE}/pause", "POST"))
        assert answer.status == 200, answer

    async def end(self) -> None:
        for beat in self.beats:
            beat.kill()
        await super().end()

    def running(self) -> dict[str, int]:
        """The ids of the processes, by their names."""
        return {
            **{f"server {number}": server.pid for number, server in enumerate(self.servers, 1)},
            **{f"worker {number}": worker.pid for number, worker in enumerate(self.workers, 1)},
            **{"scheduler": beat.pid for beat in self.beats},
        }

    def kept(self) -> dict[str, Process]:
        """The processes that no fault ends, by their names."""
        return {"server 1": self.servers[KEPT], "worker 1": self.workers[KEPT], "scheduler": self.beats[0]}

    def was_down(self, url: str, since: float) -> bool:
        """Has a server been killed, or not been there yet, since a moment, by time.monotonic()?"""
        return self._down.get(url, -math.inf) >= since

    async def restart_server(self, number: int) -> None:
        self._down[self.urls[number]] = math.inf
        try:
            await super().restart_server(number)
        finally:
            self._down[self.urls[number]] = time.monotonic()

    async def replace_worker(self, number: int) -> None:
        """SIGTERM, and a new one once it has ended."""
        status = await self._apart(self.workers[number].stop, _ENDED)
        if status != 0:
            self.problems.append(f"a worker that was to end did so with status {status}")
        self.workers[number] = await self._apart(self._worker, number)

    async def cut(self, seconds: float) -> None:
        """End the connections of the first server to the broker, and let it have none for so long."""
        assert self.proxy is not None
        self.proxy.hang_up(refuse=True)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.proxy.accept()

    async def restart_database(self) -> None:
        began = _now()
        await super().restart_database()
        self.outages.append(Outage(began, _now()))

    async def kill_connections(self) -> None:
        """End all that programs have to the database."""
        assert isinstance(self.database, Database)
        await self._apart(kill_connections, self.database)

    async def slow_database(self, seconds: float) -> None:
        """Have the database stopped for four fifths of the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.freeze(self.database.process, _SLOW)
            await asyncio.sleep(_GO_ON)

    async def runs(self) -> dict[str, int]:
        """How often each id was noted."""
        return dict(await self._apart(self._query, "SELECT id, COUNT(*) FROM notes GROUP BY id"))

    async def scheduled(self) -> list[str]:
        """The ids of all jobs of the schedule."""
        return [job for (job,) in await self._apart(self._query, f"SELECT id FROM jobs WHERE schedule = '{SCHEDULE}'")]

    def _query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        with pymysql.connect(**DatabaseUrl.parse(self.database.url).options()) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                found: Sequence[tuple[Any, ...]] = cursor.fetchall()
                return found

    def _begin_database(self) -> None:
        super()._begin_database()
        self.ticks.open()
        self._query("CREATE TABLE notes (number BIGINT PRIMARY KEY AUTO_INCREMENT, id VARCHAR(64), INDEX (id))")

    def _is_ready(self) -> bool:
        """Do the servers know the queries, and the jobs?"""
        for url in self.urls:
            # Refused as the parameters are not those of the job, once it is known.
            job = fetch(f"{url}/jobs", "POST", {"Content-Type": "application/json"}, b'{"name": "test.effect"}')
            if fetch(f"{url}/queries/look?id=ready").status != 200 or job.status in (404, 503):
                return False
        return True

    def _worker(self, number: int) -> Process:
        settings = {"broker_url": self.broker.url, "database_url": self.database.url, **self._settings}
        return celery_worker(self._start, "tasks", *f"{_WORKERS[number]} {_FUNCTIONS}".split(), **settings)

    def _server(self, number: int) -> Process:
        assert self.proxy is not None
        port = self._ports[number]
        broker = self.broker.url
        if number == KEPT:
            broker = broker.replace(f":{self.broker.port}/", f":{self.proxy.port}/")
        settings = {"broker_url": broker, "database_url": self.database.url, **self._settings}
        server = self._start("server", "server", port=port, **settings)
        server.wait_until(lambda: listens(port), 60.0)
        return server

    def _beat(self) -> Process:
        settings = {"broker_url": self.broker.url, "database_url": self.database.url, **self._settings}
        return self._start("beat", *"celery --quiet -A tasks beat -l WARNING".split(), **settings)


def _now() -> datetime:
    """As the database of this host has it."""
    return datetime.now(timezone.utc).replace(tzinfo=None)
