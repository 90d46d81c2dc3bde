"""Malformed messages: rejected before Celery reads them, dead-lettered with the reason, and nobody is harmed."""

import json
import random
import time
import zlib
from datetime import datetime
from decimal import Decimal
from inspect import signature
from typing import Any

import amqp
import kombu
import psutil
import pytest
from celery import Celery, group
from hypothesis import given
from hypothesis import strategies as st
from kombu import compression

from deploy.local.process import Process
from nowait.amqp import methods
from nowait.amqp import properties as amqp_properties
from nowait.bridge import Bridge
from nowait.messages.limits import MAX_TASK_BODY
from nowait.messages.validation import (
    Rejected,
    as_version_2,
    reply_address,
    validate_body,
    validate_headers,
    validate_properties,
)
from nowait.topology import Topology
from nowait.worker.consumer import reject_compressed
from tests.bridge.conftest import running, until
from tests.conftest import Start, celery_worker

TASKS = {"test.echo"}
QUEUE = "tests"
TASK = {"task": "a", "args": [], "kwargs": {}, "options": {}, "subtask_type": "chain", "immutable": False}
PLAIN = {"content_type": "application/json", "content_encoding": "utf-8"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=5,
)


def good(**options: Any) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
    """Headers, properties and body of a message as Celery makes it."""
    app = Celery("malformed", broker="memory://", set_as_current=False)
    made = app.amqp.as_task_v2("an-id", "test.echo", ["hello"], {}, reply_to="replies", **options)
    return made.headers, made.properties, list(made.body)


def check(headers: Any, properties: Any, body: Any, size: int = 10, **content: Any) -> None:
    validate_properties(properties, **{**PLAIN, **content}, size=size)
    validate_headers(headers, TASKS)
    validate_body(body)


def test_a_body_may_name_further_tasks_only_where_that_is_allowed() -> None:
    body = [[], {}, {"callbacks": [TASK], "errbacks": None, "chain": None, "chord": None}]
    validate_body(body, canvas=True)
    with pytest.raises(Rejected, match="other tasks"):
        validate_body(body)


@pytest.mark.parametrize(
    "embed",
    [
        {"callbacks": {"task": "a"}}, {"callbacks": ["a"]}, {"errbacks": [{**TASK, "task": 5}]},
        {"errbacks": [{**TASK, "args": None}]}, {"chain": 5}, {"chain": [{**TASK, "options": []}]}, {"chord": [TASK]},
        {"chord": {**TASK, "kwargs": []}}, {"chain": [{**TASK, "subtask_type": "no such"}]},
        {"chain": [{**TASK, "subtask_type": []}]},
    ],
)  # fmt: skip
def test_further_tasks_that_celery_could_not_send_are_rejected(embed: dict[str, Any]) -> None:
    validate_body([[], {}, {"callbacks": [TASK], "errbacks": [TASK], "chain": [TASK], "chord": TASK}], canvas=True)
    with pytest.raises(Rejected, match=next(iter(embed))):
        validate_body([[], {}, embed], canvas=True)


def test_what_celery_makes_of_a_canvas_is_run_where_that_is_allowed() -> None:
    app = Celery("canvas", broker="memory://", set_as_current=False)
    one = app.signature("test.echo", [1], link_error=app.signature("test.fail"))
    options = {"callbacks": [one, group(one, one, app=app)], "errbacks": [one], "chain": [one], "chord": one}
    made = app.amqp.as_task_v2("an-id", "test.echo", **options)
    validate_body(json.loads(json.dumps(made.body)), canvas=True)


def test_a_header_whose_name_is_no_text_is_rejected() -> None:
    headers, properties, body = good()
    with pytest.raises(Rejected, match="the name of a header is no text"):
        check({**headers, b"\xff": 1}, properties, body)


