"""Durable jobs beside other ways to have a job done later, and what they cost when they wait, are idle, or are many."""

import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from sqlalchemy.dialects import mysql

from nowait.jobs import protocol
from tests import programs
from tests.bench.job_sides import PEERS, Side, cursor, query, start_ours
from tests.bench.peer import CONNECTIONS, Missing
from tests.bench.ratio import Ratio, alternate, turn
from tests.bench.results import Results, Step
from tests.bench.site import Site, cpu
from tests.bench.tools import LoadError, good, wrk

PARTS = ("server", "worker", "broker", "database")
_ACCEPTED = '~"id"'
_POLL = 0.1  # seconds between two counts of what is done
_LONGEST = 120.0  # seconds until the last job of a round is done
_MILLION = 1_000_000
_BATCH = 100_000  # rows of one INSERT


class Jobs:
    """A peer and our own side: both started, measured in turn, and stopped before the next pair.

    Args:
        site: where they run.
        name: the peer's.
        quick: fewer rounds, and shorter ones.
    """

    def __init__(self, site: Site, name: str, quick: bool) -> None:
        self._site = site
        self._name = name
        self._quick = quick
        self._seconds = 1 if quick else 3
        self._sides: tuple[Side, Side] | None = None

    def steps(self) -> list[Step]:
        """All of it."""
        found = [Step(f"jobs, {self._name}: start", 10.0, self._start)]
        for number in range(2 if self._quick else 5):
            found.append(Step(f"jobs, {self._name}: round {number}", 5.0 * self._seconds, partial(self._round, number)))
        return [*found, Step(f"jobs, {self._name}: stop", 1.0, lambda _: self._site.clear())]

    def _start(self, results: Results) -> None:
        try:
            flush_at_commit(self._site)
            self._sides = start_ours(self._site), PEERS[self._name].start(self._site)
            for side in self._sides:
                self._measure(side, 1)
        except (Missing, LoadError) as error:
            self._sides = None
            results.failed[f"jobs, {self._name}"] = str(error)

    def _round(self, number: int, results: Results) -> None:
        if self._sides is not None:
            ours, theirs = (partial(self._measure, side, self._seconds) for side in self._sides)
            results.jobs.setdefault(self._name, []).append(turn(number, ours, theirs))

    def _measure(self, side: Side, seconds: int) -> dict[str, Any]:
        """See Closed; `done`, jobs per second until the last had its result; `cpu`, microseconds a job, by part."""
        parts = dict(zip(PARTS, ([side.server], side.workers, self._site.broker(), self._site.database())))
        done = side.done()
        before = {part: cpu(*processes) for part, processes in parts.items()}
        began = time.monotonic()
        measured = good(wrk(side.url, connections=CONNECTIONS, seconds=seconds, expected=_ACCEPTED, body=side.body))
        await_done(side, done + measured.requests)
        took = time.monotonic() - began
        used = {part: cpu(*processes) - before[part] for part, processes in parts.items()}
        each = {part: seconds_ / measured.requests * 1e6 for part, seconds_ in used.items()}
        return {**asdict(measured), "done": measured.requests / took, "cpu": each}


def await_done(side: Side, jobs: int) -> None:
    """Wait until so many have a result. Raises LoadError."""
    deadline = time.monotonic() + _LONGEST
    while (done := side.done()) < jobs:
        if time.monotonic() > deadline:
            raise LoadError(f"{jobs - done} of {jobs} jobs were not done in {_LONGEST:g} s")
        time.sleep(_POLL)


def flush_at_commit(site: Site) -> None:
    """Have a private database keep what it has committed, as a real one does."""
    database = site.services.database
    if database is not None:
        statement = "SET GLOBAL innodb_flush_log_at_trx_commit = 1"
        subprocess.run([programs.path("mariadb"), *database.root, "-e", statement], check=True)


