"""The bridge, for the broker that the settings tell of."""

from typing import Any

from celery import Celery

from server.bridge import Bridge
from server.settings import Settings


def make_bridge(settings: Settings) -> Bridge:
    """A bridge that is not started yet.

    With the broker's definitions, deploy/broker/definitions.json, tasks leave through the exchange
    `tasks` and replies come through `replies`, so that the user of the servers needs no right to any
    task queue, nor the workers' one to any reply queue; each checks whom a message is from.
    """
    app = Celery("server", broker=settings.broker_url, set_as_current=False)
    defined: dict[str, Any] = {}
    if settings.definitions:
        app.conf.task_routes = {"*": {"exchange": "tasks", "user_id": "server"}}
        defined = {"reply_exchange": "replies", "reply_user": "worker"}
    return Bridge(app, max_in_flight=settings.max_in_flight, timeout=settings.timeout, **defined)
