"""Messages that are no tasks, one event of the broker after the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from nowait.bridge.call import Call
from nowait.bridge.consumers import Consumers
from nowait.bridge.publisher import Publisher
from nowait.errors import (
    Blocked,
    BridgeError,
    DeadlineExceeded,
    Disconnected,
    OutcomeUnknown,
    Overloaded,
    QueueFull,
    Refused,
    Stopped,
    Unroutable,
)
from nowait.link.opener import ConnectionLost
from nowait.messages.outbound import OutboundMessage
from tests.bridge.conftest import until
from tests.bridge.scripted import SharedEnd, _method

pytestmark = pytest.mark.gen_test
NO_PROPERTIES = b"\x00\x00"


class Publishing:
    """A publisher, and the broker's end of its connection."""

    def __init__(self, limit: int = 100) -> None:
        self.broker = SharedEnd()
        self.ended = 0
        self.publisher = Publisher(self.broker, limit, self._end)
        self._ids = map(str, count())

    def publish(self, exchange: str = "", key: str = "x", timeout: float = 30.0, bounded: bool = False) -> Call:
        deadline = asyncio.get_running_loop().time() + timeout
        call = Call(next(self._ids), deadline, False, self.publisher.abandon)
        call.bounded = bounded
        self.publisher.publish(call, OutboundMessage(exchange, key, NO_PROPERTIES, b"{}"))
        return call

    def _end(self) -> None:
        self.ended += 1


@asynccontextmanager
async def publishing(**options: Any) -> AsyncIterator[Publishing]:
    each = Publishing(**options)
    yield each
    await each.publisher.stop(0)
    each.broker.hang_up()


async def errors(*calls: Call) -> list[type[BaseException]]:
    found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)
    return [type(error) for error in found]


async def test_the_first_message_opens_the_connection_and_all_that_wait_leave_in_order() -> None:
    async with publishing() as p:
        calls = [p.publish() for _ in range(3)]
        await p.broker.published(2, 3)
        assert (p.broker.opens, p.publisher.unconfirmed, len(p.publisher)) == (1, 3, 3)
        p.broker.confirm(2, 2, multiple=True)
        assert await errors(*calls[:2]) == [type(None)] * 2
        p.broker.confirm(2, 3)
        assert (await calls[2], p.publisher.unconfirmed, len(p.publisher), p.ended) == (None, 0, 0, 3)


async def test_an_exchange_that_is_not_there_costs_what_goes_to_it_alone() -> None:
    async with publishing() as p:
        other = p.publish("")
        lost = [p.publish("gone") for _ in range(3)]
        await p.broker.published(3, 3)
        p.broker.close_channel(3, 404, "NOT_FOUND - no exchange")
        assert await errors(*lost) == [Unroutable] * 3
        p.broker.confirm(2, 1)
        assert (await other, p.broker.opens) == (None, 1)
        # The next one is published anew: somebody may have declared the exchange.
        await p.broker.arrived(3, 20, 41)
        again = p.publish("gone")
        await p.broker.published(3, 4)
        p.broker.confirm(3, 1)
        assert await again is None


@pytest.mark.parametrize(
    ("code", "confirmed", "pending", "expected"),
    [
        (403, False, 2, Refused),
        (406, False, 1, Refused),
        (406, False, 2, OutcomeUnknown),
        (404, True, 1, Unroutable),
        (404, True, 2, OutcomeUnknown),
    ],
)
async def test_where_the_broker_may_have_some_of_several_none_of_them_counts_as_refused(
    code: int, confirmed: bool, pending: int, expected: type[BridgeError]
) -> None:
    async with publishing() as p:
        if confirmed:
            first = p.publish("e")
            await p.broker.published(2)
            p.broker.confirm(2, 1)
            await first
        calls = [p.publish("e") for _ in range(pending)]
        await p.broker.published(2, pending + confirmed)
        p.broker.close_channel(2, code, "because")
        assert await errors(*calls) == [expected] * pending


async def test_a_lost_connection_leaves_what_was_under_way_unknown_and_is_opened_again() -> None:
    async with publishing() as p:
        calls = [p.publish("a"), p.publish("b")]
        await p.broker.published(3)
        p.broker.hang_up()
        assert await errors(*calls) == [OutcomeUnknown] * 2
        again = p.publish("a")
        await p.broker.published(2, 2)
        p.broker.confirm(2, 1)
        assert (await again, p.broker.opens) == (None, 2)


async def test_a_connection_that_is_given_up_is_as_one_that_is_lost() -> None:
    async with publishing() as p:
        call = p.publish()
        await p.broker.published(2)
        p.publisher.lose("the link was lost")
        assert await errors(call) == [OutcomeUnknown]


async def test_without_a_broker_nothing_is_sent() -> None:
    async with publishing() as p:
        p.broker.failure = ConnectionLost("no route")
        assert await errors(p.publish(), p.publish()) == [Disconnected] * 2
        assert p.broker.opens == 1


async def test_clients_that_come_again_at_once_have_the_broker_asked_a_few_times() -> None:
    async with publishing() as p:
        p.broker.failure = ConnectionLost("no route")
        tries = 0
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.0
        while loop.time() < end:
            await errors(p.publish())
            tries += 1
        assert 1 <= p.broker.opens == tries <= 8


async def test_a_connection_that_is_lost_as_soon_as_it_is_open_holds_up_nobody() -> None:
    async with publishing() as p:
        p.broker.leaves = True
        assert await errors(p.publish()) in ([Disconnected], [OutcomeUnknown])
        consumers = Consumers(p.broker, "consumers")
        with pytest.raises(Disconnected):
            await asyncio.wait_for(_consume(consumers), 20)
        await consumers.stop(0)


