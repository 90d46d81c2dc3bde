"""Calls of queries that several callers wait for."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from hashlib import blake2b
from typing import TypeAlias

from nowait.bridge import Call
from nowait.deadline import Deadline
from nowait.errors import DeadlineExceeded
from nowait.messages.encoded import Encoded
from server.answers.answer import Answer
from server.answers.flights import Flight, Flights
from server.answers.key import AnswerKey

_PART = 256 * 1024  # bytes of an answer that are read before others on the loop have their turn
_AT_ONCE = 10  # callers that are given their answer before that

# Sends a call, with the seconds that it is given.
Send = Callable[[float], Call]
# Done when its caller is to have its answer.
_Ready: TypeAlias = "asyncio.Future[None]"


class SharedCalls:
    """Has equal calls that are under way at once sent once.

    Each caller waits until its own deadline. A call lives as long as one of its callers waits. What it fails with, all
    of them get, but for the end of its time: see `server.answers.flights`.

    Args:
        keep: takes the answers that may be given again.
        clock: seconds, never going back: when answers were asked for, and came.

    Attributes:
        joined: how many callers have waited for the call of another one.
    """

    def __init__(self, keep: Callable[[Answer], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.joined = 0
        self._keep = keep
        self._clock = clock
        self._flights: Flights[AnswerKey, _Ready] = Flights()
        self._calls: dict[Flight[AnswerKey, _Ready], _SharedCall] = {}

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
            send: sends the call, where there is none to join; it has to be one for an Encoded.
            lifetime: seconds in which its answer may be given again; 0 for none.
            alone: no call is joined that was sent before.
            kept: False for an answer that may not be kept here.
        """
        ready: _Ready = asyncio.get_running_loop().create_future()
        flight, new = self._flights.board(key, ready, deadline.at, time.monotonic(), alone)
        if new:
            call = self._calls[flight] = _SharedCall(key, send, lifetime, self._clock)
            call.task = asyncio.create_task(self._run(flight, call, kept), name="shared call")
        else:
            call = self._calls[flight]
            self.joined += 1
        try:
            yield Seat(call, ready, deadline, joined=not new)
        finally:
            if self._flights.leave(flight, ready):
                self._calls.pop(flight).end()

    async def _run(self, flight: Flight[AnswerKey, _Ready], call: "_SharedCall", kept: bool) -> None:
        left: float | None = flight.given
        while left is not None:
            timed_out = not await call.run(left)
            left = self._flights.timed_out(flight, time.monotonic()) if timed_out else None
        self._flights.land(flight)
        if kept and call.answer is not None and call.answer.lifetime:
            self._keep(call.answer)
        for number, ready in enumerate([*flight.deadlines], 1):
            if not ready.done():
                ready.set_result(None)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)


class Seat:
    """The place of one caller.

    Attributes:
        joined: it waits for the call of another one.
    """

    def __init__(self, call: "_SharedCall", ready: _Ready, deadline: Deadline, joined: bool) -> None:
        self._call = call
        self._ready = ready
        self._deadline = deadline
        self.joined = joined

    @property
    def runtime(self) -> float | None:
        """Seconds that the task ran; None when the worker did not say, or it was not this caller's."""
        return None if self.joined else self._call.runtime

    async def answer(self) -> Answer:
        """The answer. Raises what the call has failed with, and DeadlineExceeded when there is none in time."""
        done, _ = await asyncio.wait([self._ready], timeout=self._deadline.remaining())
        if not done:
            raise DeadlineExceeded("there was no answer in time")
        return self._call.outcome()


class _SharedCall:
    """A call, what has come of it, and the bytes that it holds.

    Attributes:
        answer: once there is one.
        runtime: seconds that its task ran; None when the worker did not say, or not yet.
        task: what runs it.
    """

    task: "asyncio.Task[None]"

    def __init__(self, key: AnswerKey, send: Send, lifetime: float, clock: Callable[[], float]) -> None:
        self.answer: Answer | None = None
        self.runtime: float | None = None
        self._key = key
        self._send = send
        self._lifetime = lifetime
        self._clock = clock
        self._value: Encoded | None = None
        self._error: Exception | None = None

    async def run(self, seconds: float) -> bool:
        """Send it, with that time, and wait for what comes of it; False for the end of its time."""
        asked = self._clock()
        try:
            call = self._send(seconds)
            self._value = await call
            self.runtime = getattr(call, "runtime", None)
            self.answer = await self._read(self._value, asked, self._clock())
        except Exception as error:
            self._error = error
            return not isinstance(error, DeadlineExceeded)
        return True

    def outcome(self) -> Answer:
        """What has come of it."""
        if self.answer is None:
            assert self._error is not None
            # Another one for each, as what was raised knows all frames that it went through.
            raise copy(self._error) from None
        return self.answer

    def end(self) -> None:
        """Nobody waits any more: cancel it, and release its bytes."""
        self.task.cancel()
        if self._value is not None:
            self._value.release()

    async def _read(self, value: Encoded, asked: float, came: float) -> Answer:
        """Its answer, in parts that are not copied again for each client."""
        parts, digest = [], blake2b(digest_size=16)
        for part in value.parts:
            for at in range(0, len(part), _PART):
                parts.append(bytes(part[at : at + _PART]))
                if self._lifetime:
                    digest.update(parts[-1])
                if len(value) > _PART:
                    await asyncio.sleep(0)
        value.parts = tuple(parts)
        etag = f'"{digest.hexdigest()}"' if self._lifetime else ""
        return Answer(self._key, tuple(parts), etag, asked, came, self._lifetime)
