"""One stream between the bridge and its reader, message by message: no broker."""

import asyncio
import gc
import time
from typing import Any

import pytest

from nowait.amqp.methods import Delivery
from nowait.bridge import streams
from nowait.bridge.parts import Parts
from nowait.bridge.streams import _Stream
from nowait.budget import Budget
from nowait.errors import OutcomeUnknown
from nowait.messages.part import PartId


def part(number: int, **values: Any) -> Delivery:
    return Delivery(number, "", "", "", (b"x",), 1, properties={"message_id": str(PartId("r", number))}, **values)


def stream() -> _Stream:
    link: Any = None
    return _Stream(link, Parts())


@pytest.mark.gen_test
async def test_what_has_come_while_the_loop_was_held_up_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_SILENCE", 0.05)
    opened, loop = stream(), asyncio.get_running_loop()
    opened.received(part(0))
    reading = asyncio.create_task(opened.next())
    for _ in range(3):
        await asyncio.sleep(0)
    loop.call_soon(opened.received, part(1))
    time.sleep(0.1)
    message = await reading
    assert message is not None and message.tag == 1
    with pytest.raises(OutcomeUnknown, match="nothing came"):
        await opened.next()


@pytest.mark.gen_test
async def test_a_part_that_fails_its_stream_gives_its_bytes_back_at_once() -> None:
    gc.collect()
    gc.disable()
    try:
        opened, budget = stream(), Budget(100, 100)
        opened.received(part(1, share=budget.take(10)))
        assert budget.used == 10
        opened.received(part(3, share=budget.take(20)))
        assert budget.used == 0
        with pytest.raises(OutcomeUnknown, match="missing"):
            await opened.next()
    finally:
        gc.enable()
