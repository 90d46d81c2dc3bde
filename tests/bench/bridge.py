"""The figures of the bridge."""

import asyncio
import gc
import socket
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import kombu
from celery import Celery

from nowait.bridge import Bridge
from tests.bench.ratio import Ratio, alternate
from tests.bench.site import Site, cpu
from tests.bench.tools import NOW, good, p99, wrk

_MICRO = 1e6
LEAN = "bench.lean"  # the queue of a worker with the lean result backend


def start_workers(site: Site) -> None:
    """The workers of the task that returns its argument: a stock one, and one with the lean backend."""
    # Enough messages at hand for 50 callers, as Celery's manual says of short tasks.
    options = ("-P", "threads", "-c", "8", "--prefetch-multiplier", "16")
    site.worker("tests.celeryapp", "tests", *options)
    site.worker("tests.celeryapp", LEAN, *options, "-Q", LEAN, test_backend="nowait.worker:Results")


class OnLoop:
    """A bridge on a loop of its own, driven from outside."""

    def __init__(self, url: str, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.bridge = Bridge(Celery("bench", broker=url, set_as_current=False), **options)

    def __enter__(self) -> "OnLoop":
        self.loop.run_until_complete(self.bridge.start())
        self.wait("connected")
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.run_until_complete(self.bridge.stop(drain=0))
        self.loop.close()

    def wait(self, state: str) -> None:
        async def wait() -> None:
            while self.bridge.state != state or self.bridge.statistics().unconfirmed > 1:
                await asyncio.sleep(0.002)

        self.loop.run_until_complete(wait())


def sending(site: Site, quick: bool) -> Ratio:
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
            on_loop.loop.run_until_complete(send(calls))
            return (time.process_time() - started) / calls * _MICRO

        def celerys() -> float:
            started = time.process_time()
            for number in range(calls // 4):
                celery_app.send_task("test.echo", [number], queue=queue)
            return (time.process_time() - started) / (calls // 4) * _MICRO

        ours(), celerys()
        figures = alternate(3 if quick else 9, ours, celerys)
        site.purge(queue)
    return Ratio("CPU per task sent", ("bridge", "Celery.send_task"), "µs", figures, ("at most", 0.2))


def whole(site: Site, quick: bool) -> Ratio:
    """Requests per second through server, broker and worker, against the recipe with threads."""
    return _whole(site, quick, "stock worker", {}, 3.0)


def whole_lean(site: Site, quick: bool) -> Ratio:
    """The same with the lean result backend, against the recipe with a stock worker."""
    return _whole(site, quick, "lean worker", {"test_queue": LEAN}, 4.0)


def _whole(site: Site, quick: bool, worker: str, settings: dict[str, str], bound: float) -> Ratio:
    seconds = 2 if quick else 4
    ours, our_url = site.server("echo-bridge", "/echo/1", "tests.bench.echo", "bridge", "PORT", **settings)
    best, best_rate = 0, 0.0
    for count in (4, 16) if quick else (4, 8, 16, 32):
        server, url = site.server(f"echo-{count}", "/echo/1", "tests.bench.echo", "threads", "PORT", str(count))
        _echoes(url, 1)
        rate = _echoes(url, seconds // 2)
        if rate > best_rate:
            best, best_rate = count, rate
        server.stop()
    recipe, url = site.server("echo-best", "/echo/1", "tests.bench.echo", "threads", "PORT", str(best))
    _echoes(our_url, 1)
    figures = alternate(2 if quick else 5, lambda: _echoes(our_url, seconds), lambda: _echoes(url, seconds))
    for server in (ours, recipe):
        server.stop()
    sides = (f"bridge, {worker}", f"run_in_executor(get), {best} threads")
    return Ratio("whole requests, 50 connections", sides, "requests/s", figures, ("at least", bound))


def _echoes(url: str, seconds: int) -> float:
    """Requests per second."""
    return good(wrk(f"{url}/echo/1", connections=50, seconds=seconds, expected="1")).per_second


def serving(site: Site, quick: bool) -> Ratio:
    """CPU of the server for a bridged request, against that of one that has nothing to do."""
    seconds = 2 if quick else 4
    server, url = site.server("server-cpu", "/readyz", "server", demo=1)

    def per_request(path: str, expected: str) -> float:
        before = cpu(server)
        requests = good(wrk(url + path, connections=50, seconds=seconds, expected=expected)).requests
        return (cpu(server) - before) / requests * _MICRO

    def bridged() -> float:
        return per_request("/mysql_query/77", '{"flag":77,"rows":[]}')

    def now() -> float:
        return per_request("/i_want_you_now", NOW)

    bridged(), now()
    figures = alternate(2 if quick else 5, bridged, now)
    server.stop()
    return Ratio("CPU of the server per request", ("bridged", "/i_want_you_now"), "µs", figures, ("at most", 1.8))


def in_flight(site: Site, quick: bool) -> Ratio:
    """Memory of the bridge for each of many calls in flight, and all of them answered."""
    calls, timeout = 10_000, 300.0
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

        bytes_each, answers = on_loop.loop.run_until_complete(send())
    assert answers == list(range(calls)), "answers went to the wrong callers"
    what = f"memory per call of {calls} in flight, all answered"
    return Ratio(what, ("bridge", "allowed"), "bytes", [(bytes_each, 4096.0)], ("at most", 1.0))


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


def isolation(site: Site, quick: bool) -> Ratio:
    """Latency of what has nothing to do while many slow queries are in flight, against when idle."""
    server, url = site.server("server-slow", "/readyz", "server", demo=1, max_in_flight=2000, timeout=600)
    seconds, rate = (2.0, 200) if quick else (6.0, 200)

    def idle() -> float:
        return p99(f"{url}/i_want_you_now", rate=rate, seconds=seconds, expected=NOW)

    def busy() -> float:
        with _slow(site, url, 1000):
            return idle()

    idle()
    figures = alternate(2 if quick else 5, busy, idle)
    server.stop()
    what = f"p99 of /i_want_you_now at {rate} requests/s"
    return Ratio(what, ("1000 slow calls in flight", "idle"), "ms", figures, ("at most", 1.5))


MEASUREMENTS = (sending, whole, whole_lean, serving, in_flight, isolation)