def test_a_rejection_has_a_kind_for_its_caller() -> None:
    headers, properties, body = good()
    for kind, changed, content in (
        ("NotRegistered", {"task": "test.unknown"}, {}),
        ("MessageTooLarge", {}, {"size": MAX_TASK_BODY + 1}),
        ("InvalidMessage", {"retries": -1}, {}),
    ):
        with pytest.raises(Rejected) as caught:
            check({**headers, **changed}, properties, body, **content)
        assert caught.value.kind == kind


def test_a_rejection_is_one_line() -> None:
    headers, properties, body = good()
    for changed in ({"task": "a\nb"}, {"self\n" * 99: 1, "retries": "\n"}):
        with pytest.raises(Rejected) as caught:
            check({**headers, **changed}, properties, body)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_rejected_message_is_answered_where_it_names_its_caller() -> None:
    headers, properties, _ = good()
    assert reply_address(headers, properties) == ("replies", "an-id", "an-id")
    assert reply_address(headers, {"reply_to": "replies"}) == ("replies", "an-id", "an-id")
    assert reply_address(None, properties) == ("replies", "an-id", "an-id")
    assert reply_address({"id": []}, {"reply_to": "replies"}) is None
    for wrong in (None, "", "x" * 256, 5):
        assert reply_address(headers, {**properties, "reply_to": wrong}) is None


def test_a_rejected_message_of_another_sender_is_not_answered() -> None:
    headers, properties, _ = good()
    assert reply_address(headers, properties, "server") is None
    assert reply_address(headers, {**properties, "user_id": "worker"}, "server") is None
    assert reply_address(headers, {**properties, "user_id": "server"}, "server") == ("replies", "an-id", "an-id")


def test_no_reply_queue_is_none_or_empty() -> None:
    headers, properties, body = good()
    for nothing in (None, ""):
        check(headers, {**properties, "reply_to": nothing}, body)


def test_a_task_has_to_come_from_the_sender_where_one_is_named() -> None:
    validate_properties({"user_id": "server"}, **PLAIN, size=10, sender="server")
    for properties in ({"user_id": "worker"}, {"user_id": ""}, {}):
        with pytest.raises(Rejected, match="does not come from"):
            validate_properties(properties, **PLAIN, size=10, sender="server")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"countdown": 10, "expires": 20},
        {"time_limit": 10, "soft_time_limit": 5.5},
        {"group_id": "g", "group_index": 0, "root_id": "r", "parent_id": "p", "retries": 3},
        {"shadow": "other", "ignore_result": True, "argsrepr": "(…)"},
        {"time_limit": 0, "soft_time_limit": 0},
        {"stamped_headers": ["who", "trace"], "who": ["me"], "trace": {"id": 1, "parts": [None, 0.5, True]}},
        {"stamped_headers": ["at", "of"], "at": datetime(2026, 1, 2), "of": [Decimal("1.5"), b"x"]},
        {"stamped_headers": ["user_id", "group", "type"], "user_id": 5, "group": "a", "type": "b"},
        {"replaced_task_nesting": 2},
    ],
)
def test_what_celery_makes_is_run(options: dict[str, Any]) -> None:
    check(*good(**options))


def test_a_stamp_that_may_have_the_name_of_a_property_does_not_become_one() -> None:
    # As a retry sends it.
    app = Celery("stamps", broker="memory://", set_as_current=False)
    headers, properties, body = good()
    names = []
    with app.connection() as connection:
        for name in sorted(amqp_properties.NAMES.union(signature(kombu.Producer.publish).parameters)):
            try:
                check({**headers, "stamped_headers": [name], "stamps": {name: "a stamp"}}, properties, body)
            except Rejected:
                continue
            names.append(name)
            stamps = {"stamped_headers": [name], name: "a stamp"}
            app.send_task("test.echo", queue=QUEUE, connection=connection, **stamps)
            message = connection.SimpleQueue(QUEUE).get(block=False)
            assert message.headers.pop("stamps") == {name: "a stamp"}
            assert "a stamp" not in f"{message.headers} {message.properties} {message.delivery_info}"
            message.ack()
    assert {"user_id", "app_id", "priority", "headers", "retry"} <= set(names)


