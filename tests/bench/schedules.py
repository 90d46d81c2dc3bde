"""Very many ticks and two schedulers: how late their jobs are, and what that costs."""

import time
from datetime import timedelta

from deploy.local.process import Process
from nowait.jobs import migrations
from tests.bench.job_sides import cursor, query
from tests.bench.jobs import flush_at_commit
from tests.bench.ratio import Ratio
from tests.bench.site import Site, cpu
from tests.bench.tools import LoadError

_SCHEDULES = 1000
_START = 30.0  # seconds until all schedules have had a tick
_IN_TIME = 2.0  # seconds


def schedules(site: Site, quick: bool) -> list[Ratio]:
    """1,000 schedules each second, spread over it or all at once: lateness of the jobs, CPU beside a core."""
    if site.services.database is not None:
        migrations.migrate(site.services.database_url)
    flush_at_commit(site)
    beats = [site.start("beat", *"celery --quiet -A tasks beat".split()) for _ in range(2)]
    measured = []
    try:
        for apart, when in ((1000, ""), (0, ", all of one moment")):
            _fill(site, apart)
            _await_all(site)
            rounds = [_round(site, beats, 5 if quick else 20) for _ in range(1 if quick else 3)]
            lateness, share = zip(*rounds)
            measured += [
                Ratio(f"lateness of a tick, p99{when}", ("the tick", "the limit"), "s", lateness, ("at most", 1.0)),
                Ratio(f"CPU of 1,000 ticks a second{when}", ("two schedulers", "a core"), "s", share, ("at most", 0.2)),
            ]
    finally:
        query(site, "DELETE FROM schedules")
        query(site, "DELETE FROM jobs")
    return measured


def _fill(site: Site, apart: int) -> None:
    """Schedules each second, whose ticks are so many microseconds apart."""
    columns = "name, job, queue, parameters, retry, every, enabled, overlap, catch_up, due, created, changed"
    with cursor(site) as opened:
        opened.execute("DELETE FROM schedules")
        opened.execute("SELECT UTC_TIMESTAMP(6)")
        (now,) = opened.fetchone() or ()
        changed = [now + timedelta(microseconds=number * apart) for number in range(_SCHEDULES)]
        opened.executemany(
            f"INSERT INTO schedules ({columns}) VALUES (%s, 'nothing', 'queries.jobs', '{{}}', '{{}}', 1, 1, 'allow',"
            " 'latest', %s, UTC_TIMESTAMP(6), %s)",
            [(f"s{number}", at + timedelta(seconds=1), at) for number, at in enumerate(changed)],
        )


def _await_all(site: Site) -> None:
    deadline = time.monotonic() + _START
    while query(site, "SELECT 1 FROM schedules WHERE last_tick IS NULL LIMIT 1"):
        if time.monotonic() > deadline:
            raise LoadError(f"there are schedules without a tick after {_START:g} s")
        time.sleep(0.2)
    time.sleep(2.0)  # those that had waited are done with


def _round(site: Site, beats: list[Process], seconds: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Lateness and its limit; seconds of CPU, and of a core."""
    query(site, "DELETE FROM jobs")
    began, before = time.monotonic(), cpu(*beats)
    time.sleep(seconds)
    used = cpu(*beats) - before, time.monotonic() - began
    late = sorted(
        float(row[0]) for row in query(site, "SELECT TIMESTAMPDIFF(MICROSECOND, tick, created) / 1e6 FROM jobs")
    )
    # Of each schedule, the ticks between its first and its last are a second apart.
    gaps = "SELECT TIMESTAMPDIFF(SECOND, MIN(tick), MAX(tick)) + 1 - COUNT(*) FROM jobs GROUP BY schedule"
    missing = sum(int(row[0]) for row in query(site, gaps))
    if missing or len(late) < 0.9 * _SCHEDULES * seconds:
        raise LoadError(f"{len(late)} ticks in {seconds:g} s, and {missing} are missing between them")
    return (late[int(0.99 * len(late))], _IN_TIME), used


MEASUREMENTS = (schedules,)
