"""The bridge puts the same message on the wire as Celery: both are captured at a real broker."""

import asyncio
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import kombu
import pytest
from celery import Celery, signals
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.services import Services
from nowait.bridge import Bridge
from nowait.errors import DeadlineExceeded
from nowait.messages.encoder import TaskEncoder
from tests.bridge.conftest import running, until

NOW = datetime.now(timezone.utc)
LATER = NOW.replace(microsecond=0) + timedelta(days=1)
LINK = {"task": "test.after", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}

CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "args": {"args": [1, "two", 3.5, None, True, {"a": ["b"]}]},
    "a tuple": {"args": (1,)},
    "quotes": {"args": ["it's", 'a "b"', "back\\slash", "Zoë 🐇", ""]},
    "long args": {"args": ["x" * 3000, list(range(500))]},
    "kwargs": {"kwargs": {"a": 1, "b": ["it's"]}},
    "both": {"args": [1], "kwargs": {"k": None}},
    "bytes and dates": {"args": [b"\xff", datetime(2020, 1, 1)]},
    "priority": {"priority": 5},
    "countdown": {"countdown": 3600},
    "eta": {"eta": LATER},
    "expires": {"expires": 10},
    "expires at": {"expires": LATER},
    "headers": {"headers": {"trace": "abc", "n": 1}},
    "a trace": {"headers": {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "vendor=1%b,other=%"}},
    "a trace for a route": {"name": "routed.task", "headers": {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}},
    "link": {"link": LINK},
    "link_error": {"link_error": [LINK, LINK]},
    "limits": {"time_limit": 10, "soft_time_limit": 5},
    "shadow": {"shadow": "other.name"},
    "stamps": {"stamped_headers": ["who"], "who": "me"},
    "ignore_result": {"ignore_result": True},
    "serializer": {"serializer": "json"},
    "group": {"group_id": "g", "group_index": 3, "root_id": "r", "parent_id": "p"},
    "chord": {"chord": LINK},
    "chain": {"chain": [LINK]},
    "retries": {"retries": 2},
    "reprs": {"argsrepr": "(hidden)", "kwargsrepr": "{hidden}"},
    "transient": {"delivery_mode": 1},
    "properties": {"message_id": "m", "type": "t", "app_id": "a"},
    "exchange": {"exchange": "wire.topic", "routing_key": "a.b", "exchange_type": "topic"},
    "a queue with an exchange": {"queue": "wire.bound"},
    "a route": {"name": "routed.task"},
}


def make_app(url: str) -> Celery:
    app = Celery("wire", broker=url, set_as_current=False)
    app.conf.task_default_queue = "wire"
    app.conf.task_routes = {"routed.*": {"queue": "wire.bound", "priority": 7}}
    topic = kombu.Exchange("wire.topic", "topic")
    app.conf.task_queues = [
        kombu.Queue("wire"),
        kombu.Queue("wire.bound", topic, routing_key="a.*"),
    ]
    return app


@pytest.fixture
def app(services: Services) -> Any:
    app = make_app(services.broker_url)
    with app.connection_for_write() as connection:
        queues = [queue.bind(connection.default_channel) for queue in app.amqp.queues.values()]
        for queue in queues:
            queue.declare()
            queue.purge()
        yield app
        for queue in queues:
            queue.delete()


def take(app: Celery) -> dict[str, Any]:
    """The one message that is in the queues, field by field."""
    with app.connection_for_read() as connection:
        for queue in app.amqp.queues.values():
            message = queue.bind(connection.default_channel).get(no_ack=True)
            if message is not None:
                return {
                    "queue": queue.name,
                    "exchange": message.delivery_info["exchange"],
                    "routing_key": message.delivery_info["routing_key"],
                    "properties": {k: v for k, v in message.properties.items() if k != "application_headers"},
                    "headers": message.headers,
                    "content_type": message.content_type,
                    "content_encoding": message.content_encoding,
                    "body": message.body if isinstance(message.body, bytes) else message.body.encode(),
                }
    raise AssertionError("no message")


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """A message without what differs from call to call."""
    properties, headers = dict(message["properties"]), dict(message["headers"])
    for name in ("reply_to", "expiration"):
        properties.pop(name, None)
    for name in ("expires", "origin"):
        headers.pop(name, None)
    if headers["eta"]:
        headers["eta"] = datetime.fromisoformat(headers["eta"]) > datetime.now(timezone.utc) + timedelta(minutes=50)
    return {**message, "properties": properties, "headers": headers}