def test_what_the_application_accepts_besides_json_is_run() -> None:
    accept = {"application/x-yaml", "application/x-msgpack"}
    for content_type, encoding in (("application/x-yaml", "utf-8"), ("application/x-msgpack", "binary")):
        validate_properties({}, content_type, encoding, size=10, accept=accept)
    for content_type, encoding in (
        ("application/json", "utf-8"), ("application/x-python-serialize", "binary"), ("application/x-yaml", "utf-16"),
        ("application/data", "binary"), ("", "binary"),
    ):  # fmt: skip
        with pytest.raises(Rejected, match="the content"):
            validate_properties({}, content_type, encoding, size=10, accept=accept)


def version_1(**options: Any) -> dict[str, Any]:
    """The body of a message of protocol 1 as Celery makes it."""
    app = Celery("version-1", broker="memory://", set_as_current=False)
    return dict(app.amqp.as_task_v1("an-id", "test.echo", ["hello"], {}, **options).body)


@pytest.mark.parametrize(
    "options",
    [{}, {"countdown": 10, "expires": 20, "time_limit": 10, "retries": 3}, {"group_id": "g", "shadow": "other"}],
)
def test_a_message_of_protocol_1_is_checked_like_any_other(options: dict[str, Any]) -> None:
    body = json.loads(json.dumps(version_1(**options)))
    headers, args_kwargs_embed = as_version_2({"trace": 1}, body)
    assert (headers["task"], headers["id"], headers["trace"]) == ("test.echo", "an-id", 1)
    check(headers, {}, args_kwargs_embed)


@pytest.mark.parametrize(
    ("headers", "changed"),
    [
        ({}, {"task": "os.system"}), ({}, {"task": []}), ({}, {"id": None}), ({}, {"args": None}), ({}, {"args": {}}),
        ({}, {"kwargs": []}), ({}, {"eta": "tomorrow"}), ({}, {"timelimit": 5}), ({}, {"retries": "1"}),
        ({}, {"callbacks": [TASK]}), ({}, {"chord": TASK}), ({"retries": -1}, {}), ({"hostname": "x"}, {}),
    ],
)  # fmt: skip
def test_a_message_of_protocol_1_that_celery_could_not_run_is_rejected(
    headers: dict[str, Any], changed: dict[str, Any]
) -> None:
    with pytest.raises(Rejected):
        made, body = as_version_2(headers, {**version_1(), **changed})
        check(made, {}, body)


@pytest.mark.parametrize("body", [None, 5, "task", [], {}, [[], {}, {}], {"task": "test.echo"}])
def test_a_message_of_no_protocol_is_rejected(body: Any) -> None:
    for headers in ({}, None):
        with pytest.raises(Rejected):
            made, changed = as_version_2(headers, body)
            check(made, {}, changed)


def test_headers_of_others_are_no_matter() -> None:
    headers, properties, body = good()
    check({**headers, "traceparent": "00-ab-cd-01", "x-retry": {"a": 1}}, properties, body)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", None), ("task", ["test.echo"]), ("task", "os.system"), ("id", None), ("id", {}), ("id", ""),
        ("id", "x" * 256), ("timelimit", 5), ("timelimit", [1]), ("timelimit", [1, "2"]), ("timelimit", [-1, None]),
        ("eta", "tomorrow"), ("eta", 5), ("expires", {}),
        ("expires", "9999-12-31T24:00"), ("eta", "9999-W53-7"), ("expires", "0001-01-01T00:00:00"),
        ("eta", "9999-12-31T23:59:59+00:00"), ("retries", -1), ("retries", "1"), ("retries", True),
        ("group", []), ("stamps", ["a"]), ("stamps", {"a": object()}), ("stamps", {"a": [[[[[[[[1]]]]]]]]}),
        ("stamped_headers", "a"), ("stamped_headers", [1]), ("stamped_headers", ["queue"]),
        ("stamped_headers", ["link"]), ("stamped_headers", ["routing_key"]), ("stamped_headers", ["chain"]),
        ("compression", "application/x-gzip"),
        ("callbacks", [1]), ("hostname", "x"), ("delivery_info", {}), ("called_directly", True), ("ignore_result", 1),
    ],
)  # fmt: skip
def test_a_header_that_is_not_what_it_should_be_is_named(name: str, value: Any) -> None:
    headers, properties, body = good()
    with pytest.raises(Rejected, match=name):
        check({**headers, name: value}, properties, body)


