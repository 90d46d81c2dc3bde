"""A bounded queue between producers that are refused and consumers that are killed."""

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from tornado.websocket import WebSocketClientConnection, websocket_connect

from deploy.local.broker import Broker
from deploy.local.services import Services
from tests.conftest import Start
from tests.faults.figures import Figures
from tests.faults.messages import Publisher, servers

pytestmark = [pytest.mark.gen_test(timeout=1800), pytest.mark.timeout(1800)]

BOUND = 100
CONSUMERS = 5


class Worker:
    """A consumer that acknowledges what it gets, until it is killed with a message in its hands.

    Args:
        acknowledged: the numbers that were acknowledged, by any of them.
        handed_back: when a message was lost with its consumer, by its number.
        waits: seconds until another one had such a message.
    """

    def __init__(
        self, port: int, acknowledged: list[int], handed_back: dict[int, float], waits: list[float]
    ) -> None:
        self._url = f"ws://127.0.0.1:{port}/queues/parcels/consumer"
        self._acknowledged = acknowledged
        self._handed_back = handed_back
        self._waits = waits
        self._to_die = False
        self.task = asyncio.create_task(self._work())

    def kill(self) -> None:
        """Have it die with the next message that it gets."""
        self._to_die = True

    async def _work(self) -> None:
        socket: WebSocketClientConnection = await websocket_connect(self._url)
        try:
            await self._consume(socket)
        finally:
            socket.close()

    async def _consume(self, socket: WebSocketClientConnection) -> None:
        while (text := await socket.read_message()) is not None:
            message: dict[str, Any] = json.loads(text)
            number, now = message["data"], time.monotonic()
            if (lost := self._handed_back.pop(number, None)) is not None:
                assert message["redelivered"]
                self._waits.append(now - lost)
            if self._to_die:
                self._handed_back[number] = now
                socket.protocol._abort()  # as a process that is killed
                return
            await socket.write_message(json.dumps({"ack": message["tag"]}))
            self._acknowledged.append(number)


async def test_each_message_is_acknowledged_once_and_the_queue_keeps_its_bound(
    services: Services, start: Start, scale: float, figures: Figures, tmp_path: Path
) -> None:
    count = max(1000, round(10_000 * scale))
    broker = Broker(tmp_path / "broker")
    acknowledged: list[int] = []
    handed_back: dict[int, float] = {}
    waits: list[float] = []
    deepest = killed = 0
    try:
        broker.start()
        broker.wait_ready()
        with servers(start, broker, services.database_url) as pair:
            publisher = Publisher(pair.ports, "/queues/parcels/messages", "Prefer: wait=2\r\n")
            numbers = iter(range(count))

            async def produce() -> None:
                for number in numbers:
                    await publisher.send(number)

            def depth() -> int:
                return int(channel.queue_declare("parcels", passive=True).message_count)

            producing = asyncio.gather(*(produce() for _ in range(20)))
            # More than it takes fill it before anybody consumes.
            await asyncio.sleep(1)
            with Connection(broker.url) as connection:
                channel: Any = connection.default_channel
                assert depth() == BOUND
                workers = [Worker(port, acknowledged, handed_back, waits) for port in pair.ports * 3][:CONSUMERS]
                ended = time.monotonic() + 600
                turn = time.monotonic() + 0.2
                while len(acknowledged) < count and time.monotonic() < ended:
                    await asyncio.sleep(0.02)
                    deepest = max(deepest, depth())
                    if time.monotonic() > turn and count - len(acknowledged) > 50:
                        turn += 1
                        index = random.randrange(CONSUMERS)
                        workers[index].kill()
                        await workers[index].task
                        killed += 1
                        workers[index] = Worker(random.choice(pair.ports), acknowledged, handed_back, waits)
                await producing
                left = depth()
            figures.remark(
                f"{count} messages through a queue of {BOUND}, {CONSUMERS} consumers",
                killed=killed, acknowledged=len(acknowledged), twice=len(acknowledged) - len(set(acknowledged)),
                refused=publisher.retried, unknown=len(publisher.unknown), deepest=deepest,
                handed_back_within=max(waits, default=0.0),
            )  # fmt: skip
            publisher.close()
            assert sorted(acknowledged) == list(range(count))
            assert (left, len(handed_back), publisher.unknown) == (0, 0, [])
            # The bound is for producers: what the one that is killed has held goes back on top.
            assert deepest <= BOUND + 1 and killed > 0 and len(waits) == killed
            # It is there once the server has seen its connection end; the next free consumer has it.
            assert max(waits) < 1.0
            for worker in workers:
                worker.task.cancel()
            await asyncio.gather(*(worker.task for worker in workers), return_exceptions=True)
    finally:
        broker.stop()
