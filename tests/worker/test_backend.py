"""The workers' result backend: on its own, and in workers of every pool."""

import asyncio
import json
import math
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import amqp
import kombu
import pymysql
import pytest
from celery import Celery
from celery.app.task import Context
from sqlalchemy.exc import DBAPIError, StatementError

from deploy.local.broker import Broker
from deploy.local.services import Services
from nowait.bridge import Bridge
from nowait.errors import OutcomeUnknown, ResultTooLarge, TaskFailed
from nowait.messages.limits import MAX_REPLY
from nowait.worker import Results
from nowait.worker.replies import MAX_ERROR_TEXT, encode_reply
from tests.bridge.conftest import running, until
from tests.conftest import Start, celery_worker, printed

QUEUE = "tests"
POOLS = [("prefork", 2), ("threads", 2), ("gevent", 100), ("solo", 1)]


def document(result: Any) -> dict[str, Any]:
    return {"task_id": "1", "status": "SUCCESS", "result": result, "traceback": None, "children": [], "runtime": 0.1}


@pytest.mark.parametrize("result", [None, 1, 1.5, "ü 🐇", "\ud800", [1, {"a": None}], {"π": True}])
def test_a_result_that_is_json_is_sent_as_it_is(result: Any) -> None:
    assert json.loads(encode_reply(document(result)).text) == document(result)


@pytest.mark.parametrize("result", [math.nan, math.inf, object(), [[math.nan]]])
def test_a_result_that_is_no_json_becomes_a_failure(result: Any) -> None:
    reply = json.loads(encode_reply(document(result)).text)
    assert (reply["status"], reply["result"]["exc_type"], reply["task_id"]) == ("FAILURE", "ResultNotSerializable", "1")


def test_a_result_that_contains_itself_becomes_a_failure() -> None:
    result: list[Any] = []
    result.append(result)
    assert json.loads(encode_reply(document(result)).text)["status"] == "FAILURE"


def test_a_result_that_is_too_large_becomes_a_failure_that_says_so() -> None:
    reply = json.loads(encode_reply(document("x" * MAX_REPLY)).text)
    assert reply["result"]["exc_type"] == "ResultTooLarge"
    assert reply["result"]["exc_message"] == [MAX_REPLY, "bytes"]


