"""The application whose workers are compared: `celery -A tests.worker.promises worker`.

NOWAIT_TEST_FOLDER is a folder: signals and tasks append what happens to its file "notes", and test.hold waits for a
file of it. NOWAIT_TEST_CONSUMER and NOWAIT_TEST_BACKEND are the class of the consumer and the
result backend, Celery's own unless they are given; NOWAIT_TEST_CONF holds further settings of Celery, as JSON;
NOWAIT_TEST_QUEUE_TYPE is classic or quorum; with NOWAIT_TEST_ARRIVALS=1 arrivals of tasks are noted.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, bootsteps, signals
from celery.exceptions import Ignore, Reject
from celery.worker.control import control_command, inspect_command
from celery.worker.request import Request
from celery.worker.strategy import default
from kombu import Consumer, Message, Queue

from tests.worker.queues import QUEUE, RAW, task_queues

environment = os.environ.get
FOLDER = Path(environment("NOWAIT_TEST_FOLDER", "."))

app = Celery(
    "promises",
    broker=environment("NOWAIT_BROKER_URL", "memory://"),
    backend=environment("NOWAIT_TEST_BACKEND", "rpc://"),
    set_as_current=False,
)
app.conf.update(
    worker_consumer=environment("NOWAIT_TEST_CONSUMER", "celery.worker.consumer:Consumer"),
    nowait_canvas=True,
    task_default_queue=QUEUE,
    task_queues=task_queues(environment("NOWAIT_TEST_QUEUE_TYPE", "classic")),
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=2,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)
app.conf.update(json.loads(environment("NOWAIT_TEST_CONF", "{}")))


def note(kind: str, task_id: str | None = None, **fields: Any) -> None:
    """Write down what happened."""
    line = json.dumps({"kind": kind, "id": task_id, **fields}, default=repr)
    with (FOLDER / "notes").open("a") as file:
        file.write(line + "\n")


# Signals.


def received(request: Any, **_: Any) -> None:
    fields = ("name", "args", "kwargs", "hostname", "root_id", "correlation_id", "delivery_info", "argsrepr")
    note("received", request.id, **{name: getattr(request, name) for name in fields})


if environment("NOWAIT_TEST_ARRIVALS") == "1":
    signals.task_received.connect(received)


@signals.task_prerun.connect
def prerun(sender: Any, task_id: str, task: Any, args: Any, kwargs: Any, **_: Any) -> None:
    note("prerun", task_id, sender=sender.name, task=task.name, args=args, kwargs=kwargs)


@signals.task_postrun.connect
def postrun(task_id: str, task: Any, args: Any, kwargs: Any, retval: Any, state: str, **_: Any) -> None:
    note("postrun", task_id, task=task.name, args=args, kwargs=kwargs, retval=retval, state=state)


@signals.task_success.connect
def success(sender: Any, result: Any, **_: Any) -> None:
    note("success", sender.request.id, sender=sender.name, result=result)


@signals.task_failure.connect
def failure(sender: Any, task_id: str, exception: Any, args: Any, kwargs: Any, einfo: Any, **_: Any) -> None:
    kind = einfo.type.__name__
    note("failure", task_id, sender=sender.name, exception=exception, args=args, kwargs=kwargs, type=kind)


@signals.task_retry.connect
def retried(sender: Any, request: Any, reason: Any, **_: Any) -> None:
    note("retry", request.id, sender=sender.name, reason=str(reason))


@signals.task_revoked.connect
def revoked(sender: Any, request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
    note("revoked", request.id, sender=sender.name, terminated=terminated, signum=signum, expired=expired)


@signals.task_unknown.connect
def unknown(id: str, name: str, **_: Any) -> None:  # noqa: A002 (Celery's)
    note("unknown", id, name=name)


@signals.task_rejected.connect
def rejected(message: Any, **_: Any) -> None:
    note("rejected", message.headers.get("id"))


@signals.worker_init.connect
@signals.worker_ready.connect
@signals.worker_shutting_down.connect
@signals.worker_shutdown.connect
def lifecycle(signal: Any, **fields: Any) -> None:
    note(signal.name, **{name: fields[name] for name in ("sig", "how", "exitcode") if name in fields})


# What an application may add to its workers.


class Steps(bootsteps.StartStopStep):
    """A step of the consumer that looks at what it finds there."""

    requires = {"celery.worker.consumer.tasks:Tasks"}

    def start(self, parent: Any) -> None:
        names = "app controller hostname pool timer hub qos connection task_consumer event_dispatcher strategies"
        note("step started", found=[name for name in names.split() if getattr(parent, name, None) is not None])
        parent.timer.call_after(0.1, note, ("step's timer",))

    def stop(self, parent: Any) -> None:
        note("step stopped")


class Raw(bootsteps.ConsumerStep):
    """A consumer of other messages than tasks."""

    def get_consumers(self, channel: Any) -> list[Consumer]:
        return [Consumer(channel, queues=[Queue(RAW)], callbacks=[self.receive], accept=["json"])]

    def receive(self, body: Any, message: Message) -> None:
        note("raw", body["id"], body=body)
        message.ack()


app.steps["consumer"].update([Steps, Raw])


@control_command(args=[("n", int)], signature="[N=1]")
def increase_prefetch_count(state: Any, n: int = 1) -> Any:
    state.consumer.qos.increment_eventually(n)
    return {"ok": "prefetch count incremented"}


@control_command(args=[("n", int)], signature="[N=1]")
def decrease_prefetch_count(state: Any, n: int = 1) -> Any:
    state.consumer.qos.decrement_eventually(n)
    return {"ok": "prefetch count decremented"}


@inspect_command()
def current_prefetch_count(state: Any) -> Any:
    return {"prefetch_count": state.consumer.qos.value}


class OwnRequest(Request):
    """A request of the application's own."""

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        note("accepted", self.id, delivery=self.delivery_info["routing_key"])
        super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        note("failed", self.id, exception=exc_info.exception)
        return super().on_failure(exc_info, send_failed_event, return_ok)


