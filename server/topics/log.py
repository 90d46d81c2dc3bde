"""The log of all topics: published to, and read once for all subscribers of this process.

A subscriber that comes with an offset gets what it has missed: from memory, or, where it is older than that, from the
log, by a reader of its own that goes on until it meets the one of all others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta

from nowait.bridge.call import new_id
from nowait.errors import BridgeError, Disconnected
from nowait.topology import Topology
from server.bridge import Messages
from server.missing import declaring
from server.topics.event import Gap, Position, Reset, event_of
from server.topics.feed import Feed, FeedClosed
from server.topics.ring import Ring

log = logging.getLogger(__name__)

# Enough for those who come from a server that has stopped: each reader of its own costs as much as the one of all.
_RING_COUNT, _RING_BYTES = 10_000, 16 * 1024 * 1024
_CHUNK = 128  # events that are taken from memory at once
_CATCH_UPS = 4  # readers of the log beside that of all
_CATCH_UP_TIME = 30.0  # seconds for each, after which another one has its turn, and the subscriber comes again
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 2.0  # seconds between tries to read
_END = "nowait.end"  # a topic's name has no dot
_LAG = 0.2  # seconds in which the reader of this process gets to where another one's is
_RECENT = timedelta(seconds=5)  # the mark of the end was written since
_END_TIMEOUT = 10.0  # seconds in which it comes back


class TooManySubscribers(Exception):
    """As many subscribe as may."""


class TopicLog:
    """The topics of one server process.

    Args:
        messages: the bridge.
        topology: where the log is.
        limit: of subscribers at once.

    Attributes:
        closed: the server stops: nobody is to subscribe any more.
    """

    def __init__(self, messages: Messages, topology: Topology, limit: int) -> None:
        self._messages = messages
        self._topology = topology
        self._limit = limit
        self._ring = Ring(_RING_COUNT, _RING_BYTES)
        self._feeds: set[Feed] = set()
        self._attached: set[Feed] = set()  # those that get each event as it comes
        self._reading: asyncio.Task[None] | None = None
        self._live = asyncio.Event()  # the log is read up to its end
        self._marks: dict[str, asyncio.Future[None]] = {}  # that are to be read, by their ids
        self._turns = asyncio.Semaphore(_CATCH_UPS)
        self.closed = False

    def __len__(self) -> int:
        """Subscribers."""
        return len(self._feeds)

    def __repr__(self) -> str:
        return f"<TopicLog {len(self)} subscribers, {self._ring}>"

    async def publish(self, topic: str, body: bytes, timeout: float) -> str:
        """Append a message; returns its id once the broker has it. Raises BridgeError, which may be OutcomeUnknown.

        Args:
            topic: its topic.
            body: JSON, on one line.
            timeout: seconds that it may take.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        return await self._declared(lambda: self._publish(topic, body, deadline))

    @contextmanager
    def subscribe(
        self, topics: frozenset[str], after: int | None, on_overflow: Callable[[], None]
    ) -> Iterator[Feed]:
        """Subscribe for as long as the block lasts. Raises TooManySubscribers.

        Args:
            topics: to these.
            after: behind this offset; None for what is published from now on.
            on_overflow: is called when the subscriber takes too little, and gets nothing more.
        """
        if len(self._feeds) >= self._limit:
            raise TooManySubscribers(f"{self._limit} subscribers")
        feed = Feed(topics, on_overflow)
        self._feeds.add(feed)
        if self.closed:
            feed.close()
        elif self._reading is None:
            self._reading = asyncio.create_task(self._keep_reading(), name="topic log")
        joining = asyncio.create_task(self._join(feed, after))
        try:
            yield feed
        finally:
            joining.cancel()
            feed.close()
            self._attached.discard(feed)
            self._feeds.discard(feed)

    def close(self) -> None:
        """Have all subscribers come again, to another server."""
        self.closed = True
        if self._reading is not None:
            self._reading.cancel()
        for feed in self._feeds:
            feed.close()

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
        """Read the log, from where it was left or a little before its end, until that fails."""
        end = await self._end()
        ring = self._ring
        if ring.last > end:
            self._replaced(end)
        # The last one that was read comes again, unless it is gone, and those behind it with it.
        known = ring.last if ring.behind is not None else None
        begin = max(0, end - _RING_COUNT) if known is None else known
        async with aclosing(self._messages.subscribe(self._topology.topic_log, offset=begin)) as messages:
            async for message in messages:
                if known is not None and message.offset > known:
                    self._missed(message.offset)
                if known is None or message.offset > known:
                    event = event_of(message) if message.routing_key != _END and message.kind != _END else None
                    ring.read(message.offset, event)
                    if event is not None:
                        for feed in list(self._attached):
                            feed.put(event)
                known = None
                if (mark := self._marks.get(message.message_id)) is not None and not mark.done():
                    mark.set_result(None)
                if ring.last >= end:
                    self._live.set()

    def _replaced(self, end: int) -> None:
        """The log is another one: nothing of the old one is to be had."""
        log.warning("the topic log was replaced: it ends at %d, and was read up to %d", end, self._ring.last)
        self._ring.clear()
        for feed in self._attached:
            feed.begin(Reset(end))
        for feed in self._feeds - self._attached:
            feed.close()  # what it was to be given is of the old one

    def _missed(self, offset: int) -> None:
        """What came behind the last event that was read is gone."""
        log.warning("the topic log was not read for too long: messages before %d are gone", offset)
        self._ring.clear()
        for feed in self._attached:
            feed.begin(Gap(offset))

    async def _end(self) -> int:
        """The offset of a message that was written just now. Raises BridgeError."""
        loop = asyncio.get_running_loop()
        mark = await self._declared(lambda: self._publish(_END, b"{}", loop.time() + _END_TIMEOUT))
        try:
            return await asyncio.wait_for(self._find(mark), _END_TIMEOUT)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise Disconnected("the end of the topic log was not found in time") from error

    async def _find(self, mark: str) -> int:
        async with aclosing(self._messages.subscribe(self._topology.topic_log, offset=_RECENT)) as messages:
            async for message in messages:
                if message.message_id == mark:
                    return message.offset
        raise AssertionError("a subscription has no end")

    async def _publish(self, topic: str, body: bytes, deadline: float, message_id: str | None = None) -> str:
        left = deadline - asyncio.get_running_loop().time()
        exchange, message_id = self._topology.topics, message_id or new_id()
        key = topic if exchange else self._topology.topic_log
        await self._messages.publish(
            key, body, exchange=exchange, kind=topic, message_id=message_id, timeout=left
        )
        return message_id

    async def _declared(self, act: Callable[[], Awaitable[str]]) -> str:
        topology = self._topology
        arguments = topology.topic_log_arguments if topology.declares else None
        return await declaring(self._messages, topology.topic_log, arguments, act)

    # Each subscriber, until it gets what comes.

    async def _join(self, feed: Feed, after: int | None) -> None:
        """Give a subscriber what it has missed, then what comes."""
        try:
            await self._live.wait()
            if after is None:
                feed.begin(Position(self._ring.last))
            else:
                await self._bring_up(feed, after)
            # Nothing has come since: no other task had its turn.
            self._attached.add(feed)
        except FeedClosed:
            pass
        except BridgeError as error:
            log.warning("a subscriber is to come again: %s", error)
            feed.close()
        except Exception:
            log.exception("a subscriber is to come again")
            feed.close()

    async def _bring_up(self, feed: Feed, after: int) -> None:
        if after > self._ring.last and not await self._reaches(after):
            feed.begin(Reset(self._ring.last))
            return
        feed.skip(after)
        while after < self._ring.last:
            events = self._ring.since(after, _CHUNK)
            if events is None:
                async with self._turns:
                    after = await self._catch_up(feed, after)
                continue
            await feed.room()
            for event in events:
                feed.put(event)
            # More may have come while there was no room.
            after = events[-1].offset if events else self._ring.last

    async def _reaches(self, offset: int) -> bool:
        """Has the log that offset? This process may be a little behind the one from which the subscriber comes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _LAG
        while self._ring.last < offset and loop.time() < until:
            await asyncio.sleep(_LAG / 10)
        if self._ring.last < offset:
            # What was in the log before the mark has been read when the mark is.
            mark, passed = new_id(), loop.create_future()
            self._marks[mark] = passed
            try:
                await self._declared(lambda: self._publish(_END, b"{}", loop.time() + _END_TIMEOUT, mark))
                await asyncio.wait_for(passed, _END_TIMEOUT)
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise Disconnected("the end of the topic log was not read in time") from error
            finally:
                del self._marks[mark]
        return self._ring.last >= offset

    async def _catch_up(self, feed: Feed, after: int) -> int:
        """Give a subscriber what is not in memory any more; returns the offset up to which it has all."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _CATCH_UP_TIME
        first = True
        async with aclosing(self._messages.subscribe(self._topology.topic_log, offset=after)) as messages:
            async for message in messages:
                if first and message.offset > after:
                    feed.begin(Gap(message.offset))
                first = False
                event = event_of(message)
                if event is not None:
                    await feed.room()
                    feed.put(event)
                after = message.offset
                if self._ring.behind is not None and after >= self._ring.behind:
                    break
                if loop.time() > until:
                    feed.close()
                    raise FeedClosed
        return after
