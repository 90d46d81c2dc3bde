"""What requests leave behind: all of it goes when they end, and nothing waits for the garbage collector.

All requests wait while it looks for cycles: in a flood, for a tenth of a second.
"""

import asyncio
import contextlib
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tornado.web import RequestHandler

from server import garbage
from server.keys.limits import Limits, Rate
from tests.bridge.conftest import until
from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.fake_schedules import FakeScheduleStore
from tests.server.jobs_site import COUNT, Site, serving
from tests.server.key_files import Keys


def handlers() -> list[RequestHandler]:
    return [found for found in gc.get_objects() if isinstance(found, RequestHandler)]


@pytest.fixture
def left() -> Iterator[Callable[[], list[RequestHandler]]]:
    """Gives the handlers of requests that have come since. Nothing is collected meanwhile."""
    gc.collect()
    # An error that other tests are parametrized with knows all frames that it went through, and their handlers.
    before = set(handlers())
    gc.disable()
    yield lambda: [found for found in handlers() if found not in before]
    gc.enable()


@contextlib.asynccontextmanager
async def reading(site: Site, path: str, headers: dict[str, str]) -> AsyncIterator[None]:
    """A client that leaves with the block, while its answer is under way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    yield
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    await until(lambda: len(site.app.in_flight) == 0)


@pytest.mark.gen_test
async def test_no_request_leaves_anything_to_the_garbage_collector(
    keys: Keys, left: Callable[[], list[RequestHandler]]
) -> None:
    one, limited = keys.add("one"), keys.add("limited", limits=Limits(rate=Rate(1, 10_000)))
    stores = FakeStore(), FakePublisher(), FakeScheduleStore()
    async with serving(*stores, keys=keys.path, topics={"name"}, queues={"name": 5}) as site:
        job = await site.posted(COUNT, **one)
        for method, path, headers in (
            ("GET", "/i_want_you_now", {}),
            ("GET", "/readyz", {}),
            ("GET", "/openapi.json", {}),
            ("GET", "/openapi.json", {"Accept-Encoding": "gzip"}),
            ("GET", "/nothing", {}),
            ("GET", "/queries", one),
            ("GET", "/queries", {}),
            ("GET", "/queries", {"Authorization": "Bearer none"}),
            ("GET", "/queries", limited),
            ("GET", "/queries", limited),
            ("PUT", "/queries", one),
            ("GET", "/queries/none", one),
            ("GET", f"/jobs/{job}", one),
            ("DELETE", f"/jobs/{job}", one),
            ("POST", "/jobs", one),
            ("GET", "/jobs?limit=x", one),
            ("GET", "/schedules", one),
            ("PUT", "/schedules/name", one),
            ("POST", "/topics/name/messages", one),
            ("POST", "/queues/name/messages", one),
        ):
            body = "{}" if method in ("POST", "PUT") else None
            await site.fetch(path, method=method, body=body, headers={"Content-Type": "application/json", **headers})
            await until(lambda: not left())
        async with reading(site, "/events?topics=name", one):
            pass
        await until(lambda: not left())


@pytest.mark.gen_test
async def test_nor_does_one_that_is_refused_as_there_are_as_many_as_may_be(
    keys: Keys, left: Callable[[], list[RequestHandler]]
) -> None:
    one = keys.add("one", limits=Limits(subscribers=1))
    async with serving(FakeStore(), FakePublisher(), FakeScheduleStore(), keys=keys.path, topics={"name"}) as site:
        async with reading(site, "/events?topics=name", one):
            assert (await site.fetch("/events?topics=name", headers=one)).code == 429
            await until(lambda: len(left()) == 1)
        await until(lambda: not left())


@pytest.mark.gen_test
async def test_all_garbage_is_collected_while_few_connections_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_PAUSE", 0.01)
    generations: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        generations.append(info["generation"])

    connections = list(range(garbage._FEW))
    collecting = asyncio.ensure_future(garbage.collect(connections))
    gc.callbacks.append(note)
    try:
        await asyncio.sleep(0.1)
        assert 2 not in generations
        connections.pop()
        await until(lambda: 2 in generations)
        # However many there are, not for ever without.
        connections.append(0)
        generations.clear()
        monkeypatch.setattr(garbage, "_LONGEST", 0.05)
        await until(lambda: 2 in generations)
    finally:
        gc.callbacks.remove(note)
        collecting.cancel()


COMES_AND_GOES = """
import gc, random
from server import garbage

garbage.spare()
looks = []
gc.callbacks.append(lambda phase, info: looks.append(info["generation"]))
chance, waiting = random.Random(1), []
while len(waiting) < 400:
    waiting.append([[] for _ in range(100)])
looks.clear()
for _ in range(20_000):
    if len(waiting) < 370 or len(waiting) < 430 and chance.random() < 0.5:
        waiting.append([[] for _ in range(100)])
    else:
        waiting.pop(chance.randrange(len(waiting)))
print(looks)
"""


def test_where_requests_come_and_go_nothing_is_looked_at_again_and_again() -> None:
    # Each look would take all that wait: what is new is all since the last one.
    found = subprocess.run([sys.executable, "-c", COMES_AND_GOES], capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("[]\n", "")
