"""The life of one server process: it listens, serves until a signal, and stops in one order.

    signal ─▶ relay and deliverer look at nothing more ─▶ /readyz is 503 ─▶ no new connections, nobody waits for news
           ─▶ requests in flight end
           ─▶ the bridge stops, and those left are answered 503, or 502 where what was sent may have been done
           ─▶ answers are written to their end, streams broken off
           ─▶ connections are closed, webhooks under way end, drivers are closed ─▶ metrics end
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from nowait.bridge import Bridge
from nowait.errors import Stopped
from nowait.systemd import Notifier
from server import descriptors, garbage
from server.app import WebApplication
from server.http.connections import Connections
from server.http.hosts import is_loopback
from server.http.limits import SERVER_OPTIONS
from server.http.listener import Listener
from server.http.proxies import Proxies
from server.reloader import Reloader, Source
from server.settings import Settings
from server.tls import Certificate

log = logging.getLogger(__name__)

_WRITE_TIMEOUT = 5.0  # seconds that the last answers get to be written
_MOMENT = 0.1  # seconds in which a handler goes on once what it waits for has ended
_BACKLOG = 1024  # connections that the system makes before they are accepted; of further ones, the first packet is lost
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class ListenError(Exception):
    """The address cannot be listened on; the text has address and reason."""


@dataclass(frozen=True)
class Server:
    """One that serves, for who measures it.

    Attributes:
        bridge: to the workers.
        app: what answers.
        connections: of its clients.
        reloader: reads keys and certificate again.
        certificate: of HTTPS; None for HTTP.
    """

    bridge: Bridge
    app: WebApplication
    connections: Connections[Any]
    reloader: Reloader
    certificate: Certificate | None


Measure = Callable[[Server], Coroutine[Any, Any, None]]


def listen(settings: Settings, reuse_port: bool) -> list[socket.socket]:
    """The sockets of the server's address, on a port that others may share with `reuse_port`. Raises ListenError."""
    try:
        return bind_sockets(settings.port, settings.address, reuse_port=reuse_port, backlog=_BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {settings.address}:{settings.port}: {error.strerror}") from error


def warn_if_open(sockets: list[socket.socket], settings: Settings) -> None:
    """Log that others than this host's programs reach a server without keys."""
    if settings.keys is None and not all(is_loopback(sock.getsockname()[0]) for sock in sockets):
        log.warning("NO KEYS: all who reach %s:%d may do everything, see NOWAIT_KEYS", settings.address, settings.port)


async def serve(
    bridge: Bridge,
    app: WebApplication,
    settings: Settings,
    one_of_several: bool,
    certificate: Certificate | None = None,
    measure: Measure | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then stop and return.

    Args:
        bridge: not started yet.
        app: what answers.
        settings: the settings.
        one_of_several: others listen on the same port; the end of standard input stops this one, too.
        certificate: of HTTPS; None for HTTP.
        measure: goes on meanwhile, for the metrics; None for none.

    Raises ListenError.
    """
    stop = asyncio.Event()
    on_signal(stop.set)
    loop = asyncio.get_running_loop()
    if one_of_several:
        loop.add_reader(sys.stdin, stop.set)
    http = Listener(
        app,
        most=descriptors.connections(settings.max_connections),
        introduced_by=settings.trusted_proxies if settings.proxy_protocol else Proxies(),
        ssl_options=None if certificate is None else certificate.context,
        **SERVER_OPTIONS,
    )
    sockets = listen(settings, reuse_port=one_of_several)
    if not one_of_several:
        warn_if_open(sockets, settings)
    if certificate is not None:
        certificate.used = partial(setattr, http, "ssl_options")
    sources: dict[str, Source | None] = {"keys": app.keys, "certificate": certificate}
    reloader = Reloader({name: source for name, source in sources.items() if source is not None})
    on_signal(reloader.poke, signal.SIGHUP)
    await bridge.start()
    looking = {asyncio.create_task(app.relay.run(), name="relay")}
    reloading = {asyncio.create_task(reloader.run(), name="reloader")}
    looking.add(asyncio.create_task(garbage.collect(http.connections), name="garbage"))
    if app.deliverer is not None:
        looking.add(asyncio.create_task(app.deliverer.run(), name="deliverer"))
    server = Server(bridge, app, http.connections, reloader, certificate)
    measuring = set() if measure is None else {asyncio.create_task(measure(server), name="metrics")}
    http.add_sockets(sockets)
    notifier = Notifier()
    notifier.ready()
    liveness = asyncio.create_task(notify(notifier))
    log.info("listening on %s:%d", settings.address, sockets[0].getsockname()[1])
    await stop.wait()
    if one_of_several:
        # At its end it stays readable: the loop would never sleep again.
        loop.remove_reader(sys.stdin)
    liveness.cancel()
    notifier.stopping()
    await _end(looking)
    await shut_down(http, app, bridge, settings)
    # Until here: keys that are revoked meanwhile are none, and the last answers count, too.
    await _end(reloading | measuring)


async def _end(tasks: set["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def shut_down(http: HTTPServer, app: WebApplication, bridge: Bridge, settings: Settings) -> None:
    """Stop a server: every request that it has taken is answered first, bounded in time."""
    requests = app.in_flight
    log.info("stopping: %d requests in flight", len(requests))
    requests.stopping = True
    # A balancer that looks at /readyz turns away meanwhile: no request meets a closed connection.
    await asyncio.sleep(settings.shutdown_notice)
    http.stop()
    # Not before: who comes again for the next events is to find another server.
    app.stop_waiting()
    if not await requests.drain(settings.shutdown_timeout):
        log.warning("stopping with %d requests in flight after %g s", len(requests), settings.shutdown_timeout)
        # Of what was sent, the bridge knows whether it may have been done; all else was not.
        await bridge.stop(drain=0)
        await requests.drain(_MOMENT)
        requests.abandon(Stopped("the server is stopping"))
        if not await requests.drain(_WRITE_TIMEOUT):
            log.warning("%d answers were not written after %g s", len(requests), _WRITE_TIMEOUT)
            # Closed as all others are, what has come of them would be whole to a client of HTTP/1.0.
            requests.break_off()
    await http.close_all_connections()
    await bridge.stop(drain=0)
    await app.close()
    log.info("stopped")


async def notify(notifier: Notifier) -> None:
    """Notify of liveness for as long as the loop turns."""
    while True:
        notifier.alive()
        await asyncio.sleep(notifier.interval)


def on_signal(act: Callable[[], None], *numbers: signal.Signals) -> None:
    """Call `act` on the running loop at these signals; none of them named: SIGTERM and SIGINT.

    The loop's own way would have them end the process from when the loop is closed, with a status that says so.
    """
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(act)

    for number in numbers or _STOPPING:
        signal.signal(number, handle)


def leave_signals() -> None:
    """The process ends by itself: signals change nothing any more, its status above all."""
    for number in (*_STOPPING, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
