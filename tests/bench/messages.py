"""Messages that the broker has confirmed: those posted to topics and queues, beside those of Celery and kombu."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import kombu
from celery import Celery

from tests.bench.peer import CONNECTIONS
from tests.bench.ratio import Ratio, Table
from tests.bench.site import Site
from tests.bench.tools import good, siege, wrk

_VALUE = {"to": "Ada", "weight": 1.5, "street": "St James's Square", "number": 12}
_BODY = json.dumps(_VALUE)
_TAKEN = '~"message_id"'
_QUEUE = "bench"  # of the server: nobody consumes it, as nobody consumes those of the others
_BOUND = 9_999_999
_TASKS = "bench.tasks"
_ROUTES = {"POST /topics/news": "/topics/news", "POST /queues/bench/messages": f"/queues/{_QUEUE}/messages"}
_CONFIRMED = {"confirm_publish": True}

Measure = Callable[[], float]  # confirmed messages per second


def messages(site: Site, quick: bool) -> list[Ratio | Table]:
    """Confirmed messages by POST, against Celery's send_task, with and without confirms, and kombu's Producer."""
    seconds = 1 if quick else 2
    _, url = site.server("server-messages", "/readyz", "server", queues=f"{_QUEUE}:{_BOUND}", log_level="warning")
    ours = {name: partial(_post, url + path, seconds) for name, path in _ROUTES.items()}
    with _clients(site.services.broker_url, seconds) as theirs:
        rounds = _in_turn(2 if quick else 5, {**ours, **theirs}, site)
    measured: list[Ratio | Table] = []
    for name in ours:
        for other in theirs:
            figures = [(found[name], found[other]) for found in rounds]
            bound = ("at least", 3.0) if other == "send_task, confirmed" else None
            measured.append(Ratio("messages", (name, other), "messages/s", figures, bound))
    rates = {name: [siege(url + path, connections=10, repetitions=5, body=_BODY)] for name, path in _ROUTES.items()}
    return [*measured, Table("siege -c10 -r5", ["messages/s"], rates)]


def _in_turn(rounds: int, sides: dict[str, Measure], site: Site) -> list[dict[str, float]]:
    """What each side did in each round; the order changes from round to round, and the first of all does not count."""
    found = []
    for number in range(rounds + 1):
        order = list(sides) if number % 2 else list(reversed(sides))
        found.append({name: _emptied(sides[name], site) for name in order})
    return found[1:]


def _emptied(measure: Measure, site: Site) -> float:
    rate = measure()
    for queue in (_QUEUE, _TASKS):
        if site.depth(queue)[0]:
            site.purge(queue)
    return rate


def _post(url: str, seconds: int) -> float:
    return good(wrk(url, connections=CONNECTIONS, seconds=seconds, expected=_TAKEN, body=_BODY)).per_second


@contextmanager
def _clients(url: str, seconds: int) -> Iterator[dict[str, Measure]]:
    """Those of Celery and kombu, each a loop in this process."""
    plain, confirming = (Celery("bench", broker=url, set_as_current=False) for _ in range(2))
    confirming.conf.broker_transport_options = _CONFIRMED
    with kombu.Connection(url, transport_options=_CONFIRMED) as connection:
        producer = connection.Producer()
        yield {
            "send_task, confirmed": lambda: _loop(lambda: _send_task(confirming), seconds),
            "send_task": lambda: _loop(lambda: _send_task(plain), seconds),
            "kombu's Producer, confirmed": lambda: _loop(lambda: producer.publish(_VALUE, routing_key=_TASKS), seconds),
        }
    for app in (plain, confirming):
        app.close()


def _send_task(app: Celery) -> None:
    app.send_task("pack", [_VALUE], queue=_TASKS)


def _loop(send: Callable[[], object], seconds: int) -> float:
    began, sent = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        send()
        sent += 1
    return sent / (time.perf_counter() - began)


MEASUREMENTS = (messages,)
