"""What handlers rely on: the same tests over the bridge with real workers and over its fake."""

import asyncio
import math
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from nowait.errors import (
    BridgeError,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    Stopped,
    TaskFailed,
    Unavailable,
    Unroutable,
)
from nowait.messages.encoded import Encoded
from nowait.testing import FakeBridge
from tests.bridge.conftest import QUEUE, Make, until


def fake_echo(value: Any = None, **kwargs: Any) -> Any:
    return kwargs or value


def fake_fail(text: str) -> None:
    raise LookupError(text)


FAKES = {"test.echo": fake_echo, "test.fail": fake_fail, "test.sleep": asyncio.sleep, "test.encoded": Encoded.of}


def in_flight(bridge: Any) -> int:
    return int(bridge.in_flight if isinstance(bridge, FakeBridge) else bridge.statistics().in_flight)


async def failure(call: "asyncio.Future[Any]") -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        await call
    return caught.value


@pytest.mark.gen_test
async def test_a_call_returns_what_the_task_returns(make: Make) -> None:
    async with make() as bridge:
        for value in [None, 0, "ü 🐇", [1, [2]], {"a": {"b": None}}, 1.5, True]:
            assert await bridge.send_task("test.echo", [value], queue=QUEUE) == value
        assert await bridge.send_task("test.echo", kwargs={"a": 1}, queue=QUEUE) == {"a": 1}
        assert in_flight(bridge) == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("task", ["test.echo", "test.encoded"])
async def test_a_result_may_be_had_as_it_is_encoded(make: Make, task: str) -> None:
    large = [{"text": "ü 🐇" * 10, "number": number} for number in range(10_000)]
    async with make() as bridge:
        for value in [None, 0, "ü 🐇", [1, [2]], large]:
            assert await bridge.send_task(task, [value], queue=QUEUE) == value
            result = await bridge.send_task(task, [value], encoded=True, queue=QUEUE)
            assert isinstance(result, Encoded) and result.decode() == value
            result.release()
        error = await failure(bridge.send_task("test.fail", ["a reason"], encoded=True, queue=QUEUE))
        assert isinstance(error, TaskFailed)


@pytest.mark.gen_test
async def test_a_call_whose_result_is_ignored_ends_with_the_brokers_confirm(make: Make) -> None:
    async with make() as bridge:
        call = bridge.send_task("test.sleep", [0.5], ignore_result=True, lifetime=60.0, queue=QUEUE)
        assert (await call, call.confirmed, in_flight(bridge)) == (None, True, 0)


@pytest.mark.gen_test
async def test_a_timeout_is_a_finite_number(make: Make) -> None:
    async with make() as bridge:
        for timeout in (math.inf, -math.inf, math.nan):
            with pytest.raises(ValueError, match="timeout"):
                bridge.send_task("test.echo", [1], queue=QUEUE, timeout=timeout)
            with pytest.raises(ValueError, match="timeout"):
                bridge.publish(QUEUE, b"", timeout=timeout)
            with pytest.raises(ValueError, match="timeout"):
                await anext(bridge.stream("test.echo", [1], queue=QUEUE, timeout=timeout))
        assert in_flight(bridge) == 0
        assert isinstance(await failure(bridge.send_task("test.echo", queue=QUEUE, timeout=-1)), DeadlineExceeded)


@pytest.mark.gen_test
async def test_only_calls_that_are_answered_before_it_is_too_late_wait_for_each_other(make: Make) -> None:
    async with make() as bridge:
        calls = [
            bridge.send_task("test.echo", [1], queue=QUEUE, **options)
            for options in ({}, {"lifetime": 60.0}, {"ignore_result": True})
        ]
        assert [call.queue for call in calls] == [QUEUE, "", ""]
        await asyncio.gather(*calls)


@pytest.mark.gen_test
async def test_each_caller_gets_its_own_answer(make: Make) -> None:
    async with make() as bridge:
        calls = [bridge.send_task("test.echo", [number], queue=QUEUE) for number in range(300)]
        assert in_flight(bridge) == 300
        assert await asyncio.gather(*calls) == list(range(300))


@pytest.mark.gen_test
async def test_each_call_has_a_random_uuid_of_its_own(make: Make) -> None:
    async with make() as bridge:
        calls = [bridge.send_task("test.echo", [1], queue=QUEUE) for _ in range(100)]
        await asyncio.gather(*calls)
    ids = {call.id for call in calls}
    assert len(ids) == 100
    assert {(UUID(each).version, UUID(each).variant, str(UUID(each)) == each) for each in ids} == {(4, RFC_4122, True)}


