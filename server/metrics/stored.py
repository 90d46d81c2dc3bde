"""Metrics of what the database has: of jobs, schedules and deliveries."""

import math
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Row, Select, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nowait.jobs.table import State
from server.jobs.connections import Connections
from server.jobs.model import SchemaMissing, StoreUnavailable

_TIMEOUT = 5.0  # seconds that the database gets


class StoredMetrics:
    """Reads the database. What is not known is not a number.

    Nor is it whether the database answers, until it has done so once: there may be none, where nobody uses jobs.

    Args:
        registry: has the metrics; None where they are in files.
        statement: reads the figures, as one row.
    """

    def __init__(self, registry: CollectorRegistry | None, statement: Select[Any]) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            # Of several processes, one reads it for all.
            return Gauge(f"nowait_{name}", text, labels, registry=registry, multiprocess_mode="livemostrecent")

        self._up = gauge("database_up", "1 while the database of jobs answers, 0 while it does not any more")
        self._jobs = gauge("jobs", "Jobs, by state; at most 100,000 are counted", "state")
        self._oldest = gauge(
            "jobs_oldest_seconds", "Seconds that a job has waited to be begun, or runs; the longest", "state"
        )
        self._jobs_late = gauge("jobs_late_seconds", "Seconds by which servers are late to look after jobs")
        self._schedules = gauge("schedules", "Schedules that have a next tick")
        self._schedules_late = gauge("schedules_late_seconds", "Seconds by which schedulers are late")
        self._deliveries = gauge("webhooks_pending", "Webhooks that are to be delivered; at most 100,000 are counted")
        self._deliveries_late = gauge("webhooks_late_seconds", "Seconds by which servers are late to deliver webhooks")
        if registry is not None:
            # In files, there is no value before the first.
            self._up.set(math.nan)
        self._answered = False
        self._statement = statement

    async def read(self, connections: Connections) -> None:
        """Read all of it. Never raises because of the database.

        Args:
            connections: for this alone: that all others are in use does not mean that the database is away.
        """
        row: Row[Any] | None = None
        # By itself: that the figures take too long does not mean that either.
        up = await self._answers(connections)
        self._answered = self._answered or up
        if up:
            with suppress(StoreUnavailable):
                row = await connections.transaction(self._figures, _TIMEOUT)
        self._up.set(up if self._answered else math.nan)
        self._set(row)

    async def _answers(self, connections: Connections) -> bool:
        try:
            await connections.transaction(_ask, _TIMEOUT)
        except SchemaMissing:
            return True
        except StoreUnavailable:
            return False
        return True

    async def _figures(self, connection: AsyncConnection) -> Row[Any] | None:
        found: Row[Any] | None = (await connection.execute(self._statement)).first()
        return found

    def _set(self, row: Row[Any] | None) -> None:
        for state in State:
            self._jobs.labels(state.value).set(_number(row, f"count_{state.value}"))
        for state in (State.QUEUED, State.RUNNING):
            self._oldest.labels(state.value).set(_number(row, f"oldest_{state.value}"))
        self._jobs_late.set(_number(row, "late_jobs"))
        self._schedules.set(_number(row, "count_schedules"))
        self._schedules_late.set(_number(row, "late_schedules"))
        self._deliveries.set(_number(row, "count_deliveries"))
        self._deliveries_late.set(_number(row, "late_deliveries"))


async def _ask(connection: AsyncConnection) -> None:
    await connection.execute(select(literal(1)))


def _number(row: Row[Any] | None, name: str) -> float:
    """0 for what is not there, or not late yet."""
    return math.nan if row is None else max(0.0, float(getattr(row, name) or 0))
