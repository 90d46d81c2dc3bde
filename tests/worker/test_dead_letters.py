"""Rejected messages: answered at once, kept in the dead-letter queue, and no burden for the others."""

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any
from uuid import uuid4

import amqp
import kombu
import pytest
from celery import Celery
from celery.backends.rpc import RPCBackend
from celery.exceptions import NotRegistered
from kombu.message import Message

from deploy.local.process import Process
from nowait.amqp import methods
from nowait.amqp import properties as amqp_properties
from nowait.errors import MessageTooLarge, TaskFailed, UnknownTask
from nowait.messages.limits import MAX_TASK_BODY, MAX_TASK_HEADERS
from nowait.messages.reply import decode_reply
from nowait.topology import Topology
from nowait.worker.dead_letters import dead_letter
from tests.bridge.conftest import running, until
from tests.bridge.test_workers import PYTHONS
from tests.conftest import Start, celery_worker, printed

QUEUE = "tests"
DEAD_LETTERS = Topology.dead_letter_queue


def strict_worker(start: Start, vhost: str, pool: str = "threads", **settings: Any) -> Process:
    """A worker that validates its messages, with Celery's own result backend."""
    # With gevent, Celery 5.3 acknowledges only when the next message comes, or after 2 seconds.
    options = ("-P", pool, "-c", "100" if pool == "gevent" else "1")
    consumer = {"test_consumer": "nowait.worker:Consumer", **settings}
    return celery_worker(start, "tests.celeryapp", *options, broker_url=vhost, **consumer)


def task_message(**headers: Any) -> dict[str, Any]:
    """The properties of a good message, with other headers."""
    app = Celery("callers", broker="memory://", set_as_current=False)
    made = app.amqp.as_task_v2("an-id", "test.echo", ["hello"], {}, reply_to="callers")
    return {
        **made.properties,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "application_headers": {**made.headers, **headers},
    }


GOOD = json.dumps([["hello"], {}, {}]).encode()


@pytest.mark.gen_test
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
@pytest.mark.parametrize("celery", list(PYTHONS))
async def test_a_task_that_the_worker_lacks_fails_at_once(vhost: str, start: Start, celery: str, pool: str) -> None:
    worker = strict_worker(start, vhost, pool, python=PYTHONS[celery], test_backend="nowait.worker:Results")
    async with running(vhost) as bridge:
        with pytest.raises(UnknownTask, match="test.nobody"):
            await bridge.send_task("test.nobody", queue=QUEUE, timeout=50)
        with pytest.raises(TaskFailed, match="other tasks") as caught:
            await bridge.send_task("test.echo", queue=QUEUE, timeout=50, chain=["test.echo"])
        assert (caught.value.state, caught.value.exception) == ("REJECTED", "InvalidMessage")
        calls = [bridge.send_task("test.echo", [number], queue=QUEUE, timeout=50) for number in range(20)]
        assert await asyncio.gather(*calls) == list(range(20))
        assert bridge.statistics().unknown == 0
    worker.stop()


@pytest.mark.gen_test
@pytest.mark.parametrize("backend", ["rpc://", "nowait.worker:Results", "file"])
async def test_the_caller_of_a_rejected_message_needs_no_bridge(
    vhost: str, start: Start, tmp_path: Path, backend: str
) -> None:
    results = tmp_path.as_uri() if backend == "file" else backend
    worker = strict_worker(start, vhost, test_backend=results)
    lacking, refused = await asyncio.to_thread(failures, vhost, results if backend == "file" else "rpc://")
    assert isinstance(lacking, NotRegistered) and "test.nobody" in str(lacking)
    assert (type(refused).__name__, str(refused)) == ("InvalidMessage", "the body names other tasks to send")
    worker.stop()


def failures(broker: str, results: str) -> list[Exception]:
    """What Celery raises for a task that the worker lacks, and for one that names further tasks."""
    app = Celery("callers", broker=broker, backend=results, set_as_current=False)
    raised: list[Exception] = []
    for task, options in (("test.nobody", {}), ("test.echo", {"chain": ["test.echo"]})):
        result = app.send_task(task, queue=QUEUE, **options)
        with pytest.raises(Exception) as caught:
            result.get(timeout=50)
        assert result.state == "FAILURE"
        raised.append(caught.value)
    backend: Any = app.backend
    if isinstance(backend, RPCBackend):
        backend.result_consumer.stop()
    app.close()
    return raised


