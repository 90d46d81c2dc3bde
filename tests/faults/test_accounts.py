"""Least privilege: whatever a user of the broker or the database does not need is refused."""

import asyncio
import http.client
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import amqp
import pymysql
import pytest
from celery import Celery
from kombu import Connection as BrokerConnection
from sqlalchemy import Connection, Delete, Insert, NullPool, Update, create_engine, select
from sqlalchemy.exc import DBAPIError, OperationalError

from nowait.bridge import Bridge
from nowait.jobs import protocol, schema
from nowait.jobs.table import Delivery, jobs
from nowait.tls import VerifyingTransport, enable_hostname_verification
from nowait.topology import Topology
from server.webhooks import deliveries
from tasks.database import make_engine
from tests.bridge.conftest import until
from tests.faults.deployment import Deployment
from tests.http import fetch

pytestmark = [
    pytest.mark.gen_test(timeout=300),
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

PROBLEM = {"type": "urn:problem-type:nowait:task-failed"}
ACCOUNTS = {"server": "change-me-5", "worker": "change-me-3", "scheduler": "change-me-6"}
# What no account of the database may do, and what one alone may not.
NOBODYS = (
    "INSERT INTO users (id) VALUES (0)",
    "UPDATE users SET flag = 0",
    "DELETE FROM users",
    "DROP TABLE users",
    "DROP TABLE jobs",
    "TRUNCATE TABLE jobs",
    "ALTER TABLE jobs ADD COLUMN mine INT",
    "UPDATE nowait_migrations SET version_num = '0'",
    "CREATE TABLE mine (id INT)",
    "SELECT * FROM mysql.user",
    "SELECT * FROM mysql.global_priv",
    "CREATE USER another",
    "SELECT 1 INTO OUTFILE '/tmp/nowait'",
    "SET GLOBAL max_connections = 1",
    "SHUTDOWN",
)
OTHERS = {
    "server": ("SELECT * FROM users",),
    "worker": (
        "INSERT INTO jobs (id) VALUES ('')",
        "DELETE FROM jobs",
        *(
            f"UPDATE jobs SET {column} = {column}"
            for column in ("id", "owner", "name", "queue", "parameters", "retry", "created", "expires")
        ),
        "UPDATE jobs SET idempotency_key = NULL",
    ),
    "scheduler": (
        "SELECT * FROM users",
        "SELECT parameters FROM jobs",
        "SELECT result FROM jobs",
        "INSERT INTO jobs (id, result) VALUES ('', '1')",
        "UPDATE jobs SET state = 'cancelled'",
        "DELETE FROM jobs",
        "INSERT INTO schedules (name) VALUES ('')",
        "UPDATE schedules SET parameters = '{}'",
        "DELETE FROM schedules",
    ),
}
PASSWORDS = {"server": "change-me-1", "worker": "change-me-2", "admin": "change-me-0"}
HOUR = 3600.0
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
        "delete the topic log": lambda channel: channel.queue_delete("topics.log"),
        "delete a queue of messages": lambda channel: channel.queue_delete("parcels"),
        "have tasks in a queue of messages": lambda channel: channel.queue_bind("parcels", "tasks", "queries"),
        "publish straight to the topic log": publish("", "topics.log"),
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
        "read the topic log": lambda channel: channel.basic_consume("topics.log"),
        "publish an event": publish("topics", "news"),
        "publish a message": publish("messages", "parcels"),
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


@contextmanager
def account(deployment: Deployment, user: str) -> Iterator[Connection]:
    """A connection of one of the database's accounts."""
    context = ssl.create_default_context(cafile=str(deployment.ca))
    context.check_hostname = False  # the account is tried here, not the name
    host = deployment.network.address("database")
    options = {"host": host, "user": user, "password": ACCOUNTS[user], "ssl": context, "database": "nowait"}
    engine = create_engine("mysql+pymysql://", poolclass=NullPool, connect_args=options, isolation_level="AUTOCOMMIT")
    with deployment.network.inside("worker"):
        connection = engine.connect()
    with connection:
        yield connection


def new_job(job_id: str) -> Insert:
    """A job that no server looks at meanwhile."""
    values = {"name": "add_visit", "queue": "queries.jobs", "parameters": {}, "retry": {}, "state": "queued"}
    return jobs.insert().values(id=job_id, due=protocol.later(HOUR), created=protocol.NOW, **values)


def changed(connection: Connection, *statements: Insert | Update | Delete | protocol.Step) -> list[int]:
    """How many rows each statement has found."""
    steps = [statement if isinstance(statement, tuple) else (statement, {}) for statement in statements]
    return [connection.execute(*step).rowcount for step in steps]


@pytest.mark.parametrize("user", ACCOUNTS)
def test_an_account_of_the_database_is_refused_without_tls(deployment: Deployment, user: str) -> None:
    host = deployment.network.address("database")
    with deployment.network.inside("worker"), pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(host=host, user=user, password=ACCOUNTS[user], ssl_disabled=True)


@pytest.mark.parametrize(
    ("user", "statement"), [(user, statement) for user in ACCOUNTS for statement in (*NOBODYS, *OTHERS[user])]
)
def test_what_an_account_of_the_database_does_not_need_is_refused(
    deployment: Deployment, user: str, statement: str
) -> None:
    with account(deployment, user) as connection, pytest.raises(DBAPIError, match="denied"):
        connection.exec_driver_sql(statement)


def test_the_workers_account_sees_no_one_elses_queries(deployment: Deployment) -> None:
    with account(deployment, "worker") as connection:
        others = "SELECT COUNT(*) FROM information_schema.processlist WHERE user <> 'worker'"
        assert connection.exec_driver_sql(others).scalar() == 0


def test_the_accounts_of_the_database_may_do_what_they_need(deployment: Deployment) -> None:
    one, two, three = ids = [str(uuid4()) for _ in range(3)]
    with account(deployment, "scheduler") as connection:
        connection.execute(new_job(one))
        assert connection.scalar(schema.installed()) == schema.REVISION
    with account(deployment, "server") as connection:
        assert connection.scalar(schema.installed()) == schema.REVISION
        connection.execute(protocol.due(1))
        for each in (two, three):
            connection.execute(new_job(each))
        assert changed(connection, protocol.postpone(ids, HOUR), protocol.confirm([one], 1)) == [3, 1]
    with account(deployment, "worker") as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM users WHERE flag = 1").scalar() == 10
        assert connection.scalar(schema.installed()) == schema.REVISION
        steps = [protocol.claim(one, 1, "w"), protocol.heartbeat(one, 1), protocol.report(one, 1, {"step": 1})]
        assert changed(connection, *steps, protocol.retry(one, 1, HOUR, "task-failed")) == [1] * 4
        assert changed(connection, protocol.claim(two, 1, "w"), protocol.succeed(two, 1, "7")) == [1, 1]
        assert changed(connection, protocol.claim(three, 1, "w"), protocol.fail(three, 1, PROBLEM)) == [1, 1]
    with account(deployment, "server") as connection:
        states = select(jobs.c.state).where(jobs.c.id.in_(ids)).order_by(jobs.c.finished)
        assert connection.scalars(states).all() == ["queued", "succeeded", "failed"]
        assert changed(connection, protocol.recall(two, HOUR), protocol.give_up(three, {})) == [1, 1]
        assert changed(connection, protocol.cancel(one, ""), protocol.expire([two])) == [1, 1]
        assert changed(connection, protocol.deliver(ids), protocol.deliver_again(one)) == [3, 1]
        assert changed(connection, deliveries.begin([one]), deliveries.postpone([two], HOUR)) == [1, 1]
        (begun,) = connection.execute(deliveries.begun([one]))
        assert changed(connection, deliveries.note(deliveries.attempt(begun), Delivery.FAILED, 0.0, "http-410")) == [2]
        assert changed(connection, *protocol.prune(ids)) == [3, 3]


def test_workers_verify_the_names_of_broker_and_database(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(deployment.ca))
    enable_hostname_verification()
    broker, database = (deployment.network.address(host) for host in ("broker", "database"))
    with deployment.network.inside("worker"):
        # The certificates are for names, and these are addresses.
        connection = BrokerConnection(f"amqps://worker:{PASSWORDS['worker']}@{broker}:5671/nowait")
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


async def test_topics_and_queues_work_with_least_privilege(deployment: Deployment) -> None:
    headers = {"Content-Type": "application/json"}
    with deployment.network.inside("balancer"):
        for path in ("/topics/news", "/topics/news", "/queues/parcels/messages"):
            answer = fetch(f"http://127.0.0.1{path}", "POST", headers, b'{"a": 1}')
            assert answer.status == 202, answer
        events = http.client.HTTPConnection("127.0.0.1", timeout=30)
        events.request("GET", "/topics/news/events", headers={"Last-Event-ID": "0"})
        response = events.getresponse()
        lines = [response.readline() for _ in range(4)]
        events.close()
    assert lines[3].startswith(b'data: {"topic": "news"'), lines
    with channel(deployment, "worker") as consumer:
        message = consumer.basic_get("parcels", no_ack=True)
        assert message is not None and message.properties["user_id"] == "server"