async def _consume(consumers: Consumers) -> None:
    async with consumers.consume("q", 1):
        pass


async def test_channels_are_as_many_as_the_broker_allows() -> None:
    async with publishing() as p:
        p.broker.channel_max = 3
        calls = [p.publish(exchange) for exchange in ("a", "b", "c", "a")]
        await p.broker.published(2, 2)
        await p.broker.published(3)
        p.broker.confirm(2, 2, multiple=True)
        p.broker.confirm(3, 1)
        assert await errors(*calls) == [type(None), type(None), Overloaded, type(None)]


async def test_refusals_are_those_of_their_messages() -> None:
    async with publishing() as p:
        taken, full, refused, returned = p.publish(), p.publish(bounded=True), p.publish(), p.publish()
        await p.broker.published(2, 4)
        p.broker.confirm(2, 1)
        p.broker.confirm(2, 2, acked=False)
        p.broker.confirm(2, 3, acked=False)
        p.broker.return_unroutable(2, returned.id)
        p.broker.confirm(2, 4)
        assert await errors(taken, full, refused, returned) == [type(None), QueueFull, Refused, Unroutable]


@pytest.mark.parametrize("bounded", [True, False])
async def test_a_channel_that_has_refused_its_first_message_is_left_unless_the_queue_may_be_full(bounded: bool) -> None:
    async with publishing() as p:
        call = p.publish(bounded=bounded)
        await p.broker.published(2)
        p.broker.confirm(2, 1, acked=False)
        await errors(call)
        again = p.publish(bounded=bounded)
        await (p.broker.published(2, 2) if bounded else p.broker.published(3))
        again.cancel()
        assert p.broker.methods.count((2, 20, 40)) == (not bounded)


async def test_what_is_not_to_be_sent_is_refused_at_once() -> None:
    async with publishing(limit=1) as p:
        with pytest.raises(DeadlineExceeded):
            p.publish(timeout=0)
        call = p.publish()
        with pytest.raises(Overloaded):
            p.publish()
        await p.broker.published(2)
        call.cancel()
        assert len(p.publisher) == 0
        with pytest.raises(ValueError):
            p.publish(key="x" * 256)
        p.broker.send(_method(10, 60, "s", "low on memory", channel=0))
        await until(lambda: "low on memory" in str(_blocked(p)))


def _blocked(p: Publishing) -> Blocked | None:
    """Why a message is refused; one that is not is taken back."""
    try:
        p.publish().cancel()
    except Blocked as error:
        return error
    return None


async def test_a_message_that_is_not_confirmed_ends_with_its_deadline() -> None:
    async with publishing() as p:
        call = p.publish(timeout=0.2)
        await p.broker.published(2)
        assert await errors(call) == [DeadlineExceeded]
        p.broker.confirm(2, 1)
        other = p.publish()
        await p.broker.published(2, 2)
        p.broker.confirm(2, 2)
        assert await other is None


async def test_what_a_broker_never_confirms_is_not_kept_for_ever() -> None:
    async with publishing() as p:
        first = p.publish()
        await p.broker.published(2)
        for _ in range(3):
            assert await errors(p.publish(timeout=0.1)) == [DeadlineExceeded]
        await p.broker.published(2, 4)
        # Behind one that has its time yet, in their order.
        assert p.publisher.unconfirmed == 4
        p.broker.confirm(2, 1)
        assert await first is None
        assert await errors(p.publish(timeout=0.1)) == [DeadlineExceeded]
        await until(lambda: p.publisher.unconfirmed == 0)
        other = p.publish()
        await p.broker.published(2, 6)
        p.broker.confirm(2, 6, multiple=True)
        assert await other is None


async def test_messages_that_are_kept_no_more_may_be_those_that_the_broker_refuses() -> None:
    async with publishing() as p:
        late = p.publish(timeout=0.3)
        await p.broker.published(2)
        assert await errors(late) == [DeadlineExceeded]
        assert p.publisher.unconfirmed == 0
        other = p.publish()
        await p.broker.published(2, 2)
        p.broker.close_channel(2, 406, "PRECONDITION_FAILED")
        assert await errors(other) == [OutcomeUnknown]
    async with publishing() as p:
        late = p.publish(timeout=0.3)
        await p.broker.published(2)
        assert await errors(late) == [DeadlineExceeded]
        first, other = p.publish(), p.publish()
        await p.broker.published(2, 3)
        p.broker.confirm(2, 2)
        assert await first is None
        p.broker.close_channel(2, 406, "PRECONDITION_FAILED")
        assert await errors(other) == [Refused]


async def test_whatever_keeps_a_connection_from_being_opened_the_next_message_opens_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with publishing() as p:
        p.broker.failure = RuntimeError("can't start new thread")
        assert await errors(p.publish()) == [Disconnected]
        assert "the connection of the messages could not be opened" in caplog.text
        p.broker.failure = None
        call = p.publish()
        await p.broker.published(2)
        p.broker.confirm(2, 1)
        assert await call is None


async def test_a_publisher_that_stops_ends_all() -> None:
    async with publishing() as p:
        sent = p.publish()
        await p.broker.published(2)
        await p.publisher.stop(0)
        late = p.publish()
        assert await errors(sent, late) == [OutcomeUnknown, Stopped]
    async with publishing() as p:
        waiting = p.publish()
        await p.publisher.stop(0)
        assert await errors(waiting) == [Stopped]
