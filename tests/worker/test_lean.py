"""Workers whose tasks come by a connection of their own, when the other connections, or the result backend, fail."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import kombu
import pytest
from amqp.exceptions import ConnectionError as AMQPConnectionError
from amqp.exceptions import RecoverableConnectionError
from celery import Celery
from celery.backends.rpc import RPCBackend

from deploy.local.broker import Broker
from deploy.local.process import Process
from nowait.bridge import Bridge
from nowait.errors import MessageTooLarge
from nowait.messages.limits import MAX_TASK_BODY
from nowait.messages.reply import decode_reply
from nowait.messages.validation import JSON
from nowait.worker.lean import LeanConsumer
from tests.bridge.conftest import running, until
from tests.conftest import Start, celery_worker, printed

QUEUE = "tests"
# Closes the connections of the virtual host that consume a queue whose name matches.
_CUT = """
[rabbit_networking:close_connection(Connection, "closed by a test")
 || [{pid, Channel}, {connection, Connection}] <- rabbit_channel:info_all([pid, connection]),
    lists:any(fun(Consumer) ->
        element(2, lists:keyfind(channel_pid, 1, Consumer)) == Channel andalso
        re:run(element(4, element(2, lists:keyfind(queue_name, 1, Consumer))), "NAME") =/= nomatch
    end, rabbit_amqqueue:consumers_all(<<"VHOST">>))].
"""


class Away(RPCBackend):
    """A result backend that is away whenever a task was revoked."""

    def mark_as_revoked(self, *_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("the backend is away")


def lean_worker(start: Start, url: str, *options: str, **settings: Any) -> Process:
    """A worker with one thread, on the queue "tests"."""
    kind = {"test_consumer": "nowait.worker:Consumer", "test_backend": "nowait.worker:Results"}
    pool = ("-P", "threads", "-c", "1")
    return celery_worker(start, "tests.celeryapp", *pool, *options, broker_url=url, **kind | settings)


async def served(bridge: Bridge) -> None:
    assert await bridge.send_task("test.echo", ["there"], queue=QUEUE, timeout=30) == "there"


async def ended(worker: Process) -> str:
    """What a worker has printed that was sent SIGTERM, and has ended as it should."""
    worker.signal(signal.SIGTERM)
    await until(lambda: worker.returncode is not None)
    assert worker.returncode == 0, printed(worker)
    return printed(worker)


@pytest.fixture
def cut(private_broker: Broker, vhost: str) -> Callable[[Process], Any]:
    """Closes Celery's own connection of a worker, or that of its tasks; returns once there is another one."""

    async def cut(worker: Process, tasks: bool = False) -> None:
        consumed, text = (f"^{QUEUE}$", "broker connected") if tasks else ("pidbox", "Connected to")
        connects = printed(worker).count(text)
        script = _CUT.replace("VHOST", vhost.rpartition("/")[2]).replace("NAME", consumed)
        await asyncio.to_thread(private_broker.control, "eval", script)
        await until(lambda: printed(worker).count(text) > connects)

    return cut


@pytest.mark.gen_test
async def test_a_task_with_a_moment_outlives_celerys_own_connection_and_is_run_once(
    vhost: str, start: Start, cut: Callable[[Process], Any]
) -> None:
    worker = lean_worker(start, vhost)
    async with running(vhost) as bridge:
        call = bridge.send_task("test.echo", ["later"], queue=QUEUE, countdown=8, timeout=60)
        await until(lambda: call.id in printed(worker))
        for _ in range(2):
            await cut(worker)
        assert await call == "later"
        await served(bridge)
        assert bridge.statistics().duplicate == 0
    assert "Traceback" not in await ended(worker)


@pytest.mark.gen_test
async def test_tasks_with_a_moment_take_no_more_room_when_they_are_delivered_again(
    vhost: str, start: Start, cut: Callable[..., Any]
) -> None:
    worker = lean_worker(start, vhost)
    inspect = Celery(broker=vhost, set_as_current=False).control.inspect(timeout=1)

    async def prefetch_count() -> int | None:
        found = await asyncio.to_thread(inspect.stats)
        return next((stats["prefetch_count"] for stats in found.values()), None) if found else None

    async with running(vhost) as bridge:
        calls = [bridge.send_task("test.echo", [n], queue=QUEUE, countdown=600, timeout=60) for n in range(5)]
        for times in (1, 2, 3):
            await until(lambda: all(printed(worker).count(call.id) >= times for call in calls))
            while await prefetch_count() != 6:
                pass
            if times < 3:
                await cut(worker, tasks=True)
        assert printed(worker).count("Connected to") == 1
        for call in calls:
            call.cancel()
    await ended(worker)


@pytest.mark.parametrize("error", [KeyError("a bug of the application's"), FileNotFoundError("a bug, too")])
@pytest.mark.parametrize(("redelivered", "outcome"), [(False, "requeue"), (True, "rejected")])
def test_a_message_that_celerys_own_way_fails_at_is_tried_once_more_and_then_rejected(
    redelivered: bool, outcome: str, error: Exception
) -> None:
    consumer, outcomes = own_way(error)
    delivered = Mock(settle=outcomes.append)
    delivered.delivery.source.return_value.redelivered = redelivered
    consumer._handle(delivered)
    assert outcomes == [outcome]


@pytest.mark.parametrize("error", [ConnectionResetError(), RecoverableConnectionError()])
def test_a_connection_that_is_lost_meanwhile_is_celerys_matter(error: Exception) -> None:
    consumer, outcomes = own_way(error)
    consumer.connection.connected = False
    with pytest.raises(type(error)):
        consumer._handle(Mock(settle=outcomes.append))
    assert outcomes == ["requeue"]


