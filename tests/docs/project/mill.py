"""A foreign Celery application, with an exchange, routes, queues and names of its own."""

import json
import os
import time

from celery import Celery
from kombu import Exchange, Queue

app = Celery("mill", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_queues=[Queue("mill.grain", Exchange("mill", type="topic"), routing_key="grain.#")],
    task_default_queue="mill.grain",
    task_default_exchange="mill",
    task_default_exchange_type="topic",
    task_default_routing_key="grain.any",
    task_routes={"mill.total": {"queue": "mill.grain", "routing_key": "grain.total.fine"}},
    **json.loads(os.environ["LINES"]),
)


@app.task(name="mill.add")
def add(one: int, other: int) -> int:
    return one + other


@app.task(name="mill.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="mill.again", bind=True, acks_late=True)
def again(self) -> int:
    if not self.request.retries:
        # When that it is tried again has been kept: beside the other try, it might be kept behind that one's result.
        raise self.retry(countdown=1)
    return self.request.retries


@app.task(name="mill.wrong")
def wrong() -> None:
    raise LookupError("no grain")


@app.task(name="mill.slow", acks_late=True)
def slow() -> str:
    print("mill.slow has begun")
    time.sleep(1)
    return "ground"
