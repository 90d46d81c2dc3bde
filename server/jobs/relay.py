"""Looks after the jobs that are due: one in each server process, any number beside each other."""

import asyncio
import time
from collections.abc import Callable, Set
from functools import partial
from types import NoneType

from sqlalchemy.ext.asyncio import AsyncConnection

from nowait.bridge import Call
from nowait.errors import Refused, Unroutable
from nowait.jobs import protocol
from server.jobs.connections import Connections
from server.jobs.decisions import Message, Plan, Retention, due_job
from server.jobs.looks import Looks
from server.jobs.publisher import TaskPublisher

_BATCH = 100  # jobs that are looked at in one transaction
_INTERVAL = 0.5  # seconds between two looks
_NO_BROKER = 2.0  # the same, as long as nothing can be sent
_TIMEOUT = 5.0  # seconds that the database gets for one transaction
_REFUSED = 4.0  # seconds for which a queue that has refused a message takes none; less than the next try is away
_SETTLED = (NoneType, Unroutable, Refused)  # what may become of a message while the broker serves


class Relay:
    """Sends what is due and was not confirmed, takes jobs back from lost workers, ends what has expired, has webhooks
    delivered, and deletes what is old.

    Args:
        connections: to the database.
        publisher: sends the messages.
        retention: how long jobs are kept.
        on_delivery: called when there is a webhook to be delivered.
    """

    def __init__(
        self,
        connections: Connections,
        publisher: TaskPublisher,
        retention: Retention,
        on_delivery: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._publisher = publisher
        self._retention = retention
        self._on_delivery = on_delivery
        self._refusing: dict[str, float] = {}  # by queue, when it has refused a message
        self._looks = Looks(self._look, "job")

    async def run(self) -> None:
        """Go on until it is cancelled, whatever becomes of database and broker."""
        await self._looks.run()

    async def _look(self) -> float:
        """Look at the jobs that are due. Returns seconds until the next time. Raises StoreUnavailable."""
        for attempt, job_ids in self._publisher.take_confirmed().items():
            await self._connections.transaction(partial(_confirm, job_ids, attempt), _TIMEOUT)
        publishing = self._publisher.ready
        steps = partial(_carry_out, publishing, self._retention, self._refusing.keys())
        plan = await self._connections.transaction(steps, _TIMEOUT)
        if plan.deliver:
            self._on_delivery()
        calls = [self._publisher.publish(message) for message in plan.messages]
        if calls:
            # Of all that waits, the broker gets a batch at a time: requests need the bridge as well.
            await asyncio.wait(calls)
        # A queue that takes none is in nobody's way: where a batch is full, all others for it are put off.
        self._note(plan.messages, calls)
        if not all(not call.cancelled() and isinstance(call.exception(), _SETTLED) for call in calls):
            return _INTERVAL
        if plan.urgent or plan.size == _BATCH:
            return 0.0
        return _INTERVAL if publishing else _NO_BROKER

    def _note(self, messages: list[Message], calls: list[Call]) -> None:
        """Note which queues have refused messages just now, and taken none."""
        now = time.monotonic()
        results = {(m.queue, None if call.cancelled() else type(call.exception())) for m, call in zip(messages, calls)}
        took = {queue for queue, kind in results if kind is NoneType}
        refused = {queue for queue, kind in results if kind is not None and issubclass(kind, (Unroutable, Refused))}
        known = {queue: since for queue, since in self._refusing.items() if now - since < _REFUSED}
        known |= dict.fromkeys(refused, now)
        self._refusing = {queue: since for queue, since in known.items() if queue not in took}


async def _carry_out(
    publishing: bool, retention: Retention, refusing: Set[str], connection: AsyncConnection
) -> Plan:
    """Decide, while the jobs are locked; returns what was decided."""
    found = (await connection.execute(protocol.due(_BATCH, publishing))).all()
    crowded = len(found) == _BATCH
    plan = Plan.of(map(due_job, found), retention, refusing if crowded else frozenset())
    for statement in plan.statements():
        await connection.execute(statement)
    return plan


async def _confirm(job_ids: list[str], attempt: int, connection: AsyncConnection) -> None:
    await connection.execute(protocol.confirm(job_ids, attempt))