def own_way(error: Exception) -> tuple[Any, list[str]]:
    """A consumer that fails at each message, and what becomes of them."""
    outcomes: list[str] = []
    consumer: Any = LeanConsumer.__new__(LeanConsumer)
    consumer.intake, consumer.accept, consumer.event_dispatcher, consumer.connection = Mock(), {JSON}, None, Mock()
    consumer.connection_errors = (AMQPConnectionError, OSError)
    consumer.intake.call = lambda function, *args: function(*args)
    consumer.reject = lambda _delivered, error: outcomes.append("rejected")
    consumer._celerys_handler = Mock(side_effect=error)
    return consumer, outcomes


@pytest.mark.gen_test
async def test_tasks_that_wait_are_known_and_run_when_celerys_own_connection_was_lost(
    vhost: str, start: Start, cut: Callable[[Process], Any]
) -> None:
    worker = lean_worker(start, vhost, "--prefetch-multiplier", "4")
    inspect = Celery(broker=vhost, set_as_current=False).control.inspect(timeout=1)
    async with running(vhost) as bridge:
        long, *others = [bridge.send_task("test.sleep", [s], queue=QUEUE, timeout=60) for s in (8.0, 0.0, 0.0)]
        await until(lambda: all(call.id in printed(worker) for call in others))
        await cut(worker)
        # Until the worker has its connection for commands again, nobody gets them.
        while (found := await asyncio.to_thread(inspect.query_task, long.id, others[0].id)) is None:
            pass
        [states] = found.values()
        found = {task_id: state for task_id, (state, _) in states.items()}
        assert found == {long.id: "active", others[0].id: "reserved"}
        await asyncio.gather(long, *others)
    await ended(worker)


@pytest.mark.gen_test
async def test_a_result_backend_that_fails_leaves_no_delivery_unsettled(vhost: str, start: Start) -> None:
    worker = lean_worker(start, vhost, "--prefetch-multiplier", "4", test_backend=f"{__name__}:{Away.__name__}")
    async with running(vhost) as bridge:
        long = bridge.send_task("test.sleep", [3], queue=QUEUE, timeout=60)
        await until(lambda: long.id in printed(worker))
        # They expire while they wait, and nobody can be answered so.
        expired = [bridge.send_task("test.echo", [1], queue=QUEUE, timeout=60, expires=1) for _ in range(8)]
        await long
        for _ in range(8):
            await served(bridge)
        for call in expired:
            call.cancel()
    with kombu.Connection(vhost) as connection:
        assert connection.default_channel.queue_declare(QUEUE, passive=True).message_count == 0
    assert "the backend is away" in await ended(worker)


@pytest.mark.gen_test
async def test_a_queue_that_may_not_be_consumed_is_tried_again_with_pauses(vhost: str, start: Start) -> None:
    worker = lean_worker(start, vhost)
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        async with running(vhost) as bridge:
            await served(bridge)
            channel.queue_declare("held", durable=True, auto_delete=False)
            channel.basic_consume("held", exclusive=True)
            control = Celery(broker=vhost, set_as_current=False).control
            await asyncio.to_thread(control.add_consumer, "held", reply=True)
            await until(lambda: printed(worker).count("broker connection lost") >= 2)
            await asyncio.sleep(3)
            assert printed(worker).count("broker connected") < 15
            channel.connection.close()
            await served(bridge)
    await ended(worker)


@pytest.mark.gen_test
async def test_an_exclusive_queue_is_consumed_celerys_own_way(vhost: str, start: Start) -> None:
    worker = lean_worker(start, vhost, test_queue_type="exclusive")
    async with running(vhost) as bridge:
        await served(bridge)
    assert "broker connected" not in await ended(worker)


@pytest.mark.gen_test
async def test_a_worker_that_is_not_to_wait_for_its_broker_reconnects_all_the_same(
    vhost: str, start: Start, cut: Callable[[Process], Any]
) -> None:
    worker = lean_worker(start, vhost, test_retry_on_startup=0)
    async with running(vhost) as bridge:
        await served(bridge)
        await cut(worker)
        await served(bridge)
    await ended(worker)


@pytest.mark.gen_test
async def test_a_worker_that_is_not_to_wait_for_its_broker_ends_without_one(start: Start) -> None:
    command = "celery -A tests.celeryapp worker -P threads -c 1 -Q tests"
    kind = {"test_consumer": "nowait.worker:Consumer", "test_retry_on_startup": 0}
    worker = start("worker", *command.split(), broker_url="amqp://127.0.0.1:1//", **kind)
    await until(lambda: worker.returncode is not None)
    assert worker.returncode == 1


@pytest.mark.gen_test
async def test_a_message_that_is_too_large_is_rejected_as_such_whatever_its_content(vhost: str, start: Start) -> None:
    worker = lean_worker(start, vhost, test_accept="json yaml")
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare("callers", durable=True, auto_delete=False)
        producer = kombu.Producer(channel)
        options = {"content_type": "application/x-yaml", "content_encoding": "utf-8", "correlation_id": "an-id"}
        producer.publish("x" * (MAX_TASK_BODY + 1), routing_key=QUEUE, reply_to="callers", **options)
        await until(lambda: channel.queue_declare("callers", passive=True).message_count == 1)
        reply = channel.basic_get("callers", no_ack=True)
    assert isinstance(decode_reply(reply.body.encode(), "application/json").error(), MessageTooLarge)
    await ended(worker)
