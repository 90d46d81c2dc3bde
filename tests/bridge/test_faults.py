"""Each fault of a broker in milliseconds: it does what the test says. tests/faults has the same at a real one."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from nowait.bridge import Bridge, Call
from nowait.errors import (
    Blocked,
    BridgeError,
    DeadlineExceeded,
    Disconnected,
    MessageTooLarge,
    OutcomeUnknown,
    Refused,
    Stopped,
    Unroutable,
)
from nowait.link.opener import Opened
from tests.bridge.conftest import until
from tests.bridge.scripted import ScriptedBroker, Session, scripted

pytestmark = pytest.mark.gen_test


async def sent(bridge: Bridge, broker: ScriptedBroker, count: int = 1, **options: object) -> list[Call]:
    """Calls whose messages have arrived at the broker."""
    before = len(broker.session.tasks)
    calls = [bridge.send_task("test.echo", [number], queue="tests", **options) for number in range(count)]
    await until(lambda: len(broker.session.tasks) == before + count)
    for call in calls:
        # Not every test awaits every call.
        call.add_done_callback(lambda call: call.cancelled() or call.exception())
    return calls


async def confirmed(bridge: Bridge, broker: ScriptedBroker, count: int = 1, **options: object) -> list[Call]:
    """Calls whose messages the broker has confirmed."""
    calls = await sent(bridge, broker, count, **options)
    broker.session.confirm(broker.session.tasks[-1].tag, multiple=True)
    await until(lambda: all(call.confirmed for call in calls))
    return calls


async def reconnected(bridge: Bridge, broker: ScriptedBroker) -> Session:
    """The next link, once its probe has come back."""
    count = len(broker.sessions)
    await until(lambda: len(broker.sessions) > count and bridge.state == "connected")
    return broker.session


async def test_a_call_is_answered() -> None:
    async with scripted() as (bridge, broker):
        (call,) = await confirmed(bridge, broker)
        broker.session.reply(broker.session.tasks[0], "there")
        assert await call == "there"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (lambda session: session.nack(session.tasks[0].tag), Refused),
        (lambda session: session.return_unroutable(session.tasks[0]), Unroutable),
        (lambda session: session.close_connection(), OutcomeUnknown),
        (lambda session: session.hang_up(), OutcomeUnknown),
    ],
    ids=["nack", "return", "close", "hang up"],
)
async def test_what_the_broker_does_with_a_message_is_its_calls_error(
    fault: Callable[[Session], None], error: type[BridgeError]
) -> None:
    async with scripted() as (bridge, broker):
        (call,) = await sent(bridge, broker)
        fault(broker.session)
        with pytest.raises(error):
            await call


async def test_a_lost_connection_resends_only_what_may_be_lost() -> None:
    async with scripted(probes=False) as (bridge, broker):
        first = last = broker.session
        await until(lambda: len(first.published) == 1)
        first.return_probe()
        safe = await confirmed(bridge, broker, 500, idempotent=True)
        (risky,) = await sent(bridge, broker, idempotent=True)
        for _ in range(10):
            broker.session.hang_up()
            session = await reconnected(bridge, broker)
            await until(lambda: len(session.published) == 1)
            session.return_probe(last)
            session.return_probe()
            last = session
            await until(lambda: len(session.tasks) == 1)
            assert session.tasks[0].id == risky.id
        assert bridge.statistics().resent == 10
        for call, message in zip(safe, first.tasks):
            broker.session.reply(message, call.id)
            assert await call == call.id


async def test_a_broker_that_restarted_gets_confirmed_calls_again() -> None:
    async with scripted() as (bridge, broker):
        calls = await confirmed(bridge, broker, 3, idempotent=True)
        broker.session.hang_up()
        session = await reconnected(bridge, broker)
        await until(lambda: [message.id for message in session.tasks] == [call.id for call in calls])


async def test_a_call_that_cannot_be_sent_again_fails_at_once_and_the_others_are_sent() -> None:
    async with scripted() as (bridge, broker):
        changed: list[object] = [0]
        broken = bridge.send_task("test.echo", changed, queue="tests", idempotent=True)
        await until(lambda: len(broker.session.tasks) == 1)
        (other,) = await sent(bridge, broker, idempotent=True)
        changed[0] = object()
        broker.session.hang_up()
        session = await reconnected(bridge, broker)
        with pytest.raises(TypeError):
            await broken
        await until(lambda: [message.id for message in session.tasks] == [other.id])
        assert bridge.statistics().in_flight == 1


async def test_connections_that_are_open_only_after_the_bridge_has_stopped_are_closed() -> None:
    async with scripted() as (bridge, broker):
        opening, stopped = threading.Event(), threading.Event()
        late = Session(probes=False)

        def open_late() -> Opened:
            opening.set()
            stopped.wait()
            return late.opened

        broker.open = open_late  # type: ignore[method-assign]
        broker.session.hang_up()
        await until(opening.is_set)
        await bridge.stop(drain=0)
        stopped.set()
        await until(lambda: late.opened.consumer.sock.fileno() == late.opened.publisher.sock.fileno() == -1)
        late.hang_up()


async def test_a_call_that_is_sent_on_a_new_link_is_published_once() -> None:
    async with scripted(probes=False) as (bridge, broker):
        broker.session.hang_up()
        session = await reconnected(bridge, broker)
        await sent(bridge, broker, idempotent=True)
        session.return_probe()
        await sent(bridge, broker)
        assert len(session.tasks) == 2


@pytest.mark.parametrize("code", [501, 505, 540])
async def test_a_message_by_which_the_broker_closes_the_connection_is_not_sent_again(code: int) -> None:
    async with scripted() as (bridge, broker):
        (call,) = await sent(bridge, broker, idempotent=True)
        broker.session.close_connection(code, "FRAME_ERROR")
        with pytest.raises(OutcomeUnknown, match="FRAME_ERROR"):
            await call
        session = await reconnected(bridge, broker)
        await sent(bridge, broker)
        assert len(session.tasks) == 1


async def test_headers_that_do_not_fit_into_a_frame_never_reach_the_broker() -> None:
    async with scripted() as (bridge, broker):
        with pytest.raises(MessageTooLarge) as caught:
            await bridge.send_task("test.echo", queue="tests", headers={"large": "x" * 200_000})
        assert caught.value.status == 413
        assert (broker.session.tasks, bridge.statistics().connects) == ([], 1)


async def test_arguments_that_workers_would_refuse_are_not_sent() -> None:
    async with scripted(max_body=1000) as (bridge, broker):
        with pytest.raises(MessageTooLarge):
            await bridge.send_task("test.echo", ["x" * 1000], queue="tests")
        assert broker.session.tasks == []


async def test_calls_are_refused_while_the_broker_is_blocked_and_taken_afterwards() -> None:
    async with scripted() as (bridge, broker):
        broker.session.block()
        await until(lambda: bridge.state == "blocked")
        with pytest.raises(Blocked, match="low on memory"):
            await bridge.send_task("test.echo", queue="tests")
        broker.session.unblock()
        await until(lambda: bridge.state == "connected")
        await sent(bridge, broker)


async def test_a_broker_that_returns_no_probe_is_given_up() -> None:
    async with scripted(probes=False) as (bridge, broker):
        (call,) = await sent(bridge, broker)
        with pytest.raises(OutcomeUnknown, match="nothing received"):
            await call
        await reconnected(bridge, broker)


async def test_a_call_without_an_answer_ends_at_its_deadline_connected_or_not() -> None:
    async with scripted() as (bridge, broker):
        (early,) = await sent(bridge, broker, timeout=0.1)
        with pytest.raises(DeadlineExceeded):
            await early
        (late,) = await confirmed(bridge, broker, timeout=0.3)
        broker.down = True
        broker.session.hang_up()
        await until(lambda: bridge.state == "connecting")
        with pytest.raises(DeadlineExceeded):
            await late


@pytest.mark.parametrize("failure", [RuntimeError("can't start new thread"), ValueError("bad URL"), OSError("no")])
async def test_nothing_unexpected_ends_reconnecting(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async with scripted() as (bridge, broker):
        broker.failure = failure
        broker.session.hang_up()
        await until(lambda: "broker connection failed" in caplog.text)
        assert str(failure) in caplog.text
        with pytest.raises(Disconnected):
            await bridge.send_task("test.echo", queue="tests")
        broker.failure = None
        await reconnected(bridge, broker)
        await sent(bridge, broker)


async def test_an_error_of_the_bridges_own_is_logged_and_the_connection_made_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted() as (bridge, broker):
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(bridge._calls, "connected", lambda now: 1 / 0)
            broker.session.hang_up()
            await until(lambda: "broker connection given up" in caplog.text)
        assert "ZeroDivisionError" in caplog.text
        await until(lambda: bridge.state == "connected" and len(broker.session.published) > 0)
        await sent(bridge, broker)


async def test_declarations_hold_up_no_link_and_end_with_the_bridge() -> None:
    go = threading.Event()
    async with scripted() as (bridge, broker):
        bridge._declarations.do = lambda _act: go.wait(20)  # type: ignore[method-assign,assignment,return-value]
        declared = [asyncio.ensure_future(bridge.declare("q", {})) for _ in range(2)]
        await asyncio.sleep(0)
        broker.session.hang_up()
        await until(lambda: bridge.state != "connected")
        await until(lambda: bridge.state == "connected")
        await bridge.stop(drain=0)
        go.set()
        found = await asyncio.gather(*declared, return_exceptions=True)
        assert [type(error) for error in found] == [type(None), Stopped]


async def test_stopping_waits_for_calls_in_flight_and_no_longer() -> None:
    async with scripted() as (bridge, broker):
        (call,) = await confirmed(bridge, broker)
        stopping = asyncio.ensure_future(bridge.stop(drain=30))
        await asyncio.sleep(0)
        broker.session.reply(broker.session.tasks[0], "in time")
        await asyncio.wait_for(stopping, 10)
        assert await call == "in time"
