"""All the load of a soak, and what became of it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tests.faults.jobs.clients import Clients
from tests.faults.jobs.invariants import broken
from tests.faults.jobs.ticks import broken as broken_ticks
from tests.faults.messages import Publisher, Subscriber
from tests.soak.consumer import Consumer
from tests.soak.posts import Posts
from tests.soak.queries import Queries
from tests.soak.stack import FILLING, KEPT, SCHEDULE, SoakStack
from tests.soak.work import Acknowledged, Work, settle_jobs, settle_queries, settle_queue, settle_topic

QUERIES, JOBS, MESSAGES = 20.0, 5.0, 5.0  # a second, of messages to the topic and as many to the queue
SUBSCRIBERS = 2  # of each server, and one that comes to any
_LEAVES = 20.0  # seconds until one of the subscribers leaves, and comes again
_DONE = 180.0  # seconds behind the end of the load in which all is to be done
_FILL = 10_500  # messages, and queries: more than a server remembers of either
_FILLERS = 20
_IN_TIME = timedelta(seconds=10)  # that a tick has, on a busy machine


class Load:
    """Queries, jobs, messages of a topic and of a queue, and a schedule.

    Args:
        stack: which has begun.
        seed: of what is drawn.
    """

    def __init__(self, stack: SoakStack, seed: int) -> None:
        self._stack = stack
        self._random = random.Random(seed)
        self._queries = Queries(stack.urls, stack.was_down, seed, QUERIES)
        # From the first on, a tenth of the rate.
        self._jobs = Clients(stack.urls, seed, 10 * JOBS)
        self._news = Posts(stack.ports, "/topics/news", "", MESSAGES)
        self._parcels = Posts(stack.ports, "/queues/parcels/messages", "Prefer: wait=2\r\n", MESSAGES)
        self._acknowledged: list[Acknowledged] = []
        self._subscribers: list[Subscriber] = []
        self._consumers: list[Consumer] = []
        self._problems: list[str] = []
        self.again = 0

    @property
    def asked(self) -> int:
        """Queries so far."""
        return self._queries.work.asked

    async def begin(self, fill: bool) -> None:
        """Have all clients come; with `fill`, until the first server remembers as much as it ever does."""
        # Most stay with their server, so that its descriptors can be compared.
        self._subscribers = [Subscriber(self._stack.ports)]
        self._subscribers += [Subscriber([port]) for port in self._stack.ports * SUBSCRIBERS]
        self._consumers = [Consumer(url, self._acknowledged) for url in self._stack.urls]
        await asyncio.wait_for(asyncio.gather(*(each.began.wait() for each in self._subscribers)), 60)
        if fill:
            await self._fill()

    async def run(self, over: "asyncio.Future[Any]") -> None:
        """Go on until it is over; returns once all is done, or should have been."""
        leaving = asyncio.create_task(self._leave())
        kinds = (self._queries.run(over), self._jobs.run(0, over), self._news.run(over), self._parcels.run(over))
        for error in await asyncio.gather(*kinds, return_exceptions=True):
            if isinstance(error, BaseException):
                self._problems.append(f"the load ended: {error!r}")
        leaving.cancel()
        # One of its jobs that began behind the last look would be taken for one that does not end.
        await self._stack.pause()
        await self._until(self._is_done)

    async def end(self) -> None:
        """Have all clients leave."""
        for subscriber in self._subscribers:
            subscriber.stop()
        await asyncio.gather(*(consumer.stop() for consumer in self._consumers))

    async def settle(self, kills: int) -> list[Work]:
        """What became of all of it; `kills` is how often the second server was killed."""
        queries = self._queries.work
        settle_queries(queries, self._queries.answered, self._queries.refused, await self._stack.runs())
        queries.broken += self._problems
        answers = self._jobs.answers
        answers.ids |= {f"{SCHEDULE} {job}": job for job in await self._stack.scheduled()}
        books = await asyncio.to_thread(self._stack.journal.read)
        jobs = settle_jobs(books, answers)
        jobs.broken += broken(books, answers, database_lost=True)
        topic = self._news.work("topic", kills)
        settle_topic(topic, self._news.confirmed, self._news.unknown, [each.numbers for each in self._subscribers])
        topic.broken += [f"a subscriber got {notice!r}" for each in self._subscribers for notice in each.notices]
        queue = self._parcels.work("queue", kills)
        self.again = settle_queue(queue, self._parcels.confirmed, self._parcels.unknown, self._acknowledged)
        return [queries, jobs, topic, queue, await asyncio.to_thread(self._settle_ticks)]

    def _settle_ticks(self) -> Work:
        now = self._stack.ticks.now()
        editions, made = self._stack.ticks.read()
        found = broken_ticks(editions, made, self._stack.outages, now - 2 * _IN_TIME, _IN_TIME)
        return Work("ticks", asked=len(made), done=len(made), broken=found)

    async def _fill(self) -> None:
        publisher = Publisher([self._stack.ports[KEPT]], f"/topics/{FILLING}")
        await self._each_of(publisher.send)
        publisher.close()
        url = self._stack.urls[KEPT]
        client: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=_FILLERS)

        async def query(number: int) -> None:
            await client.fetch(f"{url}/queries/look?id={FILLING}-{number}", raise_error=False)

        await self._each_of(query)

    async def _each_of(self, fill: Callable[[int], Awaitable[Any]]) -> None:
        numbers = iter(range(_FILL))

        async def go_on() -> None:
            for number in numbers:
                await fill(number)

        await asyncio.gather(*(go_on() for _ in range(_FILLERS)))

    async def _leave(self) -> None:
        while True:
            await asyncio.sleep(_LEAVES)
            self._random.choice(self._subscribers).leave()

    async def _is_done(self) -> bool:
        acknowledged = {each.number for each in self._acknowledged}
        topic = set(self._news.confirmed)
        return (
            await asyncio.to_thread(self._stack.journal.unfinished) == 0
            and all(topic <= set(each.numbers) for each in self._subscribers)
            and set(self._parcels.confirmed) <= acknowledged
        )

    async def _until(self, happened: Callable[[], Awaitable[bool]]) -> None:
        deadline = asyncio.get_running_loop().time() + _DONE
        while not await happened() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.5)
