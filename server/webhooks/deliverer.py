"""Delivers what is due: one in each server process, any number beside each other."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from nowait import tracing
from nowait.jobs import protocol
from server.jobs.connections import Connections
from server.jobs.looks import Looks
from server.jobs.model import StoreUnavailable
from server.webhooks import deliveries
from server.webhooks.deliveries import LEASE, Attempt
from server.webhooks.message import body, message_id
from server.webhooks.outcome import ADDRESS_REFUSED, ERROR, Outcome, is_answer
from server.webhooks.sender import Sender
from server.webhooks.slots import MOST, Slot, Slots
from server.webhooks.url import host_and_port

log = logging.getLogger(__name__)

_INTERVAL = 0.5  # seconds between two looks
_TIMEOUT = 5.0  # seconds that the database gets for one transaction
_NOTE_PAUSE = 1.0  # seconds between two tries to note an outcome
_LAST = 2.0  # seconds that what is under way gets at the end
_BATCH = 200  # deliveries that are looked at in one transaction


@dataclass(frozen=True)
class _Look:
    """What a look has found.

    Attributes:
        begun: the attempts that were begun.
        pause: seconds until there may be a slot for what was postponed.
        full: there may be more that is due.
    """

    begun: list[Attempt]
    pause: float
    full: bool


class Deliverer:
    """Sends the ends of jobs to their webhooks, again where that may help, and notes what has come of it.

    Args:
        connections: to the database.
        sender: sends.
        once: of the kind of a job, by its name; None when that is not known.
        check: raises ValueError for a URL that nothing is sent to.
        observe: gets the outcome and the seconds of each attempt.
    """

    def __init__(
        self,
        connections: Connections,
        sender: Sender,
        once: Callable[[str], bool | None],
        check: Callable[[str], object],
        observe: Callable[[str, float], None] = lambda _outcome, _seconds: None,
    ) -> None:
        self._connections = connections
        self._sender = sender
        self._once = once
        self._check = check
        self._observe = observe
        self._slots: Slots[Attempt] = Slots()
        self._full = False  # the last look did not see all that was due
        self._under_way: set[asyncio.Task[None]] = set()
        self._looks = Looks(self._look, "webhook")

    async def run(self) -> None:
        """Go on until it is cancelled; what is under way then goes on until close()."""
        await self._looks.run()

    def hurry(self) -> None:
        """There is something to be delivered."""
        self._looks.hurry()

    async def close(self) -> None:
        """Give what is under way a moment to end. What does not is sent again, once its lease is over."""
        ends = _now() + _LAST
        while self._under_way and (left := ends - _now()) > 0:
            # What waits for a slot gets one meanwhile.
            await asyncio.wait(self._under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._sender.close()

    async def _look(self) -> float:
        """Look at the deliveries that are due. Returns seconds until the next time. Raises StoreUnavailable."""
        if self._slots.room <= 0 or len(self._under_way) >= MOST:
            self._full = True
            return _INTERVAL
        look = await self._connections.transaction(partial(self._begin, _BATCH), _TIMEOUT)
        for attempt in look.begun:
            host = self._host(attempt.url)
            if host is None:
                self._observe(ADDRESS_REFUSED, 0.0)
                self._go_on(self._note(attempt, Outcome(ADDRESS_REFUSED)))
            else:
                self._slots.wait(host, attempt, _now())
        self._send()
        self._full = look.full
        return 0.0 if look.full and self._slots.room > 0 and len(self._under_way) < MOST else min(_INTERVAL, look.pause)

    def _send(self) -> None:
        """Send all that has a slot now."""
        for attempt, slot in self._slots.take(_now()):
            self._go_on(self._deliver(attempt, slot))

    def _go_on(self, steps: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(steps)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _host(self, url: str) -> str | None:
        """Of a URL; None when nothing may be sent there, as what is allowed has changed, or somebody the row."""
        try:
            self._check(url)
        except ValueError:
            return None
        return host_and_port(url)[0]

    async def _begin(self, limit: int, connection: AsyncConnection) -> _Look:
        """Begin what there is room for, and postpone the rest."""
        found = list(map(deliveries.due_delivery, await connection.execute(deliveries.due(limit))))
        if not found:
            return _Look([], _INTERVAL, False)
        all_hosts = {each.job_id: self._host(each.url) for each in found if each.url is not None}
        hosts = {job_id: host for job_id, host in all_hosts.items() if host is not None}
        unanswered = {each.job_id for each in found if each.outcome is not None and not is_answer(each.outcome)}
        shares = self._slots.share(hosts, _now(), unanswered)
        for pause, job_ids in shares.postpone.items():
            await connection.execute(deliveries.postpone(job_ids, pause))
        if orphans := [each.job_id for each in found if each.url is None]:
            await connection.execute(protocol.withdraw(orphans))
        begun = []
        if beginning := [*shares.begin, *(all_hosts.keys() - hosts.keys())]:
            await connection.execute(deliveries.begin(beginning))
            begun = list(map(deliveries.attempt, await connection.execute(deliveries.begun(beginning))))
        return _Look(begun, min(shares.postpone, default=_INTERVAL), len(found) == limit)

    async def _deliver(self, attempt: Attempt, slot: Slot) -> None:
        outcome = Outcome(ERROR)
        try:
            outcome = await self._sent(attempt)
        finally:
            self._slots.end(slot, is_answer(outcome.kind), _now())
            self._observe(outcome.kind, _now() - slot.began)
        self._send()
        await self._note(attempt, outcome)
        # Not before: where receivers are faster than notes, leases would end with what nobody has noted yet.
        if self._full and self._slots.room >= MOST // 2 and len(self._under_way) <= MOST // 2:
            self._looks.hurry()

    async def _sent(self, attempt: Attempt) -> Outcome:
        job = attempt.job
        # What goes on here belongs to no request.
        parent = {} if job.traceparent is None else {"traceparent": job.traceparent}
        attributes = {"http.request.method": "POST", "messaging.message.id": message_id(job)}
        try:
            with tracing.span("deliver webhook", "client", attributes, parent) as span:
                message = body(job, self._once(job.name))
                outcome = await self._sender.send(attempt.url, message_id(job), message, span.headers)
                if outcome.status is not None:
                    span.set("http.response.status_code", outcome.status)
                if not outcome.good:
                    span.fail(outcome.kind)
                return outcome
        except Exception:
            # Without an outcome it were sent again and again, off its schedule.
            log.exception("job %s: its end could not be sent", job.id)
            return Outcome(ERROR)

    async def _note(self, attempt: Attempt, outcome: Outcome) -> None:
        """Note what has come of an attempt, as long as it has its lease."""
        state, pause = outcome.verdict(attempt.failures + 1)
        log.debug("job %s: attempt %d to deliver its end: %s", attempt.job.id, attempt.number, outcome.kind)
        note = deliveries.note(attempt, state, pause, outcome.kind)

        async def steps(connection: AsyncConnection) -> None:
            await connection.execute(note)

        ends = _now() + LEASE
        while _now() < ends:
            try:
                await self._connections.transaction(steps, _TIMEOUT)
                return
            except StoreUnavailable:
                await asyncio.sleep(_NOTE_PAUSE)
        log.warning("job %s: that its end was delivered could not be noted", attempt.job.id)


def _now() -> float:
    return asyncio.get_running_loop().time()
