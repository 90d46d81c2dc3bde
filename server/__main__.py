"""The server: builds the pieces, listens, drains on SIGTERM; several processes where that is set."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from nowait.bridge import Bridge
from nowait.messages.limits import MAX_TASK_BODY
from nowait.systemd import Notifier
from nowait.topology import Topology
from server.app import make_app
from server.processes import Processes
from server.settings import Settings

log = logging.getLogger("server")

_ONE_OF_SEVERAL = "--one-of-several"  # for the processes that supervise() starts

HTTP_OPTIONS: dict[str, Any] = {
    "idle_connection_timeout": 75.0,  # seconds for a request's headers, from the end of the last one
    "body_timeout": 30.0,  # seconds for a body, refused ones included
    # The handlers know the limits of headers and bodies, and answer; these only end a connection.
    "max_header_size": 1024 * 1024,  # bytes
    "max_body_size": 2**62,  # bytes
}


def make_bridge(settings: Settings) -> Bridge:
    """A bridge that is not started yet."""
    app = Celery("server", broker=settings.broker_url, set_as_current=False)
    app.conf.task_default_queue = "queries"
    return Bridge(
        app,
        max_in_flight=settings.max_in_flight,
        timeout=settings.timeout,
        max_body=MAX_TASK_BODY,
        topology=Topology.named(settings.topology),
    )


async def serve(settings: Settings, one_of_several: bool) -> None:
    """Serve until SIGTERM or SIGINT, then end what is in flight and return.

    Args:
        settings: the settings.
        one_of_several: others listen on the same port; the end of standard input asks to stop, too.

    Raises OSError when the address cannot be listened on.
    """
    stop = asyncio.Event()
    _on_signal(stop.set)
    if one_of_several:
        asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    bridge = make_bridge(settings)
    app = make_app(bridge, settings)
    http = HTTPServer(app, **HTTP_OPTIONS)
    sockets = bind_sockets(settings.port, settings.address, reuse_port=one_of_several)
    await bridge.start()
    http.add_sockets(sockets)
    notifier = Notifier()
    notifier.ready()
    liveness = asyncio.create_task(_notify(notifier))
    log.info("listening on %s:%d", settings.address, sockets[0].getsockname()[1])

    await stop.wait()
    liveness.cancel()
    notifier.stopping()
    log.info("stopping: %d requests in flight", len(app.requests.open))
    http.stop()
    if not await app.requests.drain(settings.shutdown_timeout):
        log.warning("stopping with %d requests in flight after %g s", len(app.requests.open), settings.shutdown_timeout)
    await http.close_all_connections()
    await bridge.stop(drain=0)
    await app.close()
    log.info("stopped")


async def supervise(settings: Settings) -> None:
    """Run as many processes as the settings say until SIGTERM or SIGINT.

    Raises OSError when the address cannot be listened on, also when other such processes do.
    """
    for sock in bind_sockets(settings.port, settings.address):
        sock.close()
    command = [sys.executable, "-m", "server", _ONE_OF_SEVERAL]
    processes = Processes(command, settings.processes, settings.shutdown_timeout)
    _on_signal(processes.stop)
    notifier = Notifier()
    notifier.ready()
    liveness = asyncio.create_task(_notify(notifier))
    await processes.run()
    liveness.cancel()
    notifier.stopping()


async def _notify(notifier: Notifier) -> None:
    """Notify of liveness for as long as the loop turns."""
    while True:
        notifier.alive()
        await asyncio.sleep(notifier.interval)


def _on_signal(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def main() -> int:
    """Run the server. Returns the exit status: 0 after a signal, 1 when it cannot listen."""
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="The Nowait server: Tornado handlers that hand their queries to Celery workers.",
        epilog="Settings, from the environment:\n" + Settings.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(_ONE_OF_SEVERAL, action="store_true", help=argparse.SUPPRESS)
    one_of_several = parser.parse_args().one_of_several
    settings = Settings.load()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        if settings.processes > 1 and not one_of_several:
            asyncio.run(supervise(settings))
        else:
            asyncio.run(serve(settings, one_of_several))
    except OSError as error:
        print(f"cannot listen on {settings.address}:{settings.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
