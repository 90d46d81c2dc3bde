"""Calls of queries that several callers wait for."""

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from hashlib import blake2b
from typing import TypeAlias
from weakref import WeakValueDictionary

from nowait import tracing
from nowait.bridge import Call
from nowait.deadline import Deadline
from nowait.errors import DeadlineExceeded, Overloaded, TaskFailed
from nowait.messages.encoded import Encoded
from server.answers.answer import Answer
from server.answers.flights import Flight, Flights
from server.answers.key import AnswerKey

_PART = 256 * 1024  # bytes of an answer that are read before others on the loop have their turn
_AT_ONCE = 4  # callers that are given their answer before that

_DONE = object()

# Sends a call for an Encoded, with the seconds that it is given.
Send = Callable[[float], Call]
_Awaited: TypeAlias = "asyncio.Future[Answer]"
_Flight: TypeAlias = Flight[AnswerKey, _Awaited]


class SharedCalls:
    """Has equal calls that are under way at once sent once.

    Each caller waits until its own deadline. A call lives as long as one of its callers waits. What it fails with, all
    of them get, but for the end of its time: see `server.answers.flights`.

    Args:
        keep: takes the answers that may be given again.
        clock: seconds, that of deadlines.

    Attributes:
        joined: how many callers have waited for the call of another one.
    """

    def __init__(self, keep: Callable[[Answer], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.joined = 0
        self._keep = keep
        self._clock = clock
        self._flights: Flights[AnswerKey, _Awaited] = Flights()
        self._calls: dict[_Flight, _SharedCall] = {}
        self._newest: WeakValueDictionary[AnswerKey, _Newest] = WeakValueDictionary()

    def __len__(self) -> int:
        """Calls that somebody waits for, or writes the answer of."""
        return len(self._calls)

    def __repr__(self) -> str:
        return f"<SharedCalls {len(self)} calls, {self.joined} joined>"

    @contextmanager
    def join(
        self,
        key: AnswerKey,
        deadline: Deadline,
        send: Send,
        *,
        lifetime: float = 0.0,
        alone: bool = False,
        kept: bool = True,
    ) -> Iterator["Seat"]:
        """Wait for a call, and have its answer held, for as long as the block runs.

        Args:
            key: of what is called.
            deadline: until when the caller waits.
            send: sends the call, where there is none to join; what it raises is raised here.
            lifetime: seconds in which its answer may be given again; 0 for none.
            alone: no call is joined that was sent before.
            kept: False for an answer that may not be kept here.
        """
        loop = asyncio.get_running_loop()
        awaited: _Awaited = loop.create_future()
        flight, new = self._flights.board(key, awaited, deadline.at, self._clock(), alone)
        if new:
            newest = self._newest.setdefault(key, _Newest())
            self._calls[flight] = _SharedCall(key, send, lifetime, kept, newest, tracing.current().trace_id)
        else:
            self.joined += 1
        call = self._calls[flight]
        late = DeadlineExceeded("there was no answer in time")
        timer = loop.call_later(deadline.remaining(), _give, awaited, late)
        try:
            if new:
                self._send(flight, call, flight.given)
                if call.is_refused:
                    self._flights.land(flight)  # others may have room
            yield Seat(call, awaited, joined=not new)
        finally:
            timer.cancel()
            if self._flights.leave(flight, awaited):
                self._calls.pop(flight).end()

    def _send(self, flight: _Flight, shared: "_SharedCall", seconds: float) -> None:
        shared.asked = self._clock()
        shared.call = shared.send(seconds)
        shared.call.add_done_callback(partial(self._ended, flight, shared))

    def _ended(self, flight: _Flight, shared: "_SharedCall", call: Call) -> None:
        """The call has ended: it is sent again, or its callers go on."""
        error = None if call.cancelled() else call.exception()
        if not flight.deadlines:
            return
        # A database that ends a query in time is a failure of the task.
        if isinstance(error, (DeadlineExceeded, TaskFailed)):
            left = self._flights.timed_out(flight, self._clock())
            if left is not None:
                self._send(flight, shared, left)
                return
        self._flights.land(flight)
        steps = self._finish(flight, shared, call)
        # Most answers are one step.
        if next(steps, _DONE) is not _DONE:
            shared.finishing = asyncio.get_running_loop().create_task(_in_turns(steps), name="shared call")

    def _finish(self, flight: _Flight, shared: "_SharedCall", call: Call) -> Iterator[None]:
        """Have the callers go on, in steps that are all short."""
        error = call.exception()
        outcome = error if isinstance(error, Exception) else (yield from shared.read(call, self._clock()))
        if isinstance(outcome, Answer) and shared.newest.replace(outcome) and outcome.lifetime and shared.kept:
            self._keep(outcome)
        for number, awaited in enumerate([*flight.deadlines], 1):
            _give(awaited, outcome)
            if number % _AT_ONCE == 0:
                yield


async def _in_turns(steps: Iterator[None]) -> None:
    """Take steps, others on the loop in between."""
    await asyncio.sleep(0)
    for _ in steps:
        await asyncio.sleep(0)


def _give(awaited: _Awaited, outcome: Answer | Exception) -> None:
    """Have a caller go on, unless it has left or gone on before."""
    if awaited.done():
        return
    if isinstance(outcome, Exception):
        # Another one for each, as what was raised knows all frames that it went through.
        awaited.set_exception(copy(outcome))
        awaited.exception()  # who leaves at this moment does not look at it
    else:
        awaited.set_result(outcome)


class _Newest:
    """The newest answer to a key that was given while calls of that key were under way: they may overtake each other.

    Attributes:
        asked: when it was asked for.
    """

    __slots__ = ("asked", "__weakref__")

    def __init__(self) -> None:
        self.asked = 0.0

    def replace(self, answer: Answer) -> bool:
        """An answer is given. Returns False when somebody may have got one already that was asked for later."""
        if answer.asked < self.asked:
            return False
        self.asked = answer.asked
        return True


class Seat:
    """The place of one caller.

    Attributes:
        answer: awaits the answer; fails with what the call has failed with, or DeadlineExceeded when there is none in
            time.
        joined: it is that of a call for another one.
        trace_id: of the trace that the call is a part of; "" for none.
    """

    def __init__(self, call: "_SharedCall", answer: _Awaited, joined: bool) -> None:
        self._call = call
        self.answer = answer
        self.joined = joined
        self.trace_id = call.trace_id

    @property
    def sent(self) -> Call | None:
        """The call that was sent for this caller; None before that, and where it was sent for another one."""
        return None if self.joined else self._call.call


class _SharedCall:
    """A call, and the bytes that it holds.

    Attributes:
        send, kept: as in `SharedCalls.join`.
        newest: of the answers to its key.
        trace_id: as that of its seats.
        call: as it was sent last; None before that.
        asked: when that was.
        finishing: has its callers go on, where that takes its time.
    """

    def __init__(
        self, key: AnswerKey, send: Send, lifetime: float, kept: bool, newest: _Newest, trace_id: str
    ) -> None:
        self.send = send
        self.kept = kept
        self.newest = newest
        self.trace_id = trace_id
        self.call: Call | None = None
        self.asked = 0.0
        self.finishing: asyncio.Task[None] | None = None
        self._key = key
        self._lifetime = lifetime
        self._value: Encoded | None = None

    @property
    def is_refused(self) -> bool:
        """There was no room for the call of that client."""
        call = self.call
        return call is not None and call.done() and not call.cancelled() and isinstance(call.exception(), Overloaded)

    def read(self, call: Call, came: float) -> Generator[None, None, Answer]:
        """The answer of its call, in parts that are not copied again for each client."""
        value: Encoded = call.result()
        self._value = value
        digest = blake2b(digest_size=16) if self._lifetime else None
        parts: list[bytes] = []
        read = 0
        for part in value.parts:
            for at in range(0, len(part), _PART):
                parts.append(bytes(part[at : at + _PART]))
                if digest is not None:
                    digest.update(parts[-1])
                read += len(parts[-1])
                if read >= _PART:
                    read = 0
                    yield
        value.parts = tuple(parts)
        etag = "" if digest is None else f'"{digest.hexdigest()}"'
        return Answer(self._key, tuple(parts), etag, self.asked, came, self._lifetime)

    def end(self) -> None:
        """Nobody waits any more: cancel it, and release its bytes."""
        if self.call is not None:
            self.call.cancel()
        if self.finishing is not None:
            self.finishing.cancel()
        if self._value is not None:
            self._value.release()
