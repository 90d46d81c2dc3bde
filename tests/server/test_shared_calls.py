"""Calls that several callers wait for: the same tests over a bridge with real workers and over its fake."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from nowait.bridge import Call
from nowait.deadline import Deadline
from nowait.errors import DeadlineExceeded, Disconnected, Overloaded, TaskFailed
from nowait.messages.encoded import Encoded
from server.answers.answer import Answer
from server.answers.key import AnswerKey
from server.answers.shared import SharedCalls
from tests.bridge.conftest import QUEUE, Make, faking, running, until


def fail(text: str) -> None:
    raise LookupError(text)


@pytest.fixture(params=["fake", "real"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a bridge with the tasks of tests.celeryapp, or fakes of them."""
    if request.param == "fake":
        return partial(faking, {"test.echo": lambda value: value, "test.fail": fail, "test.sleep": asyncio.sleep})
    request.getfixturevalue("test_worker")
    return partial(running, request.getfixturevalue("services").broker_url)


KEY = AnswerKey("q", "1", "{}")


class Callers:
    """Callers of one task.

    Attributes:
        given: the seconds of each call that was sent.
        calls: these calls.
        kept: the answers that may be given again.
        shared: what is tested.
    """

    def __init__(self, bridge: Any, task: str, *args: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.given: list[float] = []
        self.calls: list[Call] = []
        self.kept: list[Answer] = []
        self.shared = SharedCalls(self.kept.append, clock)
        self._send = partial(bridge.send_task, task, args, idempotent=True, encoded=True, queue=QUEUE)

    def send(self, seconds: float) -> Call:
        self.given.append(seconds)
        self.calls.append(self._send(timeout=seconds))
        return self.calls[-1]

    async def answer(self, seconds: float = 30.0, key: AnswerKey = KEY, **options: Any) -> Any:
        with self.shared.join(key, Deadline.after(seconds), self.send, **options) as seat:
            answer = await seat.answer
            return Encoded(*answer.parts).decode()

    def come(self, seconds: float = 30.0, **options: Any) -> "asyncio.Task[Any]":
        return asyncio.create_task(self.answer(seconds, **options))


def in_flight(bridge: Any) -> int:
    return int(bridge.in_flight)


@pytest.mark.gen_test
async def test_all_who_come_while_it_is_under_way_get_the_answer_of_one_call(make: Make) -> None:
    async with make() as bridge:
        callers = Callers(bridge, "test.sleep", 0.5)
        answers = await asyncio.gather(*(callers.come() for _ in range(1000)))
        assert len(set(answers)) == 1 and len(callers.calls) == 1
        assert (callers.shared.joined, len(callers.shared), in_flight(bridge)) == (999, 0, 0)
        # The next one has a call of its own.
        await callers.answer()
        assert len(callers.calls) == 2


@pytest.mark.gen_test
async def test_who_leaves_ends_the_call_for_no_other_and_the_last_one_cancels_it(make: Make) -> None:
    async with make() as bridge:
        callers = Callers(bridge, "test.sleep", 0.5)
        first, second, third = (callers.come() for _ in range(3))
        await until(lambda: len(callers.calls) == 1)
        first.cancel()
        assert await asyncio.gather(second, third)
        assert first.cancelled() and len(callers.calls) == 1

        left = [callers.come() for _ in range(3)]
        await until(lambda: len(callers.calls) == 2 and in_flight(bridge) == 1)
        for caller in left:
            caller.cancel()
        await until(lambda: callers.calls[1].cancelled())
        assert (in_flight(bridge), len(callers.shared)) == (0, 0)


@pytest.mark.gen_test
async def test_each_caller_waits_until_its_own_deadline(make: Make) -> None:
    ended: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        try:
            await callers.answer(seconds)
        except DeadlineExceeded:
            ended.append(name)

    async with make() as bridge:
        callers = Callers(bridge, "test.sleep", 1.0)
        # The third joins the second: the call before had less time than it has, and this one has enough.
        await asyncio.gather(wait("short", 0.3), callers.answer(30.0), wait("shortest", 0.1))
        assert ended == ["shortest", "short"]
        assert [round(seconds, 1) for seconds in callers.given] == [0.3, 30.0]
        assert callers.shared.joined == 1


@pytest.mark.gen_test
async def test_callers_with_time_left_outlive_the_call_that_they_wait_for(make: Make) -> None:
    async with make() as bridge:
        passed = 0.0
        callers = Callers(bridge, "test.echo", "here", clock=lambda: time.monotonic() + passed)
        send = callers.send

        def send_the_first_for_whose_time_nothing_comes(seconds: float) -> Call:
            nonlocal passed
            if callers.calls:
                return send(seconds)
            passed = 300.5
            return send(0.0)

        callers.send = send_the_first_for_whose_time_nothing_comes  # type: ignore[method-assign]
        assert await asyncio.gather(callers.answer(300.0), callers.answer(330.0)) == ["here", "here"]
        assert callers.given[0] == 0.0 and 20.0 < callers.given[1] <= 29.5


@pytest.mark.gen_test
async def test_a_call_that_is_too_late_before_its_time_is_not_sent_again(make: Make) -> None:
    async with make() as bridge:
        callers = Callers(bridge, "test.echo", "here")
        send = callers.send
        # As by a worker whose clock is ahead.
        callers.send = lambda seconds: send(0.0)  # type: ignore[method-assign]
        errors = await asyncio.gather(callers.answer(20.0), callers.answer(21.0), return_exceptions=True)
        assert [type(error) for error in errors] == [DeadlineExceeded] * 2
        assert len(callers.calls) == 1


@pytest.mark.gen_test
async def test_a_call_for_which_one_client_has_no_room_is_joined_by_no_other(make: Make) -> None:
    async with make() as bridge:
        callers = Callers(bridge, "test.echo", "here")
        send, refused = callers.send, asyncio.get_running_loop().create_future()
        refused.set_exception(Overloaded("as much as one client may have"))
        calls = [refused]
        callers.send = lambda seconds: calls.pop() if calls else send(seconds)  # type: ignore[method-assign]
        first, second = await asyncio.gather(callers.come(), callers.come(), return_exceptions=True)
        assert (type(first), second) == (Overloaded, "here")


@pytest.mark.gen_test
async def test_a_query_that_the_database_ends_for_one_is_run_again_for_those_with_time_left(make: Make) -> None:
    async with make() as bridge:
        callers = Callers(bridge, "test.echo", "here")
        send, failed = callers.send, asyncio.get_running_loop().create_future()
        calls = [failed]
        callers.send = lambda seconds: calls.pop() if calls else send(seconds)  # type: ignore[method-assign]
        first = callers.come(3.0)
        await asyncio.sleep(2.8)
        second = callers.come(3.0)
        await asyncio.sleep(0)
        failed.set_exception(TaskFailed("FAILURE", "QueryFailed", "error 1969 of the database"))
        assert await asyncio.gather(first, second) == ["here", "here"]


@pytest.mark.gen_test
async def test_all_get_the_error_each_one_of_its_own_and_none_is_kept(make: Make) -> None:
    async with make() as bridge:
        callers = Callers(bridge, "test.fail", "a reason")
        came = [callers.come(lifetime=60.0) for _ in range(3)]
        errors = await asyncio.gather(*came, return_exceptions=True)
        assert [(type(error), getattr(error, "exception", "")) for error in errors] == [(TaskFailed, "LookupError")] * 3
        assert len({id(error) for error in errors}) == 3
        assert len(callers.calls) == 1 and not callers.kept
        with pytest.raises(TaskFailed):
            await callers.answer()
        assert len(callers.calls) == 2


@pytest.mark.gen_test
async def test_who_wants_an_answer_of_its_own_joins_none_and_is_joined(make: Make) -> None:
    async with make() as bridge:
        callers = Callers(bridge, "test.sleep", 0.5)
        came = [callers.come(), callers.come(alone=True), callers.come()]
        await asyncio.gather(*came)
        assert (len(callers.calls), callers.shared.joined) == (2, 1)


@pytest.mark.gen_test
async def test_calls_for_something_else_are_each_sent(make: Make) -> None:
    async with make() as bridge:
        callers = Callers(bridge, "test.sleep", 0.2)
        keys = [KEY, AnswerKey("p", "1", "{}"), AnswerKey("q", "2", "{}")]
        await asyncio.gather(*(callers.answer(key=key) for key in keys))
        assert (len(callers.calls), callers.shared.joined) == (3, 0)


@pytest.mark.gen_test
async def test_the_bytes_of_an_answer_are_held_once_and_until_the_last_caller_has_done_with_them(
    make: Make,
) -> None:
    text = "ü 🐇" * 200_000
    async with make() as bridge:
        callers = Callers(bridge, "test.echo", text)
        done = asyncio.Event()
        parts: list[tuple[bytes, ...]] = []

        async def hold() -> None:
            with callers.shared.join(KEY, Deadline.after(30.0), callers.send) as seat:
                parts.append((await seat.answer).parts)
                await done.wait()

        held = [asyncio.create_task(hold()) for _ in range(3)]
        await until(lambda: len(parts) == 3)
        assert parts[0] is parts[1] is parts[2] and max(map(len, parts[0])) <= 256 * 1024
        assert Encoded(*parts[0]).decode() == text
        used = getattr(bridge, "statistics", None)
        left = held.pop()
        left.cancel()
        await asyncio.wait([left])
        if used is not None:
            assert used().reply_bytes > 1_000_000
        done.set()
        await asyncio.gather(*held)
        if used is not None:
            assert used().reply_bytes == 0


@pytest.mark.gen_test
async def test_an_answer_with_a_lifetime_is_kept_and_has_a_tag_that_its_rows_decide() -> None:
    values = iter([[1], [2], [1]])
    async with faking({"test.next": lambda: next(values)}) as bridge:
        callers = Callers(bridge, "test.next")
        for _ in range(3):
            await callers.answer(lifetime=5.0)
        first, second, third = (answer.etag for answer in callers.kept)
        assert first == third != second and first.startswith('"') and first.endswith('"')


@pytest.mark.gen_test
async def test_neither_what_must_not_be_kept_nor_what_has_no_lifetime_is_kept() -> None:
    async with faking({"test.echo": lambda value: value}) as bridge:
        callers = Callers(bridge, "test.echo", 1)
        await callers.answer()
        await callers.answer(lifetime=5.0, kept=False)
        assert not callers.kept


@pytest.mark.gen_test
async def test_a_call_that_cannot_be_sent_fails_for_all_and_is_forgotten() -> None:
    async with faking({}) as bridge:
        bridge.state = "connecting"
        callers = Callers(bridge, "test.echo", 1)
        came = [callers.come() for _ in range(3)]
        assert {type(error) for error in await asyncio.gather(*came, return_exceptions=True)} == {Disconnected}
        assert len(callers.shared) == 0

        def unfit(seconds: float) -> Call:
            raise TypeError("no JSON")

        with pytest.raises(TypeError), callers.shared.join(KEY, Deadline.after(1.0), unfit) as seat:
            await seat.answer
        assert repr(callers.shared) == f"<SharedCalls 0 calls, {callers.shared.joined} joined>"


@pytest.mark.gen_test
async def test_others_on_the_loop_have_their_turn_while_many_get_their_answer() -> None:
    turns = 0
    async with faking({"test.sleep": asyncio.sleep}) as bridge:
        callers = Callers(bridge, "test.sleep", 0.05)
        came = [callers.come() for _ in range(200)]

        async def turn() -> None:
            nonlocal turns
            while not came[-1].done():
                turns += any(caller.done() for caller in came)
                await asyncio.sleep(0)

        await asyncio.gather(turn(), *came)
    assert turns >= 10
