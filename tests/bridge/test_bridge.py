"""The bridge over a real broker: what only the real thing can show."""

import asyncio
from pathlib import Path
from typing import Any

import kombu
import pytest
from celery import Celery

from deploy.local.broker import Broker
from nowait.bridge import Bridge
from nowait.errors import DeadlineExceeded, Disconnected, OutcomeUnknown, ResultTooLarge, TaskFailed, Unavailable
from tests.bridge.conftest import running, until

QUEUE = "tests"


def declare(url: str, name: str = QUEUE) -> None:
    """Make a queue that nobody serves."""
    with kombu.Connection(url) as connection:
        kombu.Queue(name, durable=True, channel=connection.default_channel).queue_declare()


def queues(broker: Broker, url: str) -> set[str]:
    return set(broker.control("list_queues", "-p", url.rpartition("/")[2], "name", "--no-table-headers").split())


@pytest.mark.gen_test
async def test_start_returns_at_once_without_a_broker_and_calls_are_refused() -> None:
    bridge = Bridge(Celery("server", broker="amqp://guest:guest@127.0.0.1:1//", set_as_current=False))
    assert bridge.state == "stopped"
    await bridge.start()
    call = bridge.send_task("test.echo", [1], queue=QUEUE)
    assert call.done()
    with pytest.raises(Disconnected) as caught:
        await call
    assert (caught.value.status, caught.value.retry_after) == (503, 1.0)
    assert repr(bridge) == "<Bridge connecting, 0 in flight, 0 unconfirmed>"
    await bridge.stop()
    assert bridge.state == "stopped"


@pytest.mark.gen_test
async def test_a_bridge_that_was_not_started_refuses_calls() -> None:
    bridge = Bridge(Celery("server", broker="amqp://127.0.0.1:1//", set_as_current=False))
    with pytest.raises(Unavailable, match="not started"):
        await bridge.send_task("test.echo", [1], queue=QUEUE)
    await bridge.stop()


@pytest.mark.gen_test
async def test_a_bridge_is_started_once(broker_url: str) -> None:
    async with running(broker_url) as bridge:
        with pytest.raises(RuntimeError):
            await bridge.start()


def test_an_application_whose_results_are_no_replies_is_refused() -> None:
    app = Celery("server", broker="amqp://127.0.0.1:1//", backend="cache+memory://", set_as_current=False)
    with pytest.raises(ValueError, match="rpc://"):
        Bridge(app)


@pytest.mark.parametrize("broker", ["redis://:secret@one:1/0", "sqs://", "amqp://one//;redis://two/0", "memory://"])
def test_another_broker_than_rabbitmq_is_refused_in_one_line(broker: str) -> None:
    transport = broker.rpartition(";")[2].partition(":")[0]
    with pytest.raises(ValueError) as caught:
        Bridge(Celery("server", broker=broker, set_as_current=False))
    assert str(caught.value) == f"broker '{transport}://…' is not allowed, expected RabbitMQ: amqp:// or amqps://"


def test_a_broker_url_that_cannot_be_read_is_refused_before_its_turn_comes() -> None:
    app = Celery("server", broker="amqp://one//;amqp://two:port//;amqp://three//", set_as_current=False)
    with pytest.raises(ValueError, match="port"):
        Bridge(app)


@pytest.mark.gen_test
async def test_the_next_broker_url_is_tried(broker_url: str) -> None:
    async with running(f"amqp://guest:guest@127.0.0.1:1//;{broker_url}") as bridge:
        assert await bridge.send_task("test.echo", ["there"], queue=QUEUE) == "there"


@pytest.mark.gen_test
async def test_a_result_of_ten_megabytes_arrives(broker_url: str) -> None:
    async with running(broker_url) as bridge:
        text = "0123456789abcdef" * 65536 * 10
        assert await bridge.send_task("test.echo", [text], queue=QUEUE) == text


@pytest.mark.gen_test
async def test_a_late_reply_is_counted_and_dropped(broker_url: str) -> None:
    async with running(broker_url) as bridge:
        with pytest.raises(DeadlineExceeded):
            await bridge.send_task("test.sleep", [1.0], queue=QUEUE, timeout=0.7)
        await until(lambda: bridge.statistics().late == 1)
        assert await bridge.send_task("test.echo", [1], queue=QUEUE) == 1


@pytest.mark.gen_test
async def test_an_ignored_result_is_done_when_the_broker_has_the_task(broker_url: str) -> None:
    async with running(broker_url) as bridge:
        assert await bridge.send_task("test.echo", [1], queue=QUEUE, ignore_result=True) is None
        assert bridge.statistics().in_flight == 0


@pytest.mark.gen_test
async def test_every_message_is_confirmed(broker_url: str) -> None:
    async with running(broker_url) as bridge:
        await asyncio.gather(*(bridge.send_task("test.echo", [n], queue=QUEUE) for n in range(50)))
        await until(lambda: bridge.statistics().unconfirmed == 0)


