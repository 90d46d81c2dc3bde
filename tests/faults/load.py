"""A load of calls at a constant rate, and what became of each."""

import asyncio
import gc
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from nowait.bridge import Bridge
from nowait.errors import BridgeError, DeadlineExceeded, OutcomeUnknown, Unavailable

QUEUE = "tests"
_GRACE = 0.5  # seconds behind its deadline within which a call has to be answered


@dataclass
class Tally:
    """What became of the requests.

    Attributes:
        attempted: requests made.
        answered: those with any answer by 0.5 s behind their deadline.
        ok: answered with the payload that they sent.
        refused: answered with 503, and surely not done.
        unknown: answered with 503, and perhaps done.
        expired: answered with 504.
        lost: not answered in time.
        unexpected: answered with anything else, such as another's payload.
        retried: answers 503 that were tried again within the deadline, as Retry-After says.
    """

    attempted: int = 0
    ok: int = 0
    refused: int = 0
    unknown: int = 0
    expired: int = 0
    lost: int = 0
    unexpected: int = 0
    retried: int = 0

    @property
    def answered(self) -> int:
        return self.ok + self.refused + self.unknown + self.expired + self.unexpected


class Load:
    """Calls of test.record while its `async with` block runs; the end waits for their answers.

    Args:
        bridge: sends them.
        rate: calls per second, whether or not they are answered.
        timeout: seconds that each request may take.
        idempotent: whether the calls are, in turn.
        retries: True to do as a patient HTTP client does: try again after a 503 that says when.

    Attributes:
        tally: what became of the requests so far.
        lag: the longest time, in seconds, that the loop was late for a timer.
        gap: the longest time, in seconds, without an answer that was ok, since the first.
        surprises: the answers that were unexpected.
        slowest_refusal: the longest time, in seconds, from a call to its refusal.
    """

    def __init__(
        self,
        bridge: Bridge,
        *,
        rate: float = 200.0,
        timeout: float = 5.0,
        idempotent: tuple[bool, ...] = (True, False),
        retries: bool = False,
    ) -> None:
        self._bridge = bridge
        self._rate = rate
        self._timeout = timeout
        self._idempotent = idempotent
        self._retries = retries
        self._name = uuid4().hex[:8]
        self._refused: set[str] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self.tally = Tally()
        self.surprises: list[str] = []
        self.lag = 0.0
        self.gap = 0.0
        self._last_ok: float | None = None
        self.slowest_refusal = 0.0

    async def __aenter__(self) -> "Load":
        # What the test process has loaded is no part of the bridge, and a tenth of a second to go through.
        gc.collect()
        gc.freeze()
        self._sender = asyncio.create_task(self._send())
        self._meter = asyncio.create_task(self._measure())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sender.cancel()
        if kind is not None:
            for request in self._requests:
                request.cancel()
        await asyncio.wait([self._sender, *self._requests])
        self._meter.cancel()
        await asyncio.wait([self._meter])
        gc.unfreeze()

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            request = asyncio.create_task(self._request(self.tally.attempted))
            self.tally.attempted += 1
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)
            due += 1 / self._rate
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _request(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        payload = f"{self._name}-{number}"
        deadline, wall_deadline = loop.time() + self._timeout, time.time() + self._timeout
        while True:
            started = loop.time()
            call = self._bridge.send_task(
                "test.record",
                [payload, wall_deadline],
                queue=QUEUE,
                timeout=deadline - started,
                idempotent=self._idempotent[number % len(self._idempotent)],
            )
            await asyncio.wait([call], timeout=deadline - started + _GRACE)
            if not call.done():
                self.tally.lost += 1
                call.cancel()
                return
            error = call.exception()
            if isinstance(error, Unavailable):
                self.slowest_refusal = max(self.slowest_refusal, loop.time() - started)
                wait = error.retry_after or 0
                if self._retries and loop.time() + wait < deadline:
                    self.tally.retried += 1
                    await asyncio.sleep(wait)
                    continue
                self.tally.refused += 1
                self._refused.add(payload)
            elif isinstance(error, OutcomeUnknown):
                self.tally.unknown += 1
            elif isinstance(error, DeadlineExceeded):
                self.tally.expired += 1
            elif isinstance(error, BridgeError) or call.result() != payload:
                self.tally.unexpected += 1
                self.surprises.append(repr(error) if error else f"{call.result()!r} instead of {payload!r}")
            else:
                self.tally.ok += 1
                self._note_gap()
                self._last_ok = loop.time()
            return

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.01
            await asyncio.sleep(0.01)
            self.lag = max(self.lag, loop.time() - due)
            self._note_gap()

    def _note_gap(self) -> None:
        now = asyncio.get_running_loop().time()
        self.gap = max(self.gap, now - (self._last_ok or now))

    def runs(self, file: Path) -> "Runs":
        """What the worker noted of these calls."""
        runs = Runs()
        for line in file.read_text().splitlines():
            payload, started, deadline = line.split()
            if payload.startswith(self._name):
                runs.times[payload] += 1
                runs.late += float(started) > float(deadline) + 1.0
                runs.refused += payload in self._refused
        return runs


class Runs:
    """The runs of a load's tasks.

    Attributes:
        times: how often each payload's task ran.
        late: runs that began more than a second past the deadline.
        refused: runs for calls that were answered with a refusal.
    """

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()
        self.late = 0
        self.refused = 0

    @property
    def duplicated(self) -> int:
        """Runs beyond the first of a payload."""
        return sum(self.times.values()) - len(self.times)
