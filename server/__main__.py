"""The server: reads the settings, builds the pieces, runs them."""

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import ExitStack
from functools import partial

from celery import Celery

import nowait
from nowait import tracing
from nowait.bridge import Bridge
from nowait.bridge import Observer as CallObserver
from nowait.logs import JsonFormatter, TextFormatter
from nowait.messages.limits import MAX_TASK_BODY
from nowait.systemd import Notifier
from nowait.topology import Topology
from server import garbage
from server.app import make_app
from server.keys import commands
from server.keys.file import KeyFile, KeyFileError
from server.lifecycle import ListenError, Measure, leave_signals, listen, notify, on_signal, serve, warn_if_open
from server.log_filters import SPARED, Redaction, Sparing
from server.observer import Observer as EventObserver
from server.processes import Processes
from server.settings import Settings
from server.tls import Certificate, CertificateError
from server.tracing import TracedBridge

_ONE_OF_SEVERAL = "--one-of-several"  # for the processes that supervise() starts


async def run(settings: Settings, one_of_several: bool) -> None:
    """Run one server process until a signal. Raises ListenError, KeyFileError and CertificateError."""
    calls: CallObserver | None = None
    events: EventObserver | None = None
    measure: Measure | None = None
    if settings.metrics is not None:
        # Here alone: a server without metrics does without the library.
        from server.metrics.metrics import Metrics

        metrics = Metrics.started(
            settings.metrics, one_of_several, settings.queues.keys(), settings.database_url
        )
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
    garbage.spare()
    await serve(bridge, web, settings, one_of_several, certificate_of(settings), measure)
    leave_signals()


def certificate_of(settings: Settings) -> Certificate | None:
    """The certificate of HTTPS; None for HTTP. Raises CertificateError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


async def supervise(settings: Settings) -> None:
    """Run as many server processes as the settings say until SIGTERM or SIGINT.

    Raises ListenError, also when other such processes listen there, KeyFileError and CertificateError.
    """
    # What one process cannot use, none can.
    certificate_of(settings)
    if settings.keys is not None:
        KeyFile(settings.keys).read()
    sockets = listen(settings, reuse_port=False)
    warn_if_open(sockets, settings)
    for sock in sockets:
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
        on_signal(partial(processes.signal, signal.SIGHUP), signal.SIGHUP)
        liveness = asyncio.create_task(notify(notifier))
        await processes.run()
        liveness.cancel()
        notifier.stopping()
    leave_signals()


def main() -> int:
    """Run the server, or a command. Returns the exit status: 0 after a signal, 1 when it cannot begin."""
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="The Nowait server: Tornado handlers that hand their queries to Celery workers.",
        epilog="Settings, from the environment:\n" + Settings.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nowait {nowait.__version__}")
    parser.add_argument(_ONE_OF_SEVERAL, action="store_true", help=argparse.SUPPRESS)
    commands.add_to(parser.add_subparsers(metavar="keys", help="without a command, the server runs"))
    options = parser.parse_args()
    if "run" in options:
        status: int = options.run(options)
        return status
    # It has files read again; until they have been read at all, it would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    one_of_several = options.one_of_several
    settings = Settings.load()
    handler = logging.StreamHandler()
    handler.setFormatter(Redaction(JsonFormatter() if settings.log_format == "json" else TextFormatter()))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    for name in SPARED:
        logging.getLogger(name).addFilter(Sparing())
    try:
        if settings.processes > 1 and not one_of_several:
            asyncio.run(supervise(settings))
            return 0
        if settings.traces:
            tracing.start("nowait-server")
        asyncio.run(run(settings, one_of_several))
    except (ListenError, KeyFileError, CertificateError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        tracing.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