@pytest.mark.gen_test
async def test_a_task_nobody_waits_for_is_not_in_the_queue_any_more(vhost: str, private_broker: Broker) -> None:
    declare(vhost)
    async with running(vhost) as bridge:
        with pytest.raises(DeadlineExceeded):
            await bridge.send_task("test.echo", [1], queue=QUEUE, timeout=0.3)
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        # Its time in the queue begins when the broker puts it there, which may be later than the call's.
        await until(lambda: channel.queue_declare(QUEUE, passive=True).message_count == 0)


@pytest.mark.gen_test
async def test_stopping_leaves_no_reply_queue_behind(vhost: str, private_broker: Broker) -> None:
    async with running(vhost):
        (name,) = queues(private_broker, vhost)
        assert name.startswith("nowait.replies.")
    assert queues(private_broker, vhost) == set()


@pytest.mark.gen_test
async def test_stopping_lets_calls_in_flight_end(broker_url: str) -> None:
    async with running(broker_url) as bridge:
        call = bridge.send_task("test.sleep", [0.3], queue=QUEUE)
        await bridge.stop(drain=20)
        assert await call == 0.3


@pytest.mark.gen_test
async def test_hostile_replies_harm_nobody(vhost: str, private_broker: Broker) -> None:
    declare(vhost)
    async with running(vhost) as bridge:
        call = bridge.send_task("test.echo", [1], queue=QUEUE)
        (replies,) = queues(private_broker, vhost) - {QUEUE}

        def publish(correlation_id: str, body: Any, **options: Any) -> None:
            with kombu.Connection(vhost) as connection:
                producer = connection.Producer(serializer="json")
                producer.publish(body, routing_key=replies, correlation_id=correlation_id, **options)

        publish("nobody", {"status": "SUCCESS"})
        publish(call.id, "not json", content_type="application/json", content_encoding="utf-8")
        publish(call.id, [1, 2])
        publish(call.id, {"status": "PROGRESS", "result": 50})
        publish(call.id, b"x" * (33 * 1024 * 1024), content_type="application/json", content_encoding="binary")
        with pytest.raises(ResultTooLarge):
            await call
        publish(call.id, {"status": "SUCCESS", "result": "too late"})
        await until(lambda: bridge.statistics().late == 1)
        figures = bridge.statistics()
        assert (figures.state, figures.unknown, figures.malformed, figures.in_flight) == ("connected", 1, 3, 0)


@pytest.mark.gen_test
async def test_a_reply_that_names_an_exception_raises_nothing_but_task_failed(vhost: str) -> None:
    declare(vhost)
    async with running(vhost) as bridge:
        call = bridge.send_task("test.echo", [1], queue=QUEUE)
        await until(lambda: bridge.statistics().unconfirmed == 0)
        with kombu.Connection(vhost) as connection:
            message = kombu.Queue(QUEUE, channel=connection.default_channel).get(no_ack=True)
            assert message is not None
            result = {"exc_type": "SystemExit", "exc_module": "builtins", "exc_message": ["3"]}
            connection.Producer(serializer="json").publish(
                {"status": "FAILURE", "result": result, "task_id": call.id},
                routing_key=message.properties["reply_to"],
                correlation_id=call.id,
            )
        with pytest.raises(TaskFailed) as caught:
            await call
        assert (caught.value.exception, caught.value.message) == ("SystemExit", "3")


@pytest.mark.gen_test
async def test_an_exchange_that_is_not_there_costs_its_own_call_alone(broker_url: str) -> None:
    async with running(broker_url) as bridge:
        waiting = bridge.send_task("test.sleep", [1.0], queue=QUEUE, idempotent=True)
        await until(lambda: bridge.statistics().unconfirmed == 0)
        with pytest.raises(OutcomeUnknown, match="no-such-exchange"):
            await bridge.send_task("test.echo", [1], exchange="no-such-exchange", routing_key="x", idempotent=True)
        await until(lambda: bridge.state == "connected")
        assert await waiting == 1.0
        assert await bridge.send_task("test.echo", [1], queue=QUEUE) == 1


@pytest.mark.gen_test
async def test_a_broker_that_comes_back_is_used_again_and_keeps_the_replies(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    try:
        broker.start()
        broker.wait_ready()
        async with running(broker.url, timeout=60.0) as bridge:
            declare(broker.url)
            # RabbitMQ writes down a new queue a little later: killed before, it would know it no more.
            broker.control("eval", "mnesia:sync_log().")
            waiting = bridge.send_task("test.echo", [1], queue=QUEUE)
            await until(lambda: bridge.statistics().unconfirmed == 0)
            broker.process.kill()
            await until(lambda: bridge.state == "connecting")
            with pytest.raises(Disconnected):
                await bridge.send_task("test.echo", [1], queue=QUEUE)
            assert not waiting.done()
            broker.start()
            broker.wait_ready()
            await until(lambda: bridge.state == "connected")
            assert bridge.statistics().connects == 2
            # The task outlived the broker, and the reply finds the call that was made before.
            with kombu.Connection(broker.url) as connection:
                message = kombu.Queue(QUEUE, channel=connection.default_channel).get(no_ack=True)
                assert message is not None
                connection.Producer(serializer="json").publish(
                    {"status": "SUCCESS", "result": "at last"},
                    routing_key=message.properties["reply_to"],
                    correlation_id=message.properties["correlation_id"],
                )
            assert await waiting == "at last"
    finally:
        broker.stop()