def own_strategy(task: Any, app: Any, consumer: Any, **options: Any) -> Any:
    """How messages of a task become requests, the application's own."""
    celerys = default(task, app, consumer, **options)

    def strategy(message: Any, *args: Any, **kwargs: Any) -> Any:
        note("strategy", message.headers["id"], task=message.headers["task"])
        return celerys(message, *args, **kwargs)

    return strategy


# Tasks.


@app.task(name="test.add")
def add(a: Any, b: Any) -> Any:
    """Their sum."""
    return a + b


@app.task(name="test.sum")
def total(numbers: list[Any]) -> Any:
    """The sum of many."""
    return sum(numbers)


@app.task(name="test.fail")
def fail(*args: Any) -> None:
    """Raise."""
    raise LookupError(*args)


@app.task(name="test.note", bind=True)
def note_run(self: Task, *args: Any) -> None:
    """Write down that it ran."""
    note("run", self.request.id, args=args, retries=self.request.retries, at=time.time())


@app.task(name="test.quiet", bind=True, send_events=False)
def quiet(self: Task) -> None:
    """Run without events."""
    note("run", self.request.id)


@app.task(name="test.ignored", bind=True, ignore_result=True)
def ignored(self: Task) -> int:
    """Return what nobody wants."""
    note("run", self.request.id)
    return 1


@app.task(name="test.hold", bind=True)
def hold(self: Task, gate: str) -> str:
    """Run until the file `gate` is there."""
    note("run", self.request.id, args=[gate], redelivered=self.request.delivery_info["redelivered"])
    while not (FOLDER / gate).exists():
        time.sleep(0.01)
    note("end", self.request.id)
    return gate


@app.task(name="test.hold_late", bind=True, acks_late=True)
def hold_late(self: Task, gate: str) -> str:
    """As test.hold, acknowledged at its end."""
    return str(hold.run.__func__(self, gate))


