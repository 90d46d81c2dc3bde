"""Publish and subscribe while clients leave, a server dies and the broker dies."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.services import Services
from tests.conftest import Start
from tests.faults.figures import Figures
from tests.faults.messages import Publisher, Subscriber, servers

pytestmark = [pytest.mark.gen_test(timeout=1800), pytest.mark.timeout(1800)]


async def test_each_subscriber_gets_each_message_once_and_in_order(
    services: Services, start: Start, scale: float, figures: Figures, tmp_path: Path
) -> None:
    seconds, count, rate = max(12.0, 60 * scale), max(50, round(500 * min(scale, 1))), 200 if scale else 100
    broker = Broker(tmp_path / "broker")
    try:
        broker.start()
        broker.wait_ready()
        with servers(start, broker, services.database_url) as pair:
            subscribers = [Subscriber(pair.ports) for _ in range(count)]
            publisher = Publisher(pair.ports, "/topics/news")
            await asyncio.wait_for(asyncio.gather(*(each.began.wait() for each in subscribers)), 60)

            async def faults() -> None:
                await asyncio.sleep(seconds / 4)
                pair.kill(0)
                await asyncio.sleep(1)
                pair.restart(0)
                await asyncio.sleep(seconds / 4)
                broker.process.kill()
                await asyncio.to_thread(broker.start)
                await asyncio.to_thread(broker.wait_ready)

            async def leave() -> None:
                while True:
                    await asyncio.sleep(10 / count)
                    random.choice(subscribers).leave()

            others = [asyncio.create_task(faults()), asyncio.create_task(leave())]
            sending: list[asyncio.Task[None]] = []
            began = time.monotonic()
            for number in range(round(seconds * rate)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                sending.append(asyncio.create_task(publisher.send(number)))
            await asyncio.wait_for(asyncio.gather(*sending), 120)
            await others[0]
            others[1].cancel()
            sent = time.monotonic()
            confirmed = set(publisher.confirmed)
            while any(not confirmed <= set(each.numbers) for each in subscribers) and time.monotonic() < sent + 120:
                await asyncio.sleep(0.2)
            behind = time.monotonic() - sent
            missing = [(each, confirmed - set(each.numbers)) for each in subscribers]
            lost = {repr(each): sorted(numbers) for each, numbers in missing if numbers}
            twice = sum(len(each.numbers) - len(set(each.numbers)) for each in subscribers)
            figures.remark(
                f"{count} subscribers, {rate} messages/s for {seconds:g} s, a server and the broker killed",
                confirmed=len(confirmed), unknown=len(publisher.unknown), refused=publisher.retried,
                came=sum(each.comes for each in subscribers), lost=sum(map(len, lost.values())), twice=twice,
                notices=sum(len(each.notices) for each in subscribers), behind=behind,
            )  # fmt: skip
            for each in subscribers:
                each.stop()
            publisher.close()
            assert (lost, twice) == ({}, 0)
            assert not [each.notices for each in subscribers if each.notices]
            assert sum(each.comes for each in subscribers) > count
            # All have got the same, in the same order: that of the log.
            assert all(each.numbers == subscribers[0].numbers for each in subscribers)
    finally:
        broker.stop()
