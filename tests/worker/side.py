"""One of the workers that are compared, with all that a user sees of it."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
from celery import Celery
from celery.events.event import get_exchange
from celery.result import AsyncResult
from kombu import Connection, Queue

from deploy.local.broker import Broker
from deploy.local.process import Process
from nowait.topology import Topology
from tests.conftest import Start, printed
from tests.worker.queues import DEAD, EVENTS, QUEUE, task_queues

APPLICATION = "tests.worker.promises"
HOSTNAME = "promises@tests"
_DEADLINE = 30.0  # seconds
# Closes the connections from these ports that have a consumer.
_CUT = """
[rabbit_networking:close_connection(Connection, "closed by a test")
 || [{pid, Connection}, {peer_port, Port}] <- rabbit_networking:connection_info_all([pid, peer_port]),
    lists:member(Port, PORTS),
    lists:any(fun([{connection, Its}, {consumer_count, Count}]) -> Its == Connection andalso Count > 0 end,
              rabbit_channel:info_all([connection, consumer_count]))].
"""
T = TypeVar("T")


class Side:
    """A worker, the broker and the folder that it has for itself, and its caller.

    Args:
        start: starts its process.
        broker_url: of an empty broker.
        folder: an empty folder.
        options: of `celery worker`.
        threads: how many tasks it runs at a time.
        backend: the result backend of the caller.
        queue_type: classic or quorum.
        broker: the broker, for cut().
        events: it sends events of each task.
        arrivals: it notes the arrival of each task.
        conf: further settings of Celery for the worker.
        settings: NOWAIT_ variables, in lower case.

    Attributes:
        app: the application of the caller; it knows no task.
        threads: as given.
        process: of the worker.
    """

    def __init__(
        self, start: Start, broker_url: str, folder: Path, *options: str, threads: int = 1, backend: str = "rpc://",
        queue_type: str = "classic", broker: Broker | None = None, events: bool = False,
        arrivals: bool = False, conf: Any = None, **settings: Any,
    ) -> None:  # fmt: skip
        self.threads = threads
        self.folder = folder
        # A result is received by the thread that sent its task.
        self._thread = ThreadPoolExecutor(1)
        self.app = Celery("caller", broker=broker_url, backend=backend, set_as_current=False)
        self.app.conf.update(task_default_queue=QUEUE, task_queues=task_queues(queue_type))
        self._connection = Connection(broker_url.split(";")[-1])
        self._events: list[dict[str, Any]] = []
        self._thread.submit(self._declare).result()

        self._broker = broker

        def begin(*command: str) -> Process:
            return start(
                "worker",
                "celery",
                *command,
                broker_url=broker_url,
                test_folder=folder,
                test_conf=json.dumps(conf or {}),
                test_queue_type=queue_type,
                test_arrivals=int(arrivals),
                **settings,
            )

        self._begin = begin
        self._worker = ["-A", APPLICATION, *f"worker -l INFO -n {HOSTNAME} -Q {QUEUE}".split(), *options]
        self._worker += ["-E"] if events else []
        self.process = begin(*self._worker)

    def do(self, scenario: Callable[["Side"], T]) -> "Future[T]":
        """Run a function of this side on its thread."""
        return self._thread.submit(scenario, self)

    def ready(self) -> "Side":
        """Return once the worker consumes."""
        self.process.wait_until(lambda: " ready." in printed(self.process), 60.0)
        return self

    def ended(self) -> int:
        """The exit status of the worker, once it has ended."""
        eventually(lambda: self.process.returncode is not None)
        assert self.process.returncode is not None
        return self.process.returncode

    def restart(self) -> None:
        """Start another worker in its place."""
        self.process = self._begin(*self._worker)
        self.ready()

    def command(self, words: str, app: bool = True) -> tuple[int, str]:
        """The exit status of another command of Celery's, and what it prints."""
        process = self._begin(*(["-A", APPLICATION] if app else []), *words.split())
        eventually(lambda: process.returncode is not None)
        assert process.returncode is not None
        return process.returncode, printed(process)

    def cut(self) -> None:
        """Have the broker close the connections by which the worker consumes."""
        assert self._broker is not None
        ports = {connection.laddr.port for connection in psutil.Process(self.process.pid).net_connections()}
        self._broker.control("eval", _CUT.replace("PORTS", str(sorted(ports))))

    def close(self) -> None:
        """End the worker, and let go of all connections."""
        self.process.kill()

        def close() -> None:
            consumer: Any = getattr(self.app.backend, "result_consumer", None)
            if consumer is not None and consumer._consumer is not None:
                consumer.stop()
            self.app.close()
            self._connection.close()

        self._thread.submit(close).result()
        self._thread.shutdown()

    # Tasks and their results.

    def send(self, name: str, *args: Any, **options: Any) -> "AsyncResult[Any]":
        """Send a task; `kwargs` and the like are Celery's options."""
        return self.app.send_task(f"test.{name}", args, **options)

    def states(self, result: "AsyncResult[Any]") -> list[tuple[str, Any]]:
        """All states of a task, to the last one, with what came with them; exceptions as their repr()."""
        seen: list[tuple[str, Any]] = []

        def add(reply: Any) -> None:
            if reply["task_id"] == result.id:
                value = reply["result"]
                error = reply["status"] in ("FAILURE", "RETRY", "REVOKED")
                seen.append((reply["status"], repr(self.app.backend.exception_to_python(value)) if error else value))

        result.get(timeout=_DEADLINE, propagate=False, on_message=add)
        return seen

    def outcome(self, result: "AsyncResult[Any]") -> tuple[str, Any]:
        """The last state of a task, and its result; an exception as its repr()."""
        value = result.get(timeout=_DEADLINE, propagate=False)
        return result.state, repr(value) if isinstance(value, BaseException) else value

    def settle(self, on_message: Callable[[Any], None] | None = None) -> None:
        """Return once a task that is sent now has been done; called with each reply that comes before its own."""
        assert self.send("add", 1, 1).get(timeout=_DEADLINE, on_message=on_message) == 2

    def replies(self, task_id: str) -> list[tuple[str, Any]]:
        """What has come for a task that has ended."""
        seen: list[tuple[str, Any]] = []

        def add(reply: Any) -> None:
            if reply["task_id"] == task_id:
                seen.append((reply["status"], reply["result"]))

        self.settle(add)
        return seen

    def release(self, gate: str) -> None:
        """Let the tasks go on that hold there."""
        (self.folder / gate).touch()

    # What the worker does.

    def notes(self, task_id: str | None = None, kind: str | None = None) -> list[dict[str, Any]]:
        """What the worker has written down, of one task and of one kind."""
        file = self.folder / "notes"
        found = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        return [note for note in found if task_id in (None, note["id"]) and kind in (None, note["kind"])]

    def noted(self, task_id: str | None, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """As notes(), once there are so many of that kind."""
        eventually(lambda: len(self.notes(task_id, kind)) >= count)
        return self.notes(task_id, kind)

    def kinds(self, task_id: str, last: str, count: int = 1) -> list[str]:
        """The kinds of a task's notes but of its arrival, in their order, once the last one is there."""
        self.noted(task_id, last, count)
        return [note["kind"] for note in self.notes(task_id) if note["kind"] != "received"]

    def arrivals(self, prefix: str) -> list[str]:
        """The rests of the ids that begin so, in the order in which the worker has received them, by its log."""
        return re.findall(rf"\[{re.escape(prefix)}(.*)\] received", printed(self.process))

    def arrived(self, task_id: str, count: int = 1) -> None:
        """Return once the worker has received a task, so many times."""
        eventually(lambda: self.arrivals(task_id).count("") >= count)

    def log(self, part: str, last: str | None = None) -> list[str]:
        """The lines of the worker's log with `part`, once one has `last`, too; without what differs in each run."""

        def lines() -> list[str]:
            found = [line for line in printed(self.process).splitlines() if part in line]
            return [re.sub(r"\d+\.\d+(e-\d+)?s\b", "…s", re.sub(r"^\[[\d\- :,]+: ", "[", line)) for line in found]

        if last is not None:
            eventually(lambda: any(last in line for line in lines()))
        return lines()

    def events(self, task_id: str | None = None, last: str | None = None) -> list[dict[str, Any]]:
        """The worker's events, of one task; once there is the type `last` among them."""

        def of_task() -> list[dict[str, Any]]:
            self._receive_events()
            return [event for event in self._events if task_id in (None, event.get("uuid"))]

        if last is not None:
            eventually(lambda: any(event["type"] == last for event in of_task()))
        return of_task()

    def inspect(self, command: str, *args: Any, **options: Any) -> Any:
        """What the worker answers to a command of `celery inspect`."""
        answer = getattr(self.app.control.inspect([HOSTNAME], timeout=_DEADLINE, limit=1), command)(*args, **options)
        assert answer is not None, f"no answer to {command}"
        return answer[HOSTNAME]

    def inspect_own(self, command: str) -> Any:
        """What the worker answers to a command of its application's."""
        return self.app.control.inspect([HOSTNAME], timeout=_DEADLINE, limit=1)._request(command)[HOSTNAME]

    def control(self, command: str, **arguments: Any) -> Any:
        """What the worker answers to a command of `celery control`."""
        answers = self.app.control.broadcast(
            command, arguments, destination=[HOSTNAME], reply=True, timeout=_DEADLINE, limit=1
        )
        assert answers, f"no answer to {command}"
        return answers[0][HOSTNAME]

    # What the broker has.

    def waiting(self, queue: str = QUEUE) -> int:
        """How many messages a queue has, without those that a worker has fetched."""
        return int(self._channel.queue_declare(queue, passive=True).message_count)

    def left(self, expected: int, queue: str = QUEUE) -> int:
        """As waiting(), once it is as expected; whatever it is after a few seconds."""
        with suppress(AssertionError):
            eventually(lambda: self.waiting(queue) == expected, 3.0)
        return self.waiting(queue)

    def letter(self) -> tuple[str, Any]:
        """The next rejected message, and its queue: DEAD or that of nowait.worker:Consumer."""

        def take() -> tuple[str, Any] | None:
            for queue in (DEAD, Topology.dead_letter_queue):
                if (message := self._channel.basic_get(queue, no_ack=True)) is not None:
                    return queue, message
            return None

        found = eventually(take)
        assert found is not None
        return found

    def publish(self, message: Any, queue: str) -> None:
        """Send a message of py-amqp's."""
        self._channel.basic_publish(message, routing_key=queue)

    @property
    def _channel(self) -> Any:
        return self._connection.default_channel

    def _declare(self) -> None:
        events = get_exchange(self._connection, name=self.app.conf.event_exchange)
        bounds = Topology().dead_letter_arguments
        dead = [Queue(DEAD), Queue(Topology.dead_letter_queue, queue_arguments=bounds)]
        for queue in (*dead, Queue(EVENTS, events, routing_key="#")):
            queue(self._channel).declare()

    def _receive_events(self) -> None:
        while (message := self._channel.basic_get(EVENTS, no_ack=True)) is not None:
            body = json.loads(message.body)
            self._events += body if isinstance(body, list) else [body]


def eventually(condition: Callable[[], T], seconds: float = _DEADLINE) -> T:
    """What it returns, once that is true; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)
    return found
