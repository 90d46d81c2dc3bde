"""Messages that are no tasks, at a broker that freezes, or ends those who do not acknowledge."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from nowait.bridge import Bridge
from nowait.errors import BridgeError, OutcomeUnknown, Refused
from tests.bridge.conftest import running, until
from tests.faults.conftest import Site, control

pytestmark = [pytest.mark.gen_test(timeout=600), pytest.mark.timeout(600)]

DETECTION = 2.5  # seconds
STREAM = {"x-queue-type": "stream"}
SET = "application:set_env(rabbit, consumer_timeout, {}), application:set_env(rabbit, channel_tick_interval, {})."


@asynccontextmanager
async def impatient(site: Site) -> AsyncIterator[None]:
    """Channels that are opened meanwhile are ended when nothing is acknowledged for 2 s, in place of half an hour."""
    await control(site.broker, "eval", SET.format(2000, 500))
    try:
        yield
    finally:
        await control(site.broker, "eval", SET.format(1_800_000, 60_000))


async def test_a_stream_that_is_quiet_for_longer_than_a_consumer_may_be_is_read_on(bare_site: Site, vhost: str) -> None:
    async with impatient(bare_site), running(vhost) as bridge:
        await bridge.declare("quiet", STREAM)
        await bridge.declare("held", {"x-queue-type": "quorum"})
        await bridge.publish("quiet", b"0")
        await bridge.publish("held", b"0")
        async with aclosing(bridge.subscribe("quiet", offset="first")) as messages:
            assert (await anext(messages)).body == b"0"
            next_one = asyncio.ensure_future(anext(messages))
            # Whoever came later and does not acknowledge is ended: the broker has looked at both.
            with pytest.raises(Refused, match="timeout"):
                async with bridge.consume("held") as consumer:
                    await consumer.next()
                    await asyncio.wait_for(consumer.next(), 60)
            await bridge.publish("quiet", b"1")
            assert (await asyncio.wait_for(next_one, 20)).body == b"1"


async def test_a_message_under_way_to_a_broker_that_freezes_is_unknown_as_soon_as_that_is_found(
    bare_site: Site, vhost: str
) -> None:
    async with running(vhost) as bridge:
        await bridge.declare("q", {})
        await bridge.publish("q", b"{}")
        bare_site.broker.process.signal(signal.SIGSTOP)
        try:
            frozen = time.monotonic()
            with pytest.raises(OutcomeUnknown):
                await bridge.publish("q", b"{}", timeout=60)
            detected = time.monotonic() - frozen
        finally:
            bare_site.broker.process.signal(signal.SIGCONT)
        assert detected < DETECTION
        await until(lambda: bridge.state == "connected")
        assert await _published(bridge) is None


async def _published(bridge: Bridge) -> None:
    """Return once a message is confirmed."""
    ended = time.monotonic() + 60
    while time.monotonic() < ended:
        try:
            return await bridge.publish("q", b"{}", timeout=5)
        except BridgeError:
            await asyncio.sleep(0.05)
    raise AssertionError("no message is confirmed")