@pytest.mark.gen_test
async def test_a_callback_is_called_with_the_call(make: Make) -> None:
    async with make() as bridge:
        seen: list[Any] = []
        good = bridge.send_task("test.echo", ["yes"], queue=QUEUE)
        good.add_done_callback(lambda call: seen.append((call.id, call.result())))
        bad = bridge.send_task("test.fail", ["no"], queue=QUEUE)
        bad.add_done_callback(lambda call: seen.append((call.id, type(call.exception()))))
        await until(lambda: len(seen) == 2)
        assert sorted(seen, key=str) == sorted([(good.id, "yes"), (bad.id, TaskFailed)], key=str)


@pytest.mark.gen_test
async def test_a_task_that_raises_fails_its_call_with_data(make: Make) -> None:
    async with make() as bridge:
        error = await failure(bridge.send_task("test.fail", ["the reason"], queue=QUEUE))
        assert isinstance(error, TaskFailed)
        assert (error.status, error.state, error.exception) == (500, "FAILURE", "LookupError")
        assert "the reason" in error.message


@pytest.mark.gen_test
async def test_a_call_without_an_answer_fails_at_its_deadline_and_leaves(make: Make) -> None:
    async with make() as bridge:
        error = await failure(bridge.send_task("test.sleep", [30], queue=QUEUE, timeout=0.2))
        assert isinstance(error, DeadlineExceeded)
        assert error.status == 504
        assert in_flight(bridge) == 0


@pytest.mark.gen_test
async def test_a_deadline_in_the_past_sends_nothing(make: Make) -> None:
    async with make() as bridge:
        call = bridge.send_task("test.echo", [1], queue=QUEUE, timeout=0)
        assert call.done()
        assert isinstance(await failure(call), DeadlineExceeded)


@pytest.mark.gen_test
async def test_a_queue_that_is_not_there_is_an_error_at_once(make: Make) -> None:
    async with make() as bridge:
        error = await failure(bridge.send_task("test.echo", [1], queue="no-such-queue"))
        assert isinstance(error, Unroutable)
        assert (error.status, in_flight(bridge)) == (503, 0)


@pytest.mark.gen_test
async def test_a_call_too_many_is_refused_and_the_others_are_answered(make: Make) -> None:
    async with make(max_in_flight=2) as bridge:
        calls = [bridge.send_task("test.echo", [number], queue=QUEUE) for number in range(3)]
        error = await failure(calls.pop())
        assert isinstance(error, Overloaded)
        assert (error.status, error.retry_after) == (503, 1.0)
        assert await asyncio.gather(*calls) == [0, 1]
        assert await bridge.send_task("test.echo", ["room again"], queue=QUEUE) == "room again"


@pytest.mark.gen_test
async def test_a_cancelled_call_leaves_the_table_at_once(make: Make) -> None:
    async with make() as bridge:
        call = bridge.send_task("test.sleep", [0.1], queue=QUEUE)
        assert call.cancel()
        assert (in_flight(bridge), call.cancelled(), call.cancel()) == (0, True, False)


@pytest.mark.gen_test
async def test_cancelling_whoever_awaits_a_call_cancels_the_call(make: Make) -> None:
    async with make() as bridge:

        async def wait() -> Any:
            return await bridge.send_task("test.sleep", [0.1], queue=QUEUE)

        task = asyncio.ensure_future(wait())
        await until(lambda: in_flight(bridge) == 1)
        task.cancel()
        await asyncio.wait([task])
        assert in_flight(bridge) == 0


@pytest.mark.gen_test
async def test_stopping_fails_what_is_in_flight_and_takes_nothing_new(make: Make) -> None:
    async with make() as bridge:
        calls = [bridge.send_task("test.sleep", [5], queue=QUEUE, idempotent=again) for again in (True, False)]
        for _ in range(2):
            await bridge.stop(drain=0)
        assert [type(await failure(call)) for call in calls] == [Stopped, OutcomeUnknown]
        error = await failure(bridge.send_task("test.echo", [1], queue=QUEUE))
        assert isinstance(error, Unavailable)
        assert (bridge.state, in_flight(bridge)) == ("stopped", 0)
