"""The server: reads the settings, builds the pieces, runs them."""

import argparse
import asyncio
import gc
import logging
import sys
from contextlib import ExitStack

from celery import Celery

from nowait import tracing
from nowait.bridge import Bridge
from nowait.bridge import Observer as CallObserver
from nowait.logs import JsonFormatter, TextFormatter
from nowait.messages.limits import MAX_TASK_BODY
from nowait.systemd import Notifier
from nowait.topology import Topology
from server.app import make_app
from server.lifecycle import ListenError, Measure, listen, notify, on_signal, serve
from server.observer import Observer as EventObserver
from server.processes import Processes
from server.settings import Settings
from server.tracing import TracedBridge

_ONE_OF_SEVERAL = "--one-of-several"  # for the processes that supervise() starts


async def run(settings: Settings, one_of_several: bool) -> None:
    """Run one server process until a signal. Raises ListenError."""
    calls: CallObserver | None = None
    events: EventObserver | None = None
    measure: Measure | None = None
    if settings.metrics is not None:
        # Here alone: a server without metrics does without the library.
        from server.metrics.metrics import Metrics

        metrics = Metrics.started(settings.metrics, one_of_several, settings.queues.keys())
        calls, events, measure = metrics.calls, metrics.events, metrics.run
    app = Celery("server", broker=settings.broker_url, set_as_current=False)
    app.conf.task_default_queue = "queries"
    topology = Topology.named(settings.topology)
    bridge = (TracedBridge if settings.traces else Bridge)(
        app,
        max_in_flight=settings.max_in_flight,
        max_streams=settings.max_streams,
        timeout=settings.timeout,
        max_body=MAX_TASK_BODY,
        max_reply_bytes=settings.max_answer_bytes,
        topology=topology,
        observer=calls,
    )
    web = make_app(bridge, settings, observer=events)
    spare_collections()
    await serve(bridge, web, settings, one_of_several, measure)


def spare_collections() -> None:
    """Have the garbage collector look at less.

    What was imported stays: a full collection would stop the loop for 10 ms to look at it. And each request that waits
    for a worker has a hundred objects: at Python's threshold of 700, each would pay to have the others looked at.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


async def supervise(settings: Settings) -> None:
    """Run as many server processes as the settings say until SIGTERM or SIGINT.

    Raises ListenError, also when other such processes listen there.
    """
    for sock in listen(settings, reuse_port=False):
        sock.close()
    notifier = Notifier()
    command = [sys.executable, "-m", "server", _ONE_OF_SEVERAL]
    timeout = settings.shutdown_notice + settings.shutdown_timeout
    processes = Processes(command, settings.processes, timeout, on_ready=notifier.ready)
    with ExitStack() as stack:
        if settings.metrics is not None:
            from server.metrics.exposition import SharedFolder

            folder = stack.enter_context(SharedFolder())
            folder.listen(settings.metrics)
            processes.variables, processes.on_end = folder.variables, folder.ended
        on_signal(processes.stop)
        liveness = asyncio.create_task(notify(notifier))
        await processes.run()
        liveness.cancel()
        notifier.stopping()


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
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    try:
        if settings.processes > 1 and not one_of_several:
            asyncio.run(supervise(settings))
            return 0
        if settings.traces:
            tracing.start("nowait-server")
        asyncio.run(run(settings, one_of_several))
    except ListenError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        tracing.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