@pytest.mark.parametrize(
    "body",
    [
        None, 5, "text", {}, [], [[1, 2], {}], [[], {}, {}, {}], [1, {}, {}], [[], [], {}], [[], {}, []],
        [[], {}, {"callbacks": [{"task": "x"}]}], [[], {}, {"chain": ["x"]}], [[], {}, {"other": None}],
    ],
)  # fmt: skip
def test_a_body_that_is_not_what_it_should_be_is_rejected(body: Any) -> None:
    headers, properties, _ = good()
    with pytest.raises(Rejected, match="body"):
        check(headers, properties, body)


def test_foreign_content_is_rejected_unread() -> None:
    for content in (
        {"content_type": "application/x-python-serialize"}, {"content_type": None}, {"content_encoding": "binary"},
        {"size": MAX_TASK_BODY + 1},
    ):  # fmt: skip
        with pytest.raises(Rejected):
            check(*good(), **content)


@given(st.dictionaries(st.sampled_from(sorted(good()[0])) | st.text(max_size=9), anything, max_size=4), anything)
def test_no_message_raises_anything_but_rejected(changed: dict[str, Any], body: Any) -> None:
    headers, properties, _ = good()
    version_2 = {**headers, **changed}, body
    for made, content in version_2, as_version_2(changed, body), as_version_2({}, {**version_1(), **changed}):
        try:
            check(made, properties, content)
        except Rejected:
            pass


def malformed(count: int, seed: int) -> list[tuple[amqp.Message, str]]:
    """Messages that no worker may run, each with what was done to it."""
    dice = random.Random(seed)
    values: list[Any] = [None, 5, -1, True, "x", [], ["x"], {"a": 1}, [None, [1]], "x" * 300]
    bodies: list[Any] = [None, 5, "x", [], {}, [[1, 2], {}], [5, {}, {}], [[], {}, {"chain": [{"task": "test.echo"}]}]]
    made: list[tuple[amqp.Message, str]] = []
    while len(made) < count:
        headers, properties, body = good()
        what = dice.choice(["header", "missing", "body", "bytes", "type"])
        content, content_type = json.dumps(body).encode(), "application/json"
        if what == "header":
            name = dice.choice([*headers, "callbacks", "hostname", "compression"])
            headers = {**headers, name: dice.choice(values)}
        elif what == "missing":
            del headers[dice.choice(["task", "id"])]
        elif what == "body":
            content = json.dumps(dice.choice(bodies)).encode()
        elif what == "bytes":
            content = dice.randbytes(20) + b"\xff"
        else:
            content_type = dice.choice(["application/x-python-serialize", "text/plain", "application/x-yaml"])
        try:
            check(headers, properties, json.loads(content), content_type=content_type)
        except ValueError:  # Rejected, or no JSON at all
            options = {"content_type": content_type, "content_encoding": "utf-8", "correlation_id": "an-id"}
            made.append((amqp.Message(content, application_headers=headers, **options), what))
    return made


async def served(bridge: Bridge) -> None:
    assert await bridge.send_task("test.echo", ["still there"], queue=QUEUE, timeout=10.0) == "still there"


