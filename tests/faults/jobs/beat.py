"""Celery's beat with the scheduler of the fault tests: it ends itself at failpoints, and is started again.

NOWAIT_TEST_CLOCK are seconds by which the clock of its host is wrong; NOWAIT_TEST_PAUSE are those after which one that
has stopped itself goes on.
"""

import datetime
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

WRONG = float(os.environ.get("NOWAIT_TEST_CLOCK", "0"))


def _wrong_clocks() -> None:
    """Have all that is imported from now on see another time."""
    seconds: Callable[[], float] = time.time
    nanoseconds: Callable[[], int] = time.time_ns

    class Wrong(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Wrong":
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> "Wrong":
            return cls.now(datetime.timezone.utc).replace(tzinfo=None)

    setattr(time, "time", lambda: seconds() + WRONG)
    setattr(time, "time_ns", lambda: nanoseconds() + int(WRONG * 1e9))
    setattr(datetime, "datetime", Wrong)


if WRONG:
    _wrong_clocks()

from celery.bin.celery import main as celery  # noqa: E402
from sqlalchemy import TextClause  # noqa: E402

import tasks.jobs.worker  # noqa: E402, F401  what beat imports, before it forks
from nowait.schedules import protocol  # noqa: E402
from nowait.schedules.decisions import DueSchedule, Plan  # noqa: E402
from nowait.schedules.protocol import Move  # noqa: E402
from tasks import scheduler  # noqa: E402
from tests.faults.jobs import failpoints  # noqa: E402
from tests.faults.jobs.failpoints import Failpoints  # noqa: E402
from tests.faults.jobs.respawn import respawn  # noqa: E402

_LOCKED, _INSERTED, _MOVED, _COMMITTED = failpoints.BEAT

points = Failpoints.of_environment()


class FailingPlan(Plan):
    @classmethod
    def of(cls, schedules: Iterable[DueSchedule], unfinished: Collection[str], now: datetime.datetime) -> Plan:
        points.hit(_LOCKED)
        points.freeze(failpoints.FROZEN_BEAT)
        return super().of(schedules, unfinished, now)


def main() -> int:
    """Run it until it ends by itself."""
    move, one_pass, tick = protocol.move, scheduler._pass, scheduler.DatabaseScheduler.tick
    moved = False

    def failing_move(moves: Iterable[Move]) -> tuple[TextClause, dict[str, Any]]:
        points.hit(_INSERTED)
        return move(moves)

    def failing_pass(*arguments: Any) -> tuple[Plan, float]:
        nonlocal moved
        plan, pause = one_pass(*arguments)
        moved = bool(plan.moves)
        if moved:
            points.hit(_MOVED)
        return plan, pause

    def failing_tick(self: Any) -> float:
        nonlocal moved
        moved = False
        pause = tick(self)
        if moved:
            points.hit(_COMMITTED)
        return pause

    setattr(scheduler, "Plan", FailingPlan)
    setattr(protocol, "move", failing_move)
    setattr(scheduler, "_pass", failing_pass)
    setattr(scheduler.DatabaseScheduler, "tick", failing_tick)
    return respawn(_celery, float(os.environ.get("NOWAIT_TEST_PAUSE", "1")))


def _celery() -> int:
    celery()  # it exits
    return 0


if __name__ == "__main__":
    sys.exit(main())
