"""The server of the fault tests: it ends itself at failpoints, and is started again."""

import asyncio
import sys
from collections.abc import Iterable, Set
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

import server.__main__
import server.app
from nowait.bridge import Call
from nowait.jobs import protocol
from server.jobs import decisions, publisher, relay, rows
from server.jobs.database import DatabaseStore
from server.jobs.decisions import DueJob, Message, Plan, Retention
from server.jobs.model import Job, NewJob
from server.jobs.publisher import TaskPublisher
from server.jobs.relay import Relay
from tests.faults.jobs import failpoints
from tests.faults.jobs.failpoints import Failpoints
from tests.faults.jobs.respawn import respawn
from tests.faults.jobs.short import TIMES, shorten

_INSERTED, _COMMITTED, _SENT, _CONFIRMED, _SELECTED, _DECIDED, _RESENT = failpoints.SERVER
_ON_THE_WAY = 0.001  # seconds from the bridge to the broker, about

points = Failpoints.of_environment()


class FailingStore(DatabaseStore):
    async def _add(self, job: NewJob, connection: AsyncConnection) -> tuple[Job, bool]:
        added, replayed = await super()._add(job, connection)
        if not replayed:
            points.hit(_INSERTED)
        return added, replayed


class FailingPublisher(TaskPublisher):
    def send(self, job: Job, wait: float | None = None) -> "asyncio.Future[None] | None":
        points.hit(_COMMITTED)
        answer = super().send(job, wait)
        asyncio.get_running_loop().call_later(_ON_THE_WAY, points.hit, _SENT)
        return answer

    def take_confirmed(self) -> dict[int, list[str]]:
        confirmed = super().take_confirmed()
        if confirmed:
            points.hit(_CONFIRMED)
        return confirmed


class FailingRelay(Relay):
    def __init__(self, connections: Any, publisher: Any, *others: Any) -> None:
        super().__init__(connections, _RelaysPublisher(publisher), *others)  # type: ignore[arg-type]


class _RelaysPublisher:
    """The relay's own way to the publisher."""

    def __init__(self, publisher: TaskPublisher) -> None:
        self._publisher = publisher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)

    def publish(self, message: Message) -> Call:
        points.hit(_DECIDED)
        call = self._publisher.publish(message)
        call.add_done_callback(lambda _: points.hit(_RESENT))
        return call


class FailingPlan(Plan):
    @classmethod
    def of(cls, jobs: Iterable[DueJob], retention: Retention, refusing: Set[str] = frozenset()) -> Plan:
        plan = super().of(jobs, retention, refusing)
        if plan.size:
            points.hit(_SELECTED)
        return plan


def main() -> int:
    """Run it until it ends by itself."""
    shorten(protocol, decisions, publisher, rows)
    setattr(server.app, "DatabaseStore", FailingStore)
    setattr(server.app, "TaskPublisher", FailingPublisher)
    setattr(server.app, "Relay", FailingRelay)
    setattr(relay, "Plan", FailingPlan)
    return respawn(server.__main__.main, 2 * TIMES["LEASE"])


if __name__ == "__main__":
    sys.exit(main())
