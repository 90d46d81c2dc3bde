"""Least privilege: whatever a user of the broker or the database does not need is refused."""

import asyncio
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import amqp
import pymysql
import pytest
from celery import Celery
from kombu import Connection
from sqlalchemy.exc import OperationalError

from nowait.bridge import Bridge
from nowait.tls import VerifyingTransport, enable_hostname_verification
from nowait.topology import Topology
from tasks.database import make_engine
from tests.bridge.conftest import until
from tests.faults.deployment import Deployment
from tests.http import fetch

pytestmark = [
    pytest.mark.gen_test(timeout=300),
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

PASSWORDS = {"server": "change-me-1", "worker": "change-me-2", "admin": "change-me-0"}
REPLIES = "nowait.replies.test"
STREAM = "nowait.streams.test"


@contextmanager
def channel(deployment: Deployment, user: str) -> Iterator[amqp.Channel]:
    """A channel of one of the broker's users."""
    with deployment.network.inside("broker"):
        connection = amqp.Connection(
            f"127.0.0.1:{deployment.broker.port}", user, PASSWORDS.get(user, user), virtual_host="nowait"
        )
        connection.connect()
    try:
        opened = connection.channel()
        opened.confirm_select()
        yield opened
    finally:
        connection.close()


def publish(exchange: str, key: str, **properties: Any) -> Callable[[amqp.Channel], object]:
    """Publishes, and waits until the broker has taken it."""

    def act(channel: amqp.Channel) -> None:
        channel.basic_publish(amqp.Message("{}", **properties), exchange, key)
        channel.wait([amqp.spec.Basic.Ack], timeout=10)

    return act


def own_reply_queue(act: Callable[[amqp.Channel], object]) -> Callable[[amqp.Channel], object]:
    """Does something with a reply queue."""

    def both(channel: amqp.Channel) -> None:
        channel.queue_declare(REPLIES, durable=True, auto_delete=False, arguments={"x-expires": 60_000})
        act(channel)

    return both


def own_stream(act: Callable[[amqp.Channel], object]) -> Callable[[amqp.Channel], object]:
    """Does something with the queue of a stream."""

    def both(channel: amqp.Channel) -> None:
        channel.queue_declare(STREAM, exclusive=True, auto_delete=False)
        channel.queue_bind(STREAM, "streams", routing_key=STREAM)
        act(channel)

    return both


Act = Callable[[amqp.Channel], object]
FORBIDDEN: dict[str, dict[str, Act]] = {
    "server": {
        "get a task": lambda channel: channel.basic_get("queries"),
        "get a dead letter": lambda channel: channel.basic_get("queries.dead"),
        "consume tasks": lambda channel: channel.basic_consume("queries.fast"),
        "purge a task queue": lambda channel: channel.queue_purge("queries.slow"),
        "delete a task queue": lambda channel: channel.queue_delete("queries"),
        "declare a queue": lambda channel: channel.queue_declare("mine", durable=True),
        "declare an exchange": lambda channel: channel.exchange_declare("mine", "direct"),
        "delete an exchange": lambda channel: channel.exchange_delete("replies"),
        "copy tasks into its reply queue": own_reply_queue(
            lambda channel: channel.queue_bind(REPLIES, "tasks", routing_key="queries")
        ),
        "copy tasks into the queue of a stream": own_stream(
            lambda channel: channel.queue_bind(STREAM, "tasks", routing_key="queries")
        ),
        "publish a part": publish("streams", STREAM),
        "unbind a task queue": lambda channel: channel.queue_unbind("queries", "tasks", "queries"),
        "publish straight to a queue": publish("", "queries"),
        "publish a dead letter": publish("dead", "queries.dead"),
        "publish in another's name": publish("tasks", "queries", user_id="worker"),
        "reach Celery's remote control": publish("celery.pidbox", ""),
    },
    "worker": {
        "publish a task": publish("tasks", "queries"),
        "publish straight to a queue": publish("", "queries"),
        "get a reply": lambda channel: channel.basic_get(REPLIES),
        "get a dead letter": lambda channel: channel.basic_get("queries.dead"),
        "declare a queue": lambda channel: channel.queue_declare("queries.mine", durable=True),
        "declare a reply queue": lambda channel: channel.queue_declare("nowait.replies.mine", durable=True),
        "declare the queue of a stream": lambda channel: channel.queue_declare(STREAM, exclusive=True),
        "copy parts": lambda channel: channel.queue_bind("queries", "streams", routing_key=STREAM),
        "delete a task queue": lambda channel: channel.queue_delete("queries"),
        "declare an exchange": lambda channel: channel.exchange_declare("celeryev", "topic"),
        "delete an exchange": lambda channel: channel.exchange_delete("tasks"),
        "copy replies": lambda channel: channel.queue_bind("queries", "replies", routing_key=REPLIES),
        "publish in another's name": publish("replies", REPLIES, user_id="server"),
        "reach Celery's remote control": publish("celery.pidbox", ""),
    },
}


@pytest.mark.parametrize(("user", "act"), [(user, act) for user, acts in FORBIDDEN.items() for act in acts])
async def test_what_a_user_of_the_broker_does_not_need_is_refused(deployment: Deployment, user: str, act: str) -> None:
    with channel(deployment, "server") as owner:
        owner.queue_declare(REPLIES, durable=True, auto_delete=False, arguments={"x-expires": 60_000})
    with channel(deployment, user) as opened:
        # A lie about the user is 406, PRECONDITION_FAILED; an exchange that is not there is 404.
        with pytest.raises((amqp.AccessRefused, amqp.PreconditionFailed, amqp.NotFound)) as caught:
            FORBIDDEN[user][act](opened)
    if "name" not in act and "remote control" not in act:
        assert isinstance(caught.value, amqp.AccessRefused)


async def test_the_open_account_is_gone(deployment: Deployment) -> None:
    with pytest.raises(amqp.AccessRefused), channel(deployment, "guest"):
        pass


async def test_a_body_that_is_too_large_never_reaches_a_worker(deployment: Deployment) -> None:
    with channel(deployment, "server") as opened, pytest.raises(amqp.PreconditionFailed, match="larger than"):
        opened.basic_publish(amqp.Message(b"x" * 50_000_000, user_id="server"), "tasks", "queries")
        opened.wait([amqp.spec.Basic.Ack], timeout=30)


@contextmanager
def administrator(deployment: Deployment) -> Iterator[amqp.Channel]:
    """A channel of a user who may do everything, for as long as it lasts."""
    with deployment.network.inside("broker"):
        deployment.broker.control("add_user", "admin", PASSWORDS["admin"])
        deployment.broker.control("set_permissions", "-p", "nowait", "admin", ".*", ".*", ".*")
    try:
        with channel(deployment, "admin") as opened:
            yield opened
    finally:
        with deployment.network.inside("broker"):
            deployment.broker.control("delete_user", "admin")


async def test_a_task_that_is_not_from_the_servers_is_not_run(deployment: Deployment) -> None:
    headers = {"task": "task.list_queries", "id": "forged"}
    body = json.dumps([[], {}, {}])
    with administrator(deployment) as opened:
        opened.queue_purge("queries.dead")
        for stamp in ({}, {"user_id": "admin"}):
            properties = {"content_type": "application/json", "content_encoding": "utf-8", **stamp}
            opened.basic_publish(amqp.Message(body, application_headers=headers, **properties), "tasks", "queries")
        reasons = []
        deadline = time.monotonic() + 30
        while len(reasons) < 2:
            letter = opened.basic_get("queries.dead", no_ack=True)
            if letter is not None:
                reasons.append(letter.headers["x-rejected"])
                assert letter.properties["user_id"] == "worker"
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    assert reasons == ["it does not come from the user server"] * 2


async def test_a_reply_that_is_not_from_the_workers_is_ignored(deployment: Deployment) -> None:
    url = f"amqp://server:{PASSWORDS['server']}@127.0.0.1:{deployment.broker.port}/nowait"
    with administrator(deployment) as admin, deployment.network.inside("broker"):
        admin.queue_declare("queries.nobody", durable=True, auto_delete=False)
        admin.queue_bind("queries.nobody", "tasks", "queries.nobody")
        app = Celery("server", broker=url, set_as_current=False)
        bridge = Bridge(app, topology=Topology.provisioned())
        await bridge.start()
        try:
            await until(lambda: bridge.state == "connected")
            call = bridge.send_task("task.list_queries", queue="queries.nobody")
            task = None
            while task is None:
                task = admin.basic_get("queries.nobody", no_ack=True)
                await asyncio.sleep(0.02)
            assert task.properties["user_id"] == "server"
            reply = partial(
                amqp.Message, correlation_id=call.id, content_type="application/json", content_encoding="utf-8"
            )
            with channel(deployment, "server") as liar:
                for lie in (reply('{"status": "SUCCESS"}'), reply('{"status": "SUCCESS"}', user_id="server")):
                    liar.basic_publish(lie, "replies", task.properties["reply_to"])
                await until(lambda: bridge.statistics().malformed == 2)
                assert not call.done()
            with channel(deployment, "worker") as worker:
                truth = reply('{"status": "SUCCESS", "result": 7}', user_id="worker")
                worker.basic_publish(truth, "replies", task.properties["reply_to"])
                assert await call == 7
        finally:
            await bridge.stop(drain=0)
            admin.queue_delete("queries.nobody")


def test_the_workers_account_may_read_one_database_over_tls_and_nothing_else(deployment: Deployment) -> None:
    host = deployment.network.address("database")
    connect = partial(pymysql.connect, host=host, user="worker", password="change-me-3")
    context = ssl.create_default_context(cafile=str(deployment.ca))
    context.check_hostname = False  # the account is tried here, not the name
    with deployment.network.inside("worker"):
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            connect(ssl_disabled=True)
        connection = connect(ssl=context)
    with connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT id FROM nowait.users WHERE flag = 1") == 10
        for statement in (
            "INSERT INTO nowait.users (id) VALUES (0)",
            "UPDATE nowait.users SET flag = 0",
            "DELETE FROM nowait.users",
            "DROP TABLE nowait.users",
            "CREATE TABLE nowait.mine (id INT)",
            "SELECT * FROM mysql.user",
            "SELECT * FROM mysql.global_priv",
            "CREATE USER another",
            "SELECT 1 INTO OUTFILE '/tmp/nowait'",
            "SET GLOBAL max_connections = 1",
            "SHUTDOWN",
        ):
            with pytest.raises(pymysql.err.MySQLError, match="denied"):
                cursor.execute(statement)
        cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE user <> 'worker'")
        assert cursor.fetchone() == (0,)


def test_workers_verify_the_names_of_broker_and_database(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(deployment.ca))
    enable_hostname_verification()
    broker, database = (deployment.network.address(host) for host in ("broker", "database"))
    with deployment.network.inside("worker"):
        # The certificates are for names, and these are addresses.
        connection = Connection(f"amqps://worker:{PASSWORDS['worker']}@{broker}:5671/nowait")
        assert isinstance(connection.transport, VerifyingTransport)
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            connection.connect()
        engine = make_engine(f"mysql://worker:change-me-3@{database}:3306/nowait?tls=1")
        with pytest.raises(OperationalError, match="mismatch"):
            engine.connect()
    engine.dispose()


async def test_parts_go_through_their_own_exchange_and_are_the_workers(deployment: Deployment) -> None:
    with channel(deployment, "server") as reader, channel(deployment, "worker") as writer:
        reader.queue_declare(STREAM, exclusive=True, auto_delete=False)
        reader.queue_bind(STREAM, "streams", routing_key=STREAM)
        publish("streams", STREAM, user_id="worker")(writer)
        message = reader.basic_get(STREAM, no_ack=True)
        assert message is not None and message.properties["user_id"] == "worker"
        with pytest.raises(amqp.PreconditionFailed):
            publish("streams", STREAM, user_id="server")(writer)


async def test_a_query_is_streamed_with_least_privilege(deployment: Deployment) -> None:
    with deployment.network.inside("balancer"):
        answer = fetch("http://127.0.0.1/queries/count_users", headers={"Accept": "text/csv"})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.body.startswith(b'"flag","users"\r\n')