@pytest.mark.gen_test
@pytest.mark.parametrize("case", CASES)
async def test_the_message_is_celerys_field_by_field(app: Celery, case: str) -> None:
    options = dict(CASES[case])
    name = options.pop("name", "test.task")
    loop = asyncio.get_running_loop()
    async with running(app.conf.broker_url) as started:
        # Celery itself declares a reply queue with each task that it sends for an application with results.
        app.conf.result_backend = "rpc://"
        bridge = Bridge(app, timeout=20.0)
        await bridge.start()
        await until(lambda: bridge.state == "connected")
        messages = []
        # Twice: the first makes the template, the second uses it.
        for number in range(2):
            call = bridge.send_task(name, task_id=f"id-{number}", **options)
            await until(lambda: bridge.statistics().unconfirmed == 0)
            messages.append(await loop.run_in_executor(None, take, app))
            call.cancel()
            await asyncio.wait([call])
        await bridge.stop(drain=0)
        assert started.state == "connected"
    for number, message in enumerate(messages):
        app.send_task(name, task_id=f"id-{number}", **options)
        assert comparable(message) == comparable(take(app))
        assert message["headers"]["expires"] is not None
        assert int(message["properties"]["expiration"]) <= 20_000
        assert message["properties"]["reply_to"].startswith("nowait.replies.")
        assert message["headers"]["origin"]
    app.close()


@pytest.mark.gen_test
async def test_a_message_may_live_longer_than_its_call(app: Celery) -> None:
    loop = asyncio.get_running_loop()
    async with running(app.conf.broker_url) as bridge:
        call = bridge.send_task("test.echo", [1], timeout=0.5, lifetime=600.0, queue="wire")
        with pytest.raises(DeadlineExceeded):
            await call
        message = await loop.run_in_executor(None, take, app)
        assert 599_000 <= int(message["properties"]["expiration"]) <= 600_000
        for lifetime in (0.0, -1.0, 1e7, math.nan):
            with pytest.raises(ValueError, match="lifetime"):
                bridge.send_task("test.echo", [1], lifetime=lifetime, queue="wire")


@pytest.mark.gen_test
async def test_a_long_timeout_harms_no_other_call(app: Celery) -> None:
    loop = asyncio.get_running_loop()
    async with running(app.conf.broker_url, timeout=1e9) as bridge:
        long = [bridge.send_task("test.echo", [1], queue="wire", timeout=timeout) for timeout in (None, 5e6)]
        for _ in long:
            message = await loop.run_in_executor(None, take, app)
            assert 3_999_000_000 <= int(message["properties"]["expiration"]) <= 4_000_000_000
        last = bridge.send_task("test.echo", [1], queue="wire", ignore_result=True)
        assert await last is None
        assert bridge.statistics().connects == 1 and not any(call.done() for call in long)
        assert long[1].deadline - loop.time() > 4.9e6
        for call in long:
            call.cancel()


@pytest.mark.gen_test
async def test_celerys_signals_are_sent_and_may_change_the_message(app: Celery) -> None:
    seen = []

    def before(sender: str, headers: dict[str, Any], **_: Any) -> None:
        headers["trace"] = "by a signal"
        seen.append(("before", sender))

    def after(sender: str, **_: Any) -> None:
        seen.append(("after", sender))

    async with running(app.conf.broker_url) as bridge:
        bridge.send_task("test.task", queue="wire").cancel()
        signals.before_task_publish.connect(before)
        signals.after_task_publish.connect(after)
        try:
            await until(lambda: bridge.statistics().unconfirmed == 0)
            take(app)
            bridge.send_task("test.task", queue="wire").cancel()
            await until(lambda: bridge.statistics().unconfirmed == 0)
            assert seen == [("before", "test.task"), ("after", "test.task")]
            assert take(app)["headers"]["trace"] == "by a signal"
        finally:
            signals.before_task_publish.disconnect(before)
            signals.after_task_publish.disconnect(after)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=120),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(values, max_size=25), st.dictionaries(st.text(max_size=10), values, max_size=4))
def test_spliced_and_recorded_messages_are_the_same_bytes(args: list[Any], kwargs: dict[str, Any]) -> None:
    encoder = TaskEncoder(make_app("memory://"), "replies")
    options = {"queue": "wire"}
    spliced = encoder.encode("test.task", args, kwargs, task_id="i" * 36, timeout=5.0, now=NOW, options=options)
    recorded = encoder.encode(
        "test.task", args, kwargs, task_id="i" * 36, timeout=5.0, now=NOW, options={**options, "expires": 99}
    )
    assert spliced.body == recorded.body
    assert without_expires(spliced.properties) == without_expires(recorded.properties)


def without_expires(properties: bytes) -> tuple[bytes, bytes]:
    start, _, rest = properties.partition(b"\x07expiresS")
    return start[16 + 6 :], rest[4 + 32 :]