REFUSED: list[tuple[dict[str, Any], bytes, type[Exception], str]] = [
    (task_message(), b'[["' + b"x" * MAX_TASK_BODY + b'"], {}, {}]', MessageTooLarge, "bytes"),
    (task_message(task="test.nobody"), GOOD, UnknownTask, "test.nobody"),
    (task_message(stamped_headers=["queue"]), GOOD, TaskFailed, "stamped_headers"),
    (task_message(id=None), GOOD, TaskFailed, "header id"),
    (task_message(compression="application/x-gzip"), b"x", TaskFailed, "compressed"),
    ({**task_message(), "content_type": "application/x-python-serialize"}, GOOD, TaskFailed, "such as JSON"),
    (task_message(), b"[", TaskFailed, "cannot be decoded"),
    (task_message(), b"{}", TaskFailed, "the body"),
]


@pytest.mark.gen_test
async def test_a_rejected_message_is_answered_with_the_reason(vhost: str, start: Start) -> None:
    worker = strict_worker(start, vhost)
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare("callers", durable=True, auto_delete=False)
        for properties, body, error, text in REFUSED:
            channel.basic_publish(amqp.Message(body, **properties), routing_key=QUEUE)
            [reply] = await messages(channel, "callers", 1)
            assert reply.properties["correlation_id"] == json.loads(reply.body)["task_id"] == "an-id"
            with pytest.raises(error, match=text):
                raise decode_reply(reply.body.encode(), reply.properties["content_type"]).error()
        assert len(await messages(channel, DEAD_LETTERS, len(REFUSED))) == len(REFUSED)
    worker.stop()


