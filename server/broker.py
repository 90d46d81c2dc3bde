"""The bridge, for the broker that the settings tell of."""

from typing import Any

from celery import Celery

from nowait.bridge import Bridge, Call
from server.settings import Settings


class DefinedBridge(Bridge):
    """A bridge to a broker that was set up by deploy/broker/definitions.json.

    Tasks leave through the exchange `tasks` and replies come through `replies`, so that the user of
    the servers needs no right to any task queue, nor the workers' one to any reply queue; and each
    side looks whom a message is from.
    """

    def __init__(self, app: Celery, **options: Any) -> None:
        super().__init__(app, reply_exchange="replies", reply_user="worker", **options)

    def send_task(self, name: str, *args: Any, queue: str = "queries", **options: Any) -> Call:
        """As Bridge.send_task(), to a queue of the definitions."""
        return super().send_task(name, *args, exchange="tasks", routing_key=queue, user_id="server", **options)


def make_bridge(settings: Settings) -> Bridge:
    """A bridge that is not started yet."""
    app = Celery("server", broker=settings.broker_url, set_as_current=False)
    kind = DefinedBridge if settings.definitions else Bridge
    return kind(app, max_in_flight=settings.max_in_flight, timeout=settings.timeout)