@app.task(name="test.request", bind=True)
def request(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What it knows of itself."""
    names = (
        "id task args kwargs retries hostname delivery_info correlation_id reply_to root_id parent_id expires eta"
        " timelimit group group_index shadow origin lang argsrepr kwargsrepr ignore_result is_eager called_directly"
        " headers properties stamps stamped_headers callbacks errbacks chain chord utc own replaced_task_nesting"
    ).split()
    return {name: getattr(self.request, name, "missing") for name in names}


@app.task(name="test.parent", bind=True)
def parent(self: Task, task_id: str) -> None:
    """Send another task."""
    app.send_task("test.note_family", task_id=task_id)


@app.task(name="test.note_family", bind=True)
def note_family(self: Task) -> None:
    """Write down who sent it."""
    note("family", self.request.id, root_id=self.request.root_id, parent_id=self.request.parent_id)


@app.task(name="test.retry", bind=True, max_retries=2)
def retry(self: Task, times: int, countdown: float = 0) -> int:
    """Try again, so many times."""
    note("run", self.request.id, retries=self.request.retries, eta=self.request.eta is not None)
    if self.request.retries < times:
        raise self.retry(countdown=countdown, exc=LookupError("again"))
    return int(self.request.retries)


@app.task(
    name="test.autoretry", bind=True, autoretry_for=(LookupError,), retry_backoff=1, retry_jitter=False, max_retries=1
)
def autoretry(self: Task) -> None:
    """Raise, and be tried again."""
    note("run", self.request.id, retries=self.request.retries, at=time.time())
    raise LookupError("never")


@app.task(name="test.reject", bind=True, acks_late=True)
def reject(self: Task, requeue: bool) -> str:
    """Reject its message, once."""
    redelivered = self.request.delivery_info["redelivered"]
    note("run", self.request.id, redelivered=redelivered)
    if not redelivered:
        raise Reject("no", requeue=requeue)
    return "now"


@app.task(name="test.fail_late", bind=True, acks_late=True)
def fail_late(self: Task) -> None:
    """Raise before its message is acknowledged."""
    note("run", self.request.id)
    raise LookupError("late")


@app.task(name="test.fail_unacknowledged", bind=True, acks_late=True, acks_on_failure=False, acks_on_timeout=False)
def fail_unacknowledged(self: Task) -> None:
    """Raise, and reject its message by that."""
    note("run", self.request.id)
    raise LookupError("unacknowledged")


@app.task(name="test.ignore", bind=True)
def ignore(self: Task) -> None:
    """End without a state."""
    note("run", self.request.id)
    raise Ignore


@app.task(name="test.ignore_with_state", bind=True)
def ignore_with_state(self: Task) -> None:
    """End with a state of its own."""
    self.update_state(state="OWN", meta={"own": 1})
    raise Ignore


@app.task(name="test.progress", bind=True)
def progress(self: Task, steps: int) -> int:
    """Tell of each step."""
    for step in range(steps):
        self.update_state(state="PROGRESS", meta={"step": step})
    return steps


@app.task(name="test.tracked", track_started=True)
def tracked() -> int:
    """Tell that it began."""
    return 1


@app.task(name="test.limited", bind=True, rate_limit="4/s")
def limited(self: Task) -> float:
    """When it ran."""
    return time.monotonic()


@app.task(name="test.sleep")
def sleep(seconds: float) -> float:
    """Take that long."""
    time.sleep(seconds)
    return seconds


@app.task(name="test.slow", soft_time_limit=0.1, time_limit=0.2)
def slow() -> str:
    """Take longer than its limits."""
    time.sleep(0.4)
    return "in time"


@app.task(name="test.not_serializable")
def not_serializable() -> object:
    """Return what no reply can carry."""
    return object()


@app.task(name="test.exit")
def leave(status: int) -> None:
    """Raise SystemExit."""
    raise SystemExit(status)


@app.task(name="test.own_request", Request=OwnRequest)
def own_request(fails: bool = False) -> str:
    """Have a request of its own class."""
    if fails:
        raise LookupError("own")
    return "own"


@app.task(name="test.own_strategy", Strategy="tests.worker.promises:own_strategy")
def with_own_strategy() -> str:
    """Have a strategy of its own."""
    return "own"


@app.task(name="test.replace", bind=True)
def replace(self: Task, *args: Any) -> None:
    """Have another task in its place."""
    raise self.replace(note_run.s(*args))


@app.task(name="test.log")
def log(text: str) -> None:
    """Print and log."""
    from celery.utils.log import get_task_logger

    get_task_logger(__name__).warning("%s", text)


class Hooked(Task):  # type: ignore[type-arg]
    """A task that is called at each step of its life."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note("before_start", task_id)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note("on_success", task_id)

    def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_retry", task_id)

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_failure", task_id)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("after_return", task_id)


@app.task(name="test.hooked", bind=True, base=Hooked, max_retries=1)
def hooked(self: Task, how: str) -> None:
    """Succeed, fail or be tried again."""
    if how == "retry":
        raise self.retry(countdown=0, exc=LookupError("hooked"))
    if how == "failure":
        raise LookupError("hooked")