@pytest.fixture(params=["prefork", "threads"])
def strict(request: pytest.FixtureRequest, vhost: str, start: Start) -> Process:
    """A worker that checks its messages."""
    return celery_worker(
        start, "tests.celeryapp", "-P", request.param, "-c", "1", broker_url=vhost,
        test_consumer="nowait.worker:Consumer", test_backend="nowait.worker:Results",
    )  # fmt: skip


@pytest.mark.gen_test(timeout=3600)
@pytest.mark.timeout(3600)
async def test_a_worker_dead_letters_each_malformed_message(vhost: str, strict: Process, scale: float) -> None:
    count, seed = round(10_000 * scale) or 300, random.randrange(2**32)
    slowest = 0.0
    print(f"seed {seed}")
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare(
            Topology.dead_letter_queue,
            durable=True,
            auto_delete=False,
            arguments=Topology().dead_letter_arguments,
        )
        async with running(vhost) as bridge:
            for message, _ in malformed(count, seed):
                channel.basic_publish(message, routing_key=QUEUE)
                started = time.monotonic()
                await served(bridge)
                slowest = max(slowest, time.monotonic() - started)
            print(f"slowest good task: {slowest:.3f} s")
            # A short run goes on beside anything else that the machine has to do.
            assert slowest < (1.0 if scale else 10.0)

            def dead() -> int:
                return int(channel.queue_declare(Topology.dead_letter_queue, passive=True).message_count)

            await until(lambda: dead() == count)
            letter = channel.basic_get(Topology.dead_letter_queue, no_ack=True)
            assert letter.headers["x-rejected"] and letter.headers["x-queue"] == QUEUE
    assert strict.returncode is None
    strict.kill()


# What RabbitMQ lets through, and py-amqp cannot decode.
DEEP = b""
for _ in range(5000):
    DEEP = b"\x01aF" + len(DEEP).to_bytes(4, "big") + DEEP
UNREADABLE = {
    "a table within a table": DEEP,
    "a time stamp out of range": b"\x01aT" + b"\xff" * 8,
}


@pytest.mark.gen_test
@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
async def test_headers_that_cannot_be_decoded_are_rejected_like_none(
    vhost: str, start: Start, pool: str, what: str
) -> None:
    worker = celery_worker(
        start, "tests.celeryapp", "-P", pool, "-c", "1", broker_url=vhost, test_consumer="nowait.worker:Consumer",
    )  # fmt: skip
    table = UNREADABLE[what]
    headers = {"headers": len(table).to_bytes(4, "big") + table, "content_type": "application/json"}
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        encoded = amqp_properties.encode(headers)
        frames = methods.publish(channel.channel_id, "", QUEUE, encoded, b"[[], {}, {}]", 131072)
        channel.connection.transport.write(frames)
        async with running(vhost) as bridge:
            await served(bridge)
            await until(lambda: channel.queue_declare(Topology.dead_letter_queue, passive=True).message_count == 1)
    assert worker.returncode is None
    worker.kill()


# What Celery, Python's dates or its codecs fail at, where nobody would expect it.
PROTOCOL_1 = {**version_1(), "task": "test.nobody"}
HOSTILE: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {
    "the end of a last day": ({"expires": "9999-12-31T24:00"}, {}, [[], {}, {}]),
    "a day behind the last one": ({"eta": "9999-W53-7"}, {}, [[], {}, {}]),
    "a first day": ({"expires": "0001-01-01T00:00:00"}, {}, [[], {}, {}]),
    "an encoding of names": ({}, {"content_encoding": "idna"}, [[], {}, {}]),
    "a task of protocol 1 that there is not": ({"task": None, "id": None}, {}, PROTOCOL_1),
}


