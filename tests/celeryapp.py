"""The Celery application of the test workers: `celery -A tests.celeryapp worker`.

NOWAIT_TEST_RUNS names the file that test.record appends to, NOWAIT_TEST_QUEUE_TYPE the type of the
queue: classic, quorum or exclusive; NOWAIT_TEST_BACKEND the result backend, rpc:// unless it is given;
NOWAIT_TEST_CONSUMER the class of the consumer, Celery's own unless it is given; NOWAIT_TEST_ACCEPT the
content that is accepted, JSON unless it is given; NOWAIT_TEST_ACKS_LATE=1 has tasks acknowledged after
their end; NOWAIT_TEST_ALIVE the file of its signs of life; NOWAIT_TEST_TASK the base class of the tasks;
NOWAIT_TEST_TIMEZONE the time zone, UTC unless it is given; NOWAIT_TEST_METRICS=1 has them counted;
NOWAIT_TEST_TRACES=1 has them traced, 0 has what that takes loaded.
"""

import math
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.signals import celeryd_after_setup
from kombu import Queue

from nowait.messages.encoded import Encoded
from nowait.worker import ReaderLeft, Streaming

environment = os.environ.get
app = Celery(
    "tests",
    broker=environment("NOWAIT_BROKER_URL", "memory://"),
    backend=environment("NOWAIT_TEST_BACKEND", "rpc://"),
    task_cls=environment("NOWAIT_TEST_TASK"),
)
app.conf.update(
    nowait_liveness_file=Path(environment("NOWAIT_TEST_ALIVE", "")) if environment("NOWAIT_TEST_ALIVE") else None,
    nowait_canvas=False,
    worker_consumer=environment("NOWAIT_TEST_CONSUMER", "celery.worker.consumer:Consumer"),
    task_default_queue="tests",
    task_queues=[
        Queue("tests", exclusive=True)
        if (kind := environment("NOWAIT_TEST_QUEUE_TYPE", "classic")) == "exclusive"
        else Queue("tests", queue_arguments={"x-queue-type": kind})
    ],
    accept_content=environment("NOWAIT_TEST_ACCEPT", "json").split(),
    task_acks_late=environment("NOWAIT_TEST_ACKS_LATE") == "1",
    broker_connection_retry_on_startup=environment("NOWAIT_TEST_RETRY_ON_STARTUP") != "0",
    worker_prefetch_multiplier=1,
    timezone=environment("NOWAIT_TEST_TIMEZONE"),
)

if environment("NOWAIT_TEST_METRICS") == "1":

    @celeryd_after_setup.connect
    def count(**_: Any) -> None:
        from prometheus_client import CollectorRegistry

        from tasks.metrics.events import EventMetrics

        EventMetrics(CollectorRegistry(), forks=False)


if environment("NOWAIT_TEST_TRACES"):

    @celeryd_after_setup.connect
    def trace(instance: Any, **_: Any) -> None:
        from nowait.tracing import otel  # noqa: F401
        from tasks import spans

        if environment("NOWAIT_TEST_TRACES") == "1":
            spans.begin(instance)


@app.task(name="test.echo")
def echo(*args: Any, **kwargs: Any) -> Any:
    """What it was given."""
    return args[0] if args else kwargs


@app.task(name="test.encoded")
def encoded(value: Any) -> Encoded:
    """What it was given, encoded by itself."""
    return Encoded.of(value)


@app.task(name="test.bad_result")
def bad_result(kind: str) -> Any:
    """Return what a reply cannot carry."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    values = {"not a number": math.nan, "no JSON": object(), "too deep": deep, "too large": "x" * 20_000_000}
    return values[kind]


@app.task(name="test.pid")
def pid() -> int:
    """The process that runs it."""
    return os.getpid()


@app.task(name="test.fail")
def fail(text: str) -> None:
    """Raise."""
    raise LookupError(text)


@app.task(name="test.sleep")
def sleep(seconds: float) -> float:
    """Take that long."""
    time.sleep(seconds)
    return seconds


@app.task(name="test.progress", bind=True)
def progress(self: Task, steps: int) -> int:
    """Tell of each step."""
    for step in range(steps):
        self.update_state(state="PROGRESS", meta={"step": step})
    return steps


streaming = Streaming(app)


@app.task(name="test.stream", bind=True, throws=(ReaderLeft,))
def stream(self: Task, sizes: list[int], pause: float = 0.0, failure: str = "") -> Any:
    """Answer with parts of these sizes, `pause` seconds behind each, and fail then if there is a reason given."""
    note = Path(environment("NOWAIT_TEST_STREAMS", os.devnull))
    try:
        with streaming.open(self.request) as opened:
            for number, size in enumerate(sizes):
                opened.write(bytes([number % 256]) * size)
                time.sleep(pause)
            if failure:
                raise LookupError(failure)
            return opened.end()
    except ReaderLeft:
        with note.open("a") as file:
            file.write(f"{self.request.id} left\n")
        raise


@app.task(name="test.record")
def record(payload: str, deadline: float, pause: float = 0.0, gate: str = os.devnull) -> str:
    """Return `payload`, `pause` seconds after a note that it ran: when, and what deadline it had.

    Behind the note, the file `gate` is waited for.
    """
    line = f"{payload} {time.time()} {deadline}\n"
    with open(os.environ["NOWAIT_TEST_RUNS"], "a") as file:
        file.write(line)
    while not os.path.exists(gate):
        time.sleep(0.01)
    time.sleep(pause)
    return payload
