"""What one request begins, and goes on for others, is no part of that request, nor of its trace."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from nowait.bridge import shared
from nowait.bridge.shared import SharedConnection
from nowait.link.opener import ConnectionLost
from server.catalogue import Catalogue
from server.jobs.batches import Batches
from server.jobs.watcher import Watcher
from server.live.pulse import Pulse
from server.topics.log import TopicLog

request: ContextVar[str] = ContextVar("request", default="none")


class Nowhere:
    """No broker."""

    def open(self) -> Any:
        raise ConnectionLost("no broker")


Note = Callable[[], None]
Begin = Callable[[Note], Any]  # begins something, which is to call the note; a context manager of what it takes


@asynccontextmanager
async def a_catalogue(note: Note) -> AsyncIterator[None]:
    async def fetch(timeout: float) -> list[Any]:
        note()
        return []

    Catalogue("queries", lambda document: document, fetch).known("a")  # type: ignore[arg-type, return-value]
    yield


@asynccontextmanager
async def a_pulse(note: Note) -> AsyncIterator[None]:
    async def measure() -> None:
        note()

    with Pulse(dict, measure, 1).look():
        yield


@asynccontextmanager
async def a_watcher(note: Note) -> AsyncIterator[None]:
    class Store:
        async def versions(self, ids: set[str], timeout: float) -> dict[str, int]:
            note()
            return {}

    store: Any = Store()
    with Watcher(store, 1, 0.001).watch("a"):
        yield


@asynccontextmanager
async def batches(note: Note) -> AsyncIterator[None]:
    async def carry_out(items: Sequence[int], timeout: float) -> Sequence[int]:
        note()
        return items

    await Batches(carry_out, 1).add(1, 1, 30)
    yield


@asynccontextmanager
async def a_topic_log(note: Note) -> AsyncIterator[None]:
    class Stream:
        async def end(self) -> int:
            note()
            await asyncio.Event().wait()
            return 0

    stream: Any = Stream()
    log = TopicLog(stream, frozenset({"news"}), 1)
    async with log.subscribe(frozenset({"news"}), None, 1.0):
        yield
    log.close()


@asynccontextmanager
async def a_connection(note: Note) -> AsyncIterator[None]:
    async def opened(*_: Any) -> Any:
        note()
        raise ConnectionLost("no broker")

    connection: SharedConnection[Any] = SharedConnection(Nowhere(), "messages", lambda *_: None, lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "opened", opened)
        waiting = asyncio.create_task(connection.connected())
        yield
        await connection.stop(0)
        await asyncio.wait([waiting])
        waiting.exception()


@pytest.mark.gen_test
@pytest.mark.parametrize("begin", [a_catalogue, a_connection, a_pulse, a_topic_log, a_watcher, batches])
async def test_what_goes_on_for_others_is_no_part_of_the_request_that_began_it(begin: Begin) -> None:
    seen: "asyncio.Future[str]" = asyncio.get_running_loop().create_future()

    def note() -> None:
        if not seen.done():
            seen.set_result(request.get())

    async def first() -> str:
        request.set("the first")
        async with begin(note):
            awaited: Awaitable[str] = asyncio.wait_for(seen, 30)
            return await awaited

    assert await asyncio.create_task(first()) == "none"