@pytest.mark.gen_test
@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
async def test_no_message_ends_a_worker(vhost: str, start: Start, pool: str, what: str) -> None:
    worker = celery_worker(
        start, "tests.celeryapp", "-P", pool, "-c", "1", broker_url=vhost, test_consumer="nowait.worker:Consumer",
        test_timezone="America/New_York",
    )  # fmt: skip
    headers, properties, body = HOSTILE[what]
    made = {name: value for name, value in {**good()[0], **headers}.items() if headers.get(name, value) is not None}
    content = {"content_type": "application/json", "content_encoding": "utf-8", "reply_to": "callers"}
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare("callers", durable=True, auto_delete=False)
        message = amqp.Message(json.dumps(body).encode(), application_headers=made, **{**content, **properties})
        message.properties["correlation_id"] = "an-id"
        channel.basic_publish(message, routing_key=QUEUE)
        async with running(vhost) as bridge:
            await served(bridge)
            await until(lambda: channel.queue_declare(Topology.dead_letter_queue, passive=True).message_count == 1)
        answer = channel.basic_get("callers", no_ack=True)
        assert json.loads(answer.body)["task_id"] == "an-id"
        letter = channel.basic_get(Topology.dead_letter_queue, no_ack=True)
        assert json.loads(letter.body) == json.loads(json.dumps(body))
    assert worker.returncode is None
    worker.kill()


@pytest.mark.gen_test
async def test_a_message_at_which_the_check_itself_fails_is_rejected(vhost: str, start: Start) -> None:
    worker = celery_worker(
        start, "tests.celeryapp", "-P", "prefork", "-c", "1", broker_url=vhost,
        test_consumer="tests.worker.brittle:BrittleConsumer",
    )  # fmt: skip
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        headers, _, body = good()
        message = amqp.Message(json.dumps(body).encode(), application_headers={**headers, "x-fails": 1}, **PLAIN)
        channel.basic_publish(message, routing_key=QUEUE)
        async with running(vhost) as bridge:
            await served(bridge)
            await until(lambda: channel.queue_declare(Topology.dead_letter_queue, passive=True).message_count == 1)
        letter = channel.basic_get(Topology.dead_letter_queue, no_ack=True)
        assert letter.headers["x-rejected"] == "it could not be received: AttributeError"
    assert worker.returncode is None
    worker.kill()


@pytest.mark.gen_test
async def test_a_bomb_and_the_largest_body_that_brokers_let_through_cost_no_memory(vhost: str, strict: Process) -> None:
    headers, _, _ = good()
    bomb = zlib.compress(b"[" + b" " * 400_000_000, 1)
    worker = psutil.Process(strict.pid)
    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare(
            Topology.dead_letter_queue,
            durable=True,
            auto_delete=False,
            arguments=Topology().dead_letter_arguments,
        )
        async with running(vhost) as bridge:
            await served(bridge)
            before = worker.memory_info().rss
            for content, more in ((bomb, {"compression": "application/x-gzip"}), (b"x" * 20_000_000, {})):
                options = {"content_type": "application/json", "content_encoding": "utf-8"}
                message = amqp.Message(content, application_headers={**headers, **more}, **options)
                channel.basic_publish(message, routing_key=QUEUE)
                await served(bridge)
            assert worker.memory_info().rss - before < 50_000_000
    strict.kill()


@pytest.mark.parametrize("text", ["", "x" * 256, "é" * 128, "\ud800", 5, None])
def test_an_id_has_to_fit_into_an_amqp_short_string(text: Any) -> None:
    headers, _, _ = good()
    with pytest.raises(Rejected, match="header id"):
        validate_headers({**headers, "id": text}, TASKS)


def test_a_compressed_message_is_rejected_and_one_may_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in ("_encoders", "_decoders"):
        monkeypatch.setattr(compression, registry, dict(getattr(compression, registry)))
    reject_compressed()
    compressed, content_type = compression.compress(b"x", "gzip")
    with pytest.raises(Rejected, match="compressed"):
        compression.decompress(compressed, content_type)