class OperationalError(pymysql.err.OperationalError):
    """A driver's error, of whatever name."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LookupError("a reason", 5), ["a reason", 5]),
        (KeyError({1, 2}), ["{1, 2}"]),
        (ValueError(), []),
        (ValueError("x" * 2000), ["x" * MAX_ERROR_TEXT]),
        (ValueError("x" * 600, "y" * 600), [("x" * 600 + " " + "y" * 600)[:MAX_ERROR_TEXT]]),
        (OperationalError(1062, "Duplicate entry 'secret' for key 'name'"), []),
        (sqlite3.IntegrityError("UNIQUE constraint failed: secret"), []),
        (DBAPIError("SELECT secret", {"a": "secret"}, OperationalError(1064, "near 'secret'")), []),
        (StatementError("a value is required: secret", "SELECT secret", {}, ValueError()), []),
    ],
)  # fmt: skip
def test_an_exception_is_sent_without_what_a_database_may_have_put_into_it(error: Exception, text: list[Any]) -> None:
    def document(**settings: Any) -> Any:
        app = Celery("backend", broker="memory://", set_as_current=False)
        app.conf.update(settings)
        described = Results(app)._document("1", "FAILURE", error, "a traceback", Context())
        return json.loads(encode_reply(described).text)

    sent = document()
    assert sent["result"] == {
        "exc_type": type(error).__qualname__, "exc_message": text, "exc_module": type(error).__module__
    }  # fmt: skip
    assert sent["traceback"] is None
    assert document(result_serializer="pickle") == sent
    assert document(nowait_reply_tracebacks=True)["traceback"] == "a traceback"
    if "secret" in str(error):
        assert "secret" not in json.dumps(sent)
        assert "secret" in json.dumps(document(nowait_reply_tracebacks=True))


@pytest.mark.gen_test
async def test_a_reply_of_a_failed_query_holds_neither_sql_nor_values(
    vhost: str, services: Services, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "wrong.sql").write_text("SELECT secret_column FROM users WHERE id = :id")
    (tmp_path / "wrong.toml").write_text("[wrong.parameters.id]\ntype = 'string'\n")
    worker = celery_worker(
        start, "tasks", "-P", "solo", broker_url=vhost, database_url=services.database_url, queries=tmp_path
    )
    app = Celery("callers", broker="memory://", set_as_current=False)
    arguments = ["wrong", {"id": "secret value"}]
    made = app.amqp.as_task_v2("an-id", "task.run_query", arguments, reply_to="callers")
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare("callers", durable=True, auto_delete=False)
        options = {"content_type": "application/json", "content_encoding": "utf-8", **made.properties}
        message = amqp.Message(json.dumps(made.body), application_headers=made.headers, **options)
        channel.basic_publish(message, routing_key="queries")
        bodies: list[str] = []

        def answered() -> bool:
            reply = channel.basic_get("callers", no_ack=True)
            bodies.extend([] if reply is None else [reply.body])
            return bool(bodies)

        await until(answered)
    assert json.loads(bodies[0])["result"]["exc_type"] == "QueryBroken"  # it is at the start
    assert "secret" not in bodies[0]
    # Whoever looks for the reason finds it in the worker's log.
    await until(lambda: "secret_column" in printed(worker))
    worker.stop()


@asynccontextmanager
async def served(start: Start, vhost: str, pool: str, concurrency: int) -> AsyncIterator[Bridge]:
    """A bridge to a worker with the backend."""
    worker = celery_worker(
        start, "tests.celeryapp", "-P", pool, "-c", str(concurrency),
        broker_url=vhost, test_backend="nowait.worker:Results",
    )
    try:
        async with running(vhost) as bridge:
            yield bridge
    finally:
        worker.kill()


@pytest.mark.gen_test
@pytest.mark.parametrize(("pool", "concurrency"), POOLS)
async def test_results_that_cannot_be_sent_fail_clearly_and_harm_no_other(
    vhost: str, start: Start, pool: str, concurrency: int
) -> None:
    async with served(start, vhost, pool, concurrency) as bridge:
        for kind, name in {
            "not a number": "ResultNotSerializable",
            "no JSON": "ResultNotSerializable",
            "too deep": "ResultNotSerializable",
        }.items():
            with pytest.raises(TaskFailed) as caught:
                await bridge.send_task("test.bad_result", [kind], queue=QUEUE)
            assert caught.value.exception == name
        with pytest.raises(ResultTooLarge, match=str(MAX_REPLY)):
            await bridge.send_task("test.bad_result", ["too large"], queue=QUEUE)
        many = 100 if pool != "solo" else 10
        calls = [bridge.send_task("test.echo", [number], queue=QUEUE) for number in range(many)]
        assert await asyncio.gather(*calls) == list(range(many))
        assert [progress.meta async for progress in bridge.send_task("test.progress", [2], queue=QUEUE)] == [
            {"step": 0},
            {"step": 1},
        ]


@pytest.mark.gen_test
async def test_a_reply_is_sent_again_when_the_connection_was_lost(
    vhost: str, private_broker: Broker, start: Start
) -> None:
    async with served(start, vhost, "prefork", 2) as bridge:
        assert await bridge.send_task("test.echo", [1], queue=QUEUE) == 1
        # The task begins before the connections end, and is done when there are none.
        call = bridge.send_task("test.sleep", [1.0], queue=QUEUE)
        await until(lambda: bridge.statistics().unconfirmed == 0)
        await asyncio.sleep(0.3)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, private_broker.control, "close_all_connections", "-p", name(vhost), "test")
        assert await call == 1.0
        assert call.runtime is None or call.runtime >= 1.0


@pytest.mark.gen_test
async def test_a_reply_says_how_long_its_task_ran_and_in_which_worker(services: Any, worker: Any) -> None:
    async with running(services.broker_url) as bridge:
        call = bridge.send_task("task.query_users", [1, 0.2], queue="queries")
        await call
        assert call.runtime is not None and 0.2 <= call.runtime < 30
        assert call.worker is not None and call.worker.endswith("@tests")


@pytest.mark.gen_test
async def test_without_timed_tasks_a_reply_names_no_runtime(vhost: str, start: Start) -> None:
    async with served(start, vhost, "solo", 1) as bridge:
        call = bridge.send_task("test.echo", [1], queue=QUEUE)
        assert await call == 1
        assert call.runtime is None


@pytest.mark.gen_test
async def test_the_outcome_is_unknown_when_a_child_is_killed_and_the_next_one_works(vhost: str, start: Start) -> None:
    async with served(start, vhost, "prefork", 1) as bridge:
        child = await bridge.send_task("test.pid", queue=QUEUE)
        call = bridge.send_task("test.sleep", [60], queue=QUEUE)
        await until(lambda: bridge.statistics().unconfirmed == 0)
        await asyncio.sleep(0.5)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(OutcomeUnknown, match="SIGKILL"):
            await call
        assert await bridge.send_task("test.pid", queue=QUEUE) != child


def name(vhost: str) -> str:
    """The virtual host of an URL."""
    return vhost.rpartition("/")[2]