@pytest.mark.gen_test
async def test_what_the_application_accepts_besides_json_is_run(
    vhost: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("C_FORCE_ROOT", "1")  # without it, Celery unpickles nothing as root
    worker = strict_worker(start, vhost, test_accept="json pickle")
    pickled = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare("callers", durable=True, auto_delete=False)
        for body, state in (
            (pickle.dumps((("hello",), {}, {})), "SUCCESS"),
            (pickle.dumps((("hello",), {}, {"chain": ["test.echo"]})), "REJECTED"),
            (b"no pickle", "REJECTED"),
        ):
            channel.basic_publish(amqp.Message(body, **{**task_message(), **pickled}), routing_key=QUEUE)
            [reply] = await messages(channel, "callers", 1)
            assert decode_reply(reply.body.encode(), reply.properties["content_type"]).state == state
    worker.stop()


@pytest.mark.gen_test
async def test_a_task_of_protocol_1_is_run_and_a_misshapen_one_is_rejected(vhost: str, start: Start) -> None:
    worker = strict_worker(start, vhost)
    app = Celery("callers", broker="memory://", set_as_current=False)
    body = app.amqp.as_task_v1("an-id", "test.echo", ["hello"], {}).body
    properties = {**task_message(), "application_headers": {}}
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare("callers", durable=True, auto_delete=False)
        for changed, state in (({}, "SUCCESS"), ({"timelimit": 5}, "REJECTED"), ({"args": None}, "REJECTED")):
            content = json.dumps({**body, **changed}).encode()
            channel.basic_publish(amqp.Message(content, **properties), routing_key=QUEUE)
            [reply] = await messages(channel, "callers", 1)
            assert decode_reply(reply.body.encode(), reply.properties["content_type"]).state == state
    worker.stop()


@pytest.mark.gen_test
async def test_a_dead_letter_keeps_headers_and_properties(vhost: str, start: Start) -> None:
    worker = strict_worker(start, vhost)
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        properties = {**task_message(retries=-1, trace={"a": [1, None, "ü"]}), "timestamp": 1767323045, "priority": 3}
        options = {"user_id": "guest", "expiration": "60000", "app_id": "callers"}
        channel.basic_publish(amqp.Message(GOOD, **properties, **options), routing_key=QUEUE)
        [letter] = await messages(channel, DEAD_LETTERS, 1)
    assert letter.body == GOOD.decode()
    notes = {"x-rejected": "the header retries is not what it should be", "x-queue": QUEUE, "x-user-id": "guest"}
    assert letter.headers == {**properties.pop("application_headers"), **notes}
    kept = {name: value for name, value in letter.properties.items() if name != "application_headers"}
    assert kept == {**properties, "app_id": "callers", "delivery_mode": 2}
    worker.stop()


# Properties of any text.
TEXTS = (
    "content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id", "cluster_id",
)  # fmt: skip


@pytest.mark.gen_test
@pytest.mark.parametrize("pool", ["prefork", "threads"])
async def test_properties_that_are_no_utf_8_keep_no_dead_letter_back(vhost: str, start: Start, pool: str) -> None:
    worker = strict_worker(start, vhost, pool)
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        for name in TEXTS:
            encoded = amqp_properties.encode({name: "x" * 100}).replace(b"x", b"\xff")
            channel.connection.transport.write(methods.publish(channel.channel_id, "", QUEUE, encoded, b"{}", 131072))
        assert len(await messages(channel, DEAD_LETTERS, len(TEXTS))) == len(TEXTS)
        async with running(vhost) as bridge:
            assert await bridge.send_task("test.echo", [1], queue=QUEUE) == 1
        assert channel.basic_get(DEAD_LETTERS) is None
    worker.stop()


@pytest.mark.gen_test
async def test_a_dead_letter_goes_to_no_other_queue(vhost: str, start: Start) -> None:
    # RabbitMQ routes a message to the queues that its header CC names, too.
    worker = strict_worker(start, vhost)
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        for _ in range(5):
            channel.basic_publish(amqp.Message(b"x", application_headers={"CC": [QUEUE]}), routing_key="nowhere")
        assert len(await messages(channel, DEAD_LETTERS, 5)) == 5
        async with running(vhost) as bridge:
            assert await bridge.send_task("test.echo", [1], queue=QUEUE) == 1
        assert channel.basic_get(DEAD_LETTERS) is None
    worker.stop()


@pytest.mark.gen_test
async def test_a_dead_letter_queue_that_was_declared_otherwise_stays_as_it_is(vhost: str, start: Start) -> None:
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare(DEAD_LETTERS, durable=True, auto_delete=False)
        worker = strict_worker(start, vhost)
        async with running(vhost) as bridge:
            assert await bridge.send_task("test.echo", [1], queue=QUEUE) == 1
            with pytest.raises(UnknownTask):
                await bridge.send_task("test.nobody", queue=QUEUE)
        assert len(await messages(channel, DEAD_LETTERS, 1)) == 1
    assert printed(worker).count("not declared") == 1
    worker.stop()


@pytest.mark.gen_test
async def test_the_dead_letter_queue_of_a_worker_is_bounded(vhost: str, start: Start) -> None:
    worker = strict_worker(start, vhost)
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        # The broker refuses a declaration with other arguments.
        arguments = {"x-max-length-bytes": 104857600, "x-overflow": "drop-head"}
        channel.queue_declare(DEAD_LETTERS, durable=True, auto_delete=False, arguments=arguments)
    worker.stop()


async def messages(channel: Any, queue: str, count: int) -> list[Any]:
    """So many messages of a queue, as soon as they are there."""
    found: list[Any] = []

    def come() -> bool:
        message = channel.basic_get(queue, no_ack=True)
        found.extend([message] if message is not None else [])
        return len(found) >= count

    await until(come)
    return found


def received(headers: Any, body: Any = b"x", **properties: Any) -> Message:
    return Message(body, headers=headers, properties=properties, delivery_info={"routing_key": QUEUE})


def headers_of(letter: amqp.Message) -> Any:
    """The headers as they travel."""
    encoded = letter._serialize_properties()
    again = amqp.Message()
    again._load_properties(60, encoded, 0)
    return again.headers


@pytest.mark.parametrize(
    "headers", [{"a": object()}, {"a": 2**70}, {"a": "x" * MAX_TASK_HEADERS}, {"x" * 300: 1}],
    ids=["type", "number", "size", "name"],
)  # fmt: skip
def test_headers_that_cannot_be_sent_again_are_dropped_and_noted(headers: dict[str, Any]) -> None:
    letter = headers_of(dead_letter(received(headers), "a reason", Topology.declared()))
    assert letter.pop("x-headers").startswith("dropped: ")
    assert letter == {"x-rejected": "a reason", "x-queue": QUEUE}


def test_a_dead_letter_names_its_own_sender_and_does_not_expire() -> None:
    message = received({}, user_id="server", expiration="100", delivery_mode=1, message_id=uuid4().hex)
    letter = dead_letter(message, "a reason", Topology.provisioned())
    assert headers_of(letter)["x-user-id"] == "server"
    assert letter.properties["user_id"] == "worker"
    assert "expiration" not in letter.properties
    assert letter.properties["delivery_mode"] == 2
    assert letter.properties["message_id"] == message.properties["message_id"]


def test_the_body_of_a_dead_letter_is_bounded() -> None:
    for body in (b"x" * (MAX_TASK_BODY + 1), "x" * (MAX_TASK_BODY + 1)):
        assert len(dead_letter(received({}, body), "a reason", Topology.declared()).body) == MAX_TASK_BODY
    assert dead_letter(received({}, "ü"), "a reason", Topology.declared()).body == "ü".encode()
    assert dead_letter(received({}, None), "a reason", Topology.declared()).body == b""


def test_a_property_that_is_too_long_for_a_dead_letter_is_cut() -> None:
    message = received({}, message_id="\ufffd" * 100, type="a type", priority=3)
    properties = dead_letter(message, "a reason", Topology.declared()).properties
    assert (properties["message_id"], properties["type"], properties["priority"]) == ("\ufffd" * 85, "a type", 3)


def test_a_body_that_cannot_be_encoded_as_it_came_is_kept_in_utf_8() -> None:
    message = received({}, "ü\ud800")
    message.content_encoding = "idna"
    assert dead_letter(message, "a reason", Topology.declared()).body == "ü?".encode()
