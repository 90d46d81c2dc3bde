"""A task's side of a stream, at a real broker: the queue is the test's."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
from celery import Celery

from nowait.messages.limits import MAX_PART
from nowait.messages.part import PartId, Summary, queue_of
from nowait.topology import Topology
from nowait.worker import ReaderLeft, Streaming
from nowait.worker import streaming as streaming_module
from nowait.worker.publisher import NoQueue, QueueFull
from nowait.worker.streaming import Stream

ARGUMENTS = {"x-max-length-bytes": 1024 * 1024, "x-overflow": "reject-publish"}


class Reading:
    """The queue of a stream."""

    def __init__(self, channel: Any, task_id: str) -> None:
        self._queue = kombu.Queue(queue_of(task_id), channel=channel, exclusive=True, queue_arguments=ARGUMENTS)
        self._queue.declare()

    def get(self) -> tuple[int, bytes] | None:
        """Number and body of the next message; None when there is none."""
        message = self._queue.get(no_ack=True)
        if message is None:
            return None
        part = PartId.parse(message.properties["message_id"])
        assert part is not None
        body = message.body  # text, where py-amqp has decoded it
        return part.number, body.encode() if isinstance(body, str) else bytes(body)

    def part(self) -> tuple[int, bytes]:
        """The next part, once it is there."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = self.get()
            if found is not None and found[0]:
                return found
            if found is None:
                time.sleep(0.01)
        raise AssertionError("no part came")

    def delete(self) -> None:
        self._queue.delete()


@pytest.fixture
def app(vhost: str) -> Celery:
    return Celery("tests", broker=vhost, set_as_current=False)


@pytest.fixture
def streaming(app: Celery) -> Iterator[Streaming]:
    """Its connections are closed at the end."""
    made = Streaming(app)
    yield made
    for channel in made._publisher._idle:
        channel.connection.collect()


@pytest.fixture
def queue(app: Celery) -> Iterator[Reading]:
    with app.connection_for_read() as connection:
        yield Reading(connection.default_channel, "some-task")


def sent(stream: Stream) -> int:
    """How many parts a stream has that is at its end."""
    summary = Summary.parse(stream.end())
    assert summary is not None
    return summary.parts


REQUEST = SimpleNamespace(id="some-task", expires=None)


def test_what_was_written_arrives_in_parts_and_is_counted(streaming: Streaming, queue: Reading) -> None:
    with streaming.open(REQUEST) as stream:
        stream.write(b"first")
        stream.write(b"x" * (MAX_PART + 10))
        assert sent(stream) == 3
    assert [queue.part() for _ in range(3)] == [(1, b"first"), (2, b"x" * MAX_PART), (3, b"x" * 10)]


def test_what_waits_for_more_leaves_by_itself(streaming: Streaming, queue: Reading) -> None:
    with streaming.open(REQUEST) as stream:
        stream.write(b"first")
        stream.write(b"second")
        assert [queue.part(), queue.part()] == [(1, b"first"), (2, b"second")]
        assert sent(stream) == 2


def test_a_task_that_is_busy_is_heard_of(streaming: Streaming, queue: Reading) -> None:
    with streaming.open(REQUEST):
        heard = []
        deadline = time.monotonic() + 30
        while len(heard) < 3 and time.monotonic() < deadline:
            heard += [each for each in [queue.get()] if each is not None]
            time.sleep(0.01)
    assert heard == [(0, b"")] * 3


def test_a_full_queue_has_the_task_wait_and_nothing_is_lost(streaming: Streaming, queue: Reading) -> None:
    written = threading.Event()

    def write() -> None:
        with streaming.open(REQUEST) as stream:
            for number in range(20):
                stream.write(bytes([number]) * MAX_PART)
            assert sent(stream) == 20
        written.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not written.wait(1.0)
    for number in range(20):
        assert queue.part() == (number + 1, bytes([number]) * MAX_PART)
    writer.join()
    assert written.is_set()


def test_a_reader_that_was_never_there_ends_the_task_at_once(streaming: Streaming) -> None:
    with pytest.raises(ReaderLeft), streaming.open(REQUEST):
        raise AssertionError("not reached")


def test_a_reader_that_leaves_ends_a_task_that_waits_for_room(streaming: Streaming, queue: Reading) -> None:
    leaving = threading.Timer(0.5, queue.delete)
    with pytest.raises(ReaderLeft), streaming.open(REQUEST) as stream:
        leaving.start()
        while True:
            stream.write(b"x" * MAX_PART)
    leaving.join()  # the connection is closed by one thread, with nothing under way


def test_a_reader_that_leaves_is_reported_to_a_task_that_is_busy(streaming: Streaming, queue: Reading) -> None:
    left = threading.Event()
    with pytest.raises(ReaderLeft) as caught, streaming.open(REQUEST, left.set):
        queue.delete()
        assert left.wait(30)
        raise LookupError("what it was busy with was ended")
    assert isinstance(caught.value.__cause__, LookupError)


def test_the_time_of_the_task_ends_its_waiting(streaming: Streaming, queue: Reading) -> None:
    request = SimpleNamespace(id="some-task", expires=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 2)))
    with pytest.raises(ReaderLeft, match="time"), streaming.open(request) as stream:
        while True:
            stream.write(b"x" * MAX_PART)


def test_an_error_of_the_task_is_its_own_while_somebody_reads(streaming: Streaming, queue: Reading) -> None:
    with pytest.raises(LookupError), streaming.open(REQUEST):
        raise LookupError


class FullQueue:
    """In place of a publisher: a queue without room for a part, whose reader leaves after some looks.

    Attributes:
        refused: how many parts it did not take.
    """

    def __init__(self, looks: int) -> None:
        self.refused = 0
        self._looks = looks

    def publish(self, message: Any, *_: Any, **__: Any) -> None:
        if message.body:
            self.refused += 1
            raise QueueFull
        self._looks -= 1
        if not self._looks:
            raise NoQueue


def test_a_part_is_sent_to_a_full_queue_again_more_and_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_module, "_LAST_LOOK", 0.01)
    publisher: Any = FullQueue(looks=100)
    with pytest.raises(ReaderLeft), Stream(publisher, Topology.declared(), "some-task", None, None) as stream:
        stream.write(b"x" * MAX_PART)
    assert 2 <= publisher.refused < 20
