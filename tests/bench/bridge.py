"""The figures of the bridge."""

import asyncio
import gc
import socket
import time
import tracemalloc
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import kombu
from celery import Celery

from deploy.local.process import Process
from nowait.bridge import Bridge
from tests.bench.ratio import Ratio, alternate
from tests.bench.site import OURS, STOCK, Site, cpu
from tests.bench.tools import NOW, good, p99, wrk

T = TypeVar("T")
_MICRO = 1e6


class OnLoop:
    """A bridge on a loop of its own, driven from outside."""

    def __init__(self, url: str, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.bridge = Bridge(Celery("bench", broker=url, set_as_current=False), **options)

    def __enter__(self) -> "OnLoop":
        self.run(self.bridge.start())
        self.wait("connected")
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.bridge.stop(drain=0))
        self.loop.close()

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Run the loop until this is done; returns its result."""
        return self.loop.run_until_complete(what)

    def timed(self, task: str, arguments: Sequence[Any], queue: str, count: int) -> float:
        """Send a task so many times at once; returns the seconds until all are answered."""

        async def all_of_them() -> None:
            await asyncio.gather(*(self.bridge.send_task(task, arguments, queue=queue) for _ in range(count)))

        started = time.perf_counter()
        self.run(all_of_them())
        return time.perf_counter() - started

    def wait(self, state: str) -> None:
        async def wait() -> None:
            while self.bridge.state != state or self.bridge.statistics().unconfirmed > 1:
                await asyncio.sleep(0.002)

        self.run(wait())


def sending(site: Site, quick: bool) -> list[Ratio]:
    """CPU of a call that is sent and confirmed, against that of a message sent by Celery."""
    url, queue, calls = site.services.broker_url, "bench", 500 if quick else 2000
    with kombu.Connection(url) as connection:
        kombu.Queue(queue, channel=connection.default_channel, durable=True).declare()
    celery_app = Celery("bench", broker=url, backend="rpc://", set_as_current=False)
    with OnLoop(url, max_in_flight=100_000) as on_loop:
        bridge = on_loop.bridge

        async def send(count: int) -> None:
            pending = []
            for number in range(count):
                pending.append(bridge.send_task("test.echo", [number], queue=queue))
                if number % 50 == 49:  # as many requests as one turn of a busy loop may bring
                    await asyncio.sleep(0)
            while bridge.statistics().unconfirmed > 1:
                await asyncio.sleep(0.002)
            for call in pending:
                call.cancel()

        def ours() -> float:
            started = time.process_time()
            on_loop.run(send(calls))
            return (time.process_time() - started) / calls * _MICRO

        def celerys() -> float:
            started = time.process_time()
            for number in range(calls // 4):
                celery_app.send_task("test.echo", [number], queue=queue)
            return (time.process_time() - started) / (calls // 4) * _MICRO

        ours(), celerys()
        figures = alternate(3 if quick else 9, ours, celerys)
        site.purge(queue)
    return [Ratio("CPU per task sent", ("bridge", "Celery.send_task"), "µs", figures, ("at most", 0.2))]


def serving(site: Site, quick: bool) -> list[Ratio]:
    """CPU of the server for a bridged request, against that of one that has nothing to do."""
    site.query_worker()
    server, url = site.server("server-cpu", "/readyz", "server", demo=1)
    return [_serving("the server", server, url, "/mysql_query/77", '{"flag":77,"rows":[]}', quick)]


def serving_echo(site: Site, quick: bool) -> list[Ratio]:
    """The same, of a server that does nothing else."""
    site.echo_worker(OURS, "bench.serving")
    server, url = site.server("echo-cpu", "/echo/1", "tests.bench.echo", "PORT", test_queue="bench.serving")
    return [_serving("a bare Tornado", server, url, "/echo/1", "1", quick)]


def _serving(what: str, server: Process, url: str, bridged: str, expected: str, quick: bool) -> Ratio:
    seconds = 2 if quick else 3

    def per_request(path: str, expected: str) -> float:
        before = cpu(server)
        requests = good(wrk(url + path, connections=50, seconds=seconds, expected=expected)).requests
        return (cpu(server) - before) / requests * _MICRO

    def waiting() -> float:
        return per_request(bridged, expected)

    def now() -> float:
        return per_request("/i_want_you_now", NOW)

    waiting(), now()
    figures = alternate(2 if quick else 4, waiting, now)
    return Ratio(f"CPU of {what} per request", (bridged, "/i_want_you_now"), "µs", figures, ("at most", 1.8))


def in_flight(site: Site, quick: bool) -> list[Ratio]:
    """Memory of the bridge for each of many calls in flight, and all of them answered."""
    calls, timeout = 10_000, 300.0
    site.echo_worker(STOCK, "tests")
    with OnLoop(site.services.broker_url, max_in_flight=calls, timeout=timeout) as on_loop:
        bridge = on_loop.bridge

        async def send() -> tuple[float, list[Any]]:
            await asyncio.gather(*(bridge.send_task("test.echo", [number], queue="tests") for number in range(100)))
            gc.collect()
            tracemalloc.start()
            pending = [bridge.send_task("test.echo", [number], queue="tests") for number in range(calls)]
            assert bridge.statistics().in_flight == calls
            while bridge.statistics().unconfirmed > 1:
                await asyncio.sleep(0.01)
            used, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return used / (calls - len([call for call in pending if call.done()])), await asyncio.gather(*pending)

        bytes_each, answers = on_loop.run(send())
    assert answers == list(range(calls)), "answers went to the wrong callers"
    what = f"memory per call of {calls} in flight, all answered"
    return [Ratio(what, ("bridge", "allowed"), "bytes", [(bytes_each, 4096.0)], ("at most", 1.0))]


@contextmanager
def _slow(site: Site, url: str, count: int) -> Iterator[None]:
    """So many slow queries in flight."""
    parts = urlsplit(url)
    with ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection((parts.hostname, parts.port)))
            sock.sendall(f"GET /mysql_query/1?delay=30 HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        while site.depth("queries")[0] < count - 100:
            time.sleep(0.05)
        yield
    site.purge("queries")


def isolation(site: Site, quick: bool) -> list[Ratio]:
    """Latency of what has nothing to do while many slow queries are in flight, against when idle."""
    site.query_worker()
    _, url = site.server("server-slow", "/readyz", "server", demo=1, max_in_flight=2000, timeout=600)
    seconds, rate = (2.0, 200) if quick else (6.0, 200)

    def idle() -> float:
        return p99(f"{url}/i_want_you_now", rate=rate, seconds=seconds, expected=NOW)

    def busy() -> float:
        with _slow(site, url, 1000):
            return idle()

    idle()
    figures = alternate(2 if quick else 4, busy, idle)
    what = f"p99 of /i_want_you_now at {rate} requests/s"
    return [Ratio(what, ("1000 slow calls in flight", "idle"), "ms", figures, ("at most", 1.5))]


MEASUREMENTS = (sending, serving, serving_echo, in_flight, isolation)