def jobs_wait(site: Site, quick: bool) -> list[Ratio]:
    """A job of 10 ms that is waited for, with `Prefer: wait=5`: half of the answers, beside the job itself."""
    flush_at_commit(site)
    side = start_ours(site)
    measure = partial(
        wrk, side.url, connections=1, seconds=1 if quick else 3, expected='~"state":"succeeded"',
        body='{"name": "nap"}', headers=["Prefer: wait=5"],
    )  # fmt: skip
    measure()
    rounds = [(good(measure()).p50, 10.0) for _ in range(2 if quick else 5)]
    return [Ratio("a job that is waited for, p50", ("the answer", "the job"), "ms", rounds, ("at most", 3.0))]


def jobs_idle(site: Site, quick: bool) -> list[Ratio]:
    """CPU of a server that looks after jobs, of which there are none, beside a core."""
    side = start_ours(site)
    rounds = []
    for _ in range(1 if quick else 3):
        began, before = time.monotonic(), cpu(side.server)
        time.sleep(2 if quick else 10)
        rounds.append((cpu(side.server) - before, time.monotonic() - began))
    return [Ratio("CPU of an idle server", ("the server", "a core"), "s", rounds, ("at most", 0.01))]


def jobs_million(site: Site, quick: bool) -> list[Ratio]:
    """Accepting a job, and the relay's look, with a million jobs that have ended, beside an empty table."""
    if site.services.database is None:
        raise LoadError("a million jobs are made in a private database alone")
    flush_at_commit(site)
    side = start_ours(site)
    query(site, "CREATE TABLE jobs_empty LIKE jobs")
    _fill(site, _BATCH if quick else _MILLION)
    rounds = alternate(2 if quick else 5, partial(_many, site, side), partial(_few, site, side))
    sides = ("a million rows", "none")
    return [
        Ratio(what, sides, "ms", [(many[at], few[at]) for many, few in rounds], ("at most", 1.5))
        for at, what in enumerate(("POST /jobs of one client, p50", "the relay's look, median"))
    ]


def _fill(site: Site, rows: int) -> None:
    """Jobs that have ended, of which none is deleted meanwhile."""
    columns = "id, owner, name, queue, parameters, retry, state, due, attempt, version, result, created, finished"
    # Ids in the order of time, as those of real jobs.
    for first in range(1, rows + 1, _BATCH):
        query(
            site,
            f"INSERT INTO jobs ({columns}) SELECT CONCAT('01900000-0000-7000-8000-',"
            " LOWER(LPAD(HEX(seq), 12, '0'))), '', 'nothing', 'queries.jobs', '{}', '{}', 'succeeded',"
            " UTC_TIMESTAMP(6) + INTERVAL 86400 + seq % 500000 SECOND, 1, 2, '1', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)"
            f" FROM seq_{first}_to_{first + _BATCH - 1}",
        )


def _few(site: Site, side: Side) -> tuple[float, float]:
    query(site, "RENAME TABLE jobs TO jobs_full, jobs_empty TO jobs")
    try:
        return _many(site, side)
    finally:
        query(site, "RENAME TABLE jobs TO jobs_empty, jobs_full TO jobs")


def _many(site: Site, side: Side) -> tuple[float, float]:
    measured = good(wrk(side.url, connections=1, seconds=2, expected=_ACCEPTED, body=side.body))
    deadline = time.monotonic() + _LONGEST
    while query(site, "SELECT id FROM jobs WHERE state IN ('queued', 'running') LIMIT 1"):
        if time.monotonic() > deadline:
            raise LoadError(f"there are jobs that were not done in {_LONGEST:g} s")
        time.sleep(_POLL)
    return measured.p50, statistics.median(_looks(site))


def _looks(site: Site) -> Sequence[float]:
    """Milliseconds of some of the relay's looks at what is due."""
    compiled = protocol.due(100).compile(dialect=mysql.dialect(), compile_kwargs={"literal_binds": True})
    times = []
    with cursor(site) as opened:
        for _ in range(100):
            began = time.perf_counter()
            opened.execute(str(compiled))
            times.append((time.perf_counter() - began) * 1000)
    return times


MEASUREMENTS = (jobs_wait, jobs_idle, jobs_million)
