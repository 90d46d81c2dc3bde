"""Looks after the jobs that are due: one in each server process, any number beside each other."""

import asyncio
import logging
import random
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from nowait.jobs import protocol
from nowait.jobs.retry import backoff
from server.jobs.connections import Connections
from server.jobs.decisions import Plan, due_job
from server.jobs.model import SchemaMissing, StoreUnavailable
from server.jobs.publisher import TaskPublisher

log = logging.getLogger(__name__)

_BATCH = 100  # jobs that are looked at in one transaction
_INTERVAL = 0.5  # seconds between two looks
_NO_BROKER = 2.0  # the same, as long as nothing can be sent
_LONGEST = 5.0  # the same, as long as the database does not answer
_TIMEOUT = 5.0  # seconds that the database gets for one transaction


class Relay:
    """Sends what is due and was not confirmed, takes jobs back from lost workers, ends what has expired, and deletes
    what is old.

    Args:
        connections: to the database.
        publisher: sends the messages.
    """

    def __init__(self, connections: Connections, publisher: TaskPublisher) -> None:
        self._connections = connections
        self._publisher = publisher
        self._failed = 0  # looks at a database that did not answer, one after the other
        self._logged: type[Exception] | None = None  # of these, what the log has

    async def run(self) -> None:
        """Go on until it is cancelled, whatever becomes of database and broker."""
        while True:
            try:
                pause = await self._look()
            except StoreUnavailable as error:
                pause = self._away(error)
            except Exception:
                # It would be missed by all jobs.
                log.exception("the jobs that are due could not be looked at")
                pause = _LONGEST
            else:
                self._back()
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))

    async def _look(self) -> float:
        """Look at the jobs that are due. Returns seconds until the next time. Raises StoreUnavailable."""
        for attempt, job_ids in self._publisher.take_confirmed().items():
            await self._connections.transaction(partial(_confirm, job_ids, attempt), _TIMEOUT)
        publishing = self._publisher.ready
        plan = await self._connections.transaction(partial(_carry_out, publishing), _TIMEOUT)
        calls = [self._publisher.publish(message) for message in plan.messages]
        if calls:
            # Of all that waits, the broker gets a batch at a time: requests need the bridge as well.
            await asyncio.wait(calls)
        if any(call.cancelled() or call.exception() for call in calls):
            return _INTERVAL
        if plan.urgent or plan.size == _BATCH:
            return 0.0
        return _INTERVAL if publishing else _NO_BROKER

    def _away(self, error: StoreUnavailable) -> float:
        """The database is of no help. Returns seconds until the next time."""
        if self._logged is not type(error):
            self._logged = type(error)
            log.warning("no job is looked after: %s", error)
        if isinstance(error, SchemaMissing):
            return _LONGEST
        self._failed += 1
        return backoff(self._failed, 2 * _INTERVAL, _LONGEST)

    def _back(self) -> None:
        if self._logged is not None:
            log.info("jobs are looked after again")
        self._failed, self._logged = 0, None


async def _carry_out(publishing: bool, connection: AsyncConnection) -> Plan:
    """Decide, while the jobs are locked; returns what was decided."""
    found = await connection.execute(protocol.due(_BATCH, publishing))
    plan = Plan.of(map(due_job, found))
    for statement in plan.statements():
        await connection.execute(statement)
    return plan


async def _confirm(job_ids: list[str], attempt: int, connection: AsyncConnection) -> None:
    await connection.execute(protocol.confirm(job_ids, attempt))
