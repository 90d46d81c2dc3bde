"""The log of all topics: published to, and read once for all subscribers of this process.

What comes is in memory for a while, and each subscriber takes it from there, from where it is. One that is further back
gets what it has missed from the stream, by a reader of its own, until it is within what is in memory.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from nowait import background
from nowait.bridge.call import new_id
from nowait.errors import BridgeError, Disconnected
from nowait.messages.stream import StreamMessage
from server.topics.event import Gap, Item, Position, Reset, event_of, topic_of
from server.topics.ring import Ring
from server.topics.stream import MARK_TIMEOUT, TopicStream
from server.topics.subscriber import Subscriber

log = logging.getLogger(__name__)

# Enough for those who come from a server that has stopped: each reader of its own costs as much as the one of all.
_RING_COUNT, _RING_BYTES = 10_000, 16 * 1024 * 1024
_BACK = 2000  # messages before the end of the stream with which the first subscriber has it read
_MAX_TAKEN = 64 * 1024  # bytes of documents that a subscriber takes at once, about
# Seconds between two times that a subscriber takes what has come: it is one write, and one packet.
_PACE = 0.05
_CATCH_UPS = 4  # readers of the stream beside that of all
_CATCH_UP_TIME = 30.0  # seconds for each, after which another one has its turn
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 2.0  # seconds between tries to read
_LAG = 0.2  # seconds in which the reader of this process gets to where another one's is
_TURN = 64 * 1024  # bytes of messages that are read before others on the loop have their turn


class TooManySubscribers(Exception):
    """As many subscribe as may."""


class TopicLog:
    """The topics of one server process.

    Args:
        stream: has their messages.
        topics: their names; messages of others are left out.
        limit: of subscribers at once.

    Attributes:
        closed: the server stops: nobody is to subscribe any more.
    """

    def __init__(self, stream: TopicStream, topics: frozenset[str], limit: int) -> None:
        self._stream = stream
        self._topics = topics
        self._limit = limit
        self._ring = Ring(_RING_COUNT, _RING_BYTES)
        self._newest: StreamMessage | None = None  # of those that were read for all
        self._subscribers: set[Subscriber] = set()
        self._reading: asyncio.Task[None] | None = None
        self._live = asyncio.Event()  # the stream is read up to its end
        self._marks: dict[str, asyncio.Future[None]] = {}  # that are to be read, by their ids
        self._marking = asyncio.Lock()
        self._marked = -1.0  # when the newest mark that was read has been written
        self._turns = asyncio.Semaphore(_CATCH_UPS)
        self._closing = asyncio.Event()

    def __len__(self) -> int:
        """Subscribers."""
        return len(self._subscribers)

    def __repr__(self) -> str:
        return f"<TopicLog {len(self)} subscribers, {self._ring}>"

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    async def publish(self, topic: str, body: bytes, timeout: float) -> str:
        """Append a message; returns its id once the broker has it. Raises BridgeError, which may be OutcomeUnknown.

        Args:
            topic: its topic.
            body: JSON, on one line.
            timeout: seconds that it may take.
        """
        return await self._stream.publish(topic, body, timeout)

    @asynccontextmanager
    async def subscribe(
        self, topics: frozenset[str], after: int | None, silence: float
    ) -> AsyncIterator[AsyncGenerator[Sequence[Item], None]]:
        """Subscribe for as long as the block lasts. Raises TooManySubscribers.

        Args:
            topics: to these.
            after: behind this offset; None for what is published from now on.
            silence: seconds without anything to take, after which it takes nothing.

        Gives what the subscriber is to get, a few items at a time, until the server stops.
        """
        if len(self) >= self._limit:
            raise TooManySubscribers(f"{self._limit} subscribers")
        subscriber = Subscriber(topics, after)
        self._subscribers.add(subscriber)
        if self._reading is None and not self.closed:
            self._reading = background.begin(self._keep_reading(), "topic log")
        try:
            async with aclosing(self._items(subscriber, silence)) as items:
                yield items
        finally:
            self._subscribers.discard(subscriber)

    def close(self) -> None:
        """Have all subscribers come again, to another server."""
        self._closing.set()
        if self._reading is not None:
            self._reading.cancel()
        for subscriber in self._subscribers:
            subscriber.wake()

    # The one reader of all.

    async def _keep_reading(self) -> None:
        pause = _FIRST_PAUSE
        while not self.closed:
            try:
                await self._read()
            except BridgeError as error:
                log.warning("the topic log is not read, trying again: %s", error)
            except Exception:  # subscribers must not depend on it
                log.exception("the topic log is not read, trying again")
            pause = _FIRST_PAUSE if self._live.is_set() else min(2 * pause, _LAST_PAUSE)
            self._live.clear()
            await asyncio.sleep(pause)

    async def _read(self) -> None:
        """Read the stream, from where it was left or a little before its end. Returns when it is another one."""
        end = await self._stream.end()
        ring, size = self._ring, 0
        if ring.last > end:
            self._replaced(end)
        # The last one that was read comes again, unless it is gone, and those behind it with it.
        known = self._newest
        async with aclosing(self._stream.read(max(0, end - _BACK) if known is None else known.offset)) as messages:
            async for message in messages:
                if known is not None and message.offset == known.offset:
                    if (message.message_id, message.body) != (known.message_id, known.body):
                        self._replaced(end)
                        return
                else:
                    if known is not None:
                        self._missed(message.offset)
                    self._add(message)
                    size += len(message.body)
                known = None
                if ring.last >= end:
                    self._live.set()
                if size >= _TURN:
                    size = 0
                    await asyncio.sleep(0)

    def _add(self, message: StreamMessage) -> None:
        event = event_of(message) if topic_of(message) in self._topics else None
        self._newest = message
        self._ring.read(message.offset, event)
        if event is not None:
            for subscriber in self._subscribers:
                if event.topic in subscriber.topics:
                    subscriber.wake()
        elif (mark := self._marks.get(message.message_id)) is not None and not mark.done():
            mark.set_result(None)

    def _replaced(self, end: int) -> None:
        """The stream is another one: nothing of the old one is to be had."""
        log.warning("the topic log was replaced: it ends at %d, and was read up to %d", end, self._ring.last)
        self._clear()
        for subscriber in self._subscribers:
            subscriber.move(end)

    def _missed(self, offset: int) -> None:
        """What came behind the last message that was read is gone."""
        log.warning("the topic log was not read for too long: messages before %d are gone", offset)
        self._clear()

    def _clear(self) -> None:
        self._ring.clear()
        self._newest = None

    # Each subscriber.

    async def _items(self, subscriber: Subscriber, silence: float) -> AsyncGenerator[Sequence[Item], None]:
        """What it gets: what it has missed, then what comes, until the log is closed."""
        while not self.closed:
            if subscriber.moved is not None:
                moved, subscriber.moved = subscriber.moved, None
                yield subscriber.given([moved])
            elif subscriber.after is None or not subscriber.known or not self._ring.has(subscriber.after):
                async with aclosing(self._until_closed(self._bring_up(subscriber), silence)) as missed:
                    async for items in missed:
                        yield subscriber.given(items)
                # As the log is closed, the next ones may have been read already, and are given to nobody.
                if not self.closed and (noted := subscriber.given([])):
                    yield noted
            else:
                events, subscriber.after = self._ring.since(subscriber.after, subscriber.topics, _MAX_TAKEN)
                if events:
                    yield subscriber.given(events)
                    if subscriber.after == self._ring.last:
                        await asyncio.sleep(_PACE)
                elif not await subscriber.wait(silence):
                    yield subscriber.given([])

    async def _until_closed(
        self, source: AsyncGenerator[Sequence[Item], None], silence: float
    ) -> AsyncGenerator[Sequence[Item], None]:
        """What a source gives, and nothing after seconds of silence, until it ends or fails, or the log is closed."""
        closing = asyncio.ensure_future(self._closing.wait())
        upcoming = asyncio.ensure_future(anext(source, None))
        try:
            while True:
                await asyncio.wait([closing, upcoming], timeout=silence, return_when=asyncio.FIRST_COMPLETED)
                if closing.done():
                    return
                if not upcoming.done():
                    yield []
                elif (items := upcoming.result()) is not None:
                    upcoming = asyncio.ensure_future(anext(source, None))
                    yield items
                else:
                    return
        except BridgeError as error:
            # The reader of all has it in the log.
            log.debug("a subscriber is brought up again: %s", error)
            await asyncio.wait([closing], timeout=_LAST_PAUSE)
        finally:
            closing.cancel()
            upcoming.cancel()
            await asyncio.gather(closing, upcoming, return_exceptions=True)
            await source.aclose()

    async def _bring_up(self, subscriber: Subscriber) -> AsyncGenerator[Sequence[Item], None]:
        """What it gets until all that it has not got is in memory, or for as long as its turn lasts."""
        await self._live.wait()
        if subscriber.after is None:
            subscriber.begin(self._ring.last)
            yield [Position(self._ring.last)]
        elif not subscriber.known and not await self._reaches(subscriber.after):
            subscriber.begin(self._ring.last)
            yield [Reset(self._ring.last)]
        else:
            subscriber.known = True
            if not self._ring.has(subscriber.after):
                async with self._turns, aclosing(self._catch_up(subscriber, subscriber.after)) as missed:
                    async for items in missed:
                        yield items

    async def _catch_up(self, subscriber: Subscriber, after: int) -> AsyncGenerator[Sequence[Item], None]:
        """What is not in memory any more, for as long as its turn lasts."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _CATCH_UP_TIME
        items: list[Item] = []
        begin, first, size = after, True, 0
        async with aclosing(self._stream.read(begin)) as messages:
            async for message in messages:
                if subscriber.moved is not None:
                    return  # it is at another place
                if first and message.offset > begin:
                    items.append(Gap(message.offset))
                first = False
                if message.offset == begin:
                    continue  # it has that one
                after = message.offset
                size += len(message.body)
                if topic_of(message) in subscriber.topics and (event := event_of(message)) is not None:
                    items.append(event)
                if not items:
                    subscriber.after = after
                if size >= _MAX_TAKEN:
                    size = 0
                    if items:
                        subscriber.after = after
                        yield items
                        items = []
                    else:
                        await asyncio.sleep(0)
                if self._ring.has(after) or loop.time() > until:
                    break
        if subscriber.moved is None and items:
            subscriber.after = after
            yield items

    async def _reaches(self, offset: int) -> bool:
        """Has the stream that offset? This process may be a little behind the one from which the subscriber comes."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        while self._ring.last < offset and loop.time() < asked + _LAG:
            await asyncio.sleep(_LAG / 10)
        if self._ring.last >= offset:
            return True  # without a wait for those whose ids are ahead
        # A mark that is written behind the question answers it, whoever has it written.
        async with self._marking:
            if self._ring.last < offset and self._marked < asked:
                written = loop.time()
                await self._read_mark()
                self._marked = written
        return self._ring.last >= offset

    async def _read_mark(self) -> None:
        """Return when all has been read that is in the stream now. Raises BridgeError."""
        mark = new_id()
        self._marks[mark] = read = asyncio.get_running_loop().create_future()
        try:
            await self._stream.mark(mark)
            await asyncio.wait_for(read, MARK_TIMEOUT)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise Disconnected("the end of the topic log was not read in time") from error
        finally:
            del self._marks[mark]
