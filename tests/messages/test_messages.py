import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from amqp import Message
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from nowait import (
    BridgeError,
    DeadlineExceeded,
    MessageTooLarge,
    OutcomeUnknown,
    ResultTooLarge,
    TaskFailed,
    UnknownTask,
)
from nowait.messages.encoder import TaskEncoder
from nowait.messages.outbound import OutboundMessage
from nowait.messages.reply import MalformedReply, Reply, decode_reply
from nowait.messages.template import PLACEHOLDER_ID, CapturedMessage, Template

NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def app() -> Celery:
    app = Celery("server", set_as_current=False)
    app.conf.task_routes = {"routed.*": {"queue": "by-route", "priority": 4}}
    return app


def encode(app: Celery, timeout: float = 5.0, **options: Any) -> OutboundMessage:
    args, kwargs = options.pop("args", [1]), options.pop("kwargs", {"k": "v"})
    name = options.pop("name", "test.echo")
    encoder = TaskEncoder(app, "replies")
    return encoder.encode(name, args, kwargs, task_id="the-id", timeout=timeout, now=NOW, options=options)


def properties(sent: OutboundMessage) -> dict[str, Any]:
    """The properties, decoded by py-amqp."""
    message = Message()
    message._load_properties(60, b"\x00" * 12 + sent.properties, 12)
    return dict(message.properties)


def test_a_request_carries_what_a_worker_needs(app: Celery) -> None:
    message = encode(app, queue="tests")
    assert (message.exchange, message.routing_key) == ("", "tests")
    args, kwargs, embed = json.loads(message.body)
    assert (args, kwargs) == ([1], {"k": "v"})
    assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    sent = properties(message)
    assert sent["correlation_id"] == "the-id"
    assert sent["reply_to"] == "replies"
    assert sent["content_type"] == "application/json"
    assert sent["delivery_mode"] == 2
    assert sent["expiration"] == "5000"
    headers = sent["application_headers"]
    assert (headers["task"], headers["id"], headers["root_id"]) == ("test.echo", "the-id", "the-id")
    left = datetime.fromisoformat(headers["expires"]) - NOW
    assert left == timedelta(seconds=5)


def test_a_name_is_no_pattern(app: Celery) -> None:
    message = encode(app, name="of %b 100%", queue="tests")
    assert properties(message)["application_headers"]["task"] == "of %b 100%"


def test_routes_and_priorities_are_celerys_own(app: Celery) -> None:
    message = encode(app, name="routed.task")
    assert message.routing_key == "by-route"
    assert properties(message)["priority"] == 4
    assert encode(app, name="other.task").routing_key == "celery"


@pytest.mark.parametrize(
    ("expires", "expiration"),
    [
        (2, "2000"),
        (60, "5000"),
        (-1, "0"),
        (datetime(2000, 1, 1, tzinfo=timezone.utc), "0"),
        (datetime(2999, 1, 1, tzinfo=timezone.utc), "5000"),
        (datetime(2999, 1, 1), "5000"),
        ("2999-01-01T00:00:00+00:00", "5000"),
    ],
)
def test_the_earlier_of_deadline_and_expires_counts(app: Celery, expires: Any, expiration: str) -> None:
    assert properties(encode(app, queue="tests", expires=expires))["expiration"] == expiration


@pytest.mark.parametrize(
    "option",
    [
        {"producer": None},
        {"connection": None},
        {"reply_to": "mine"},
        {"retry": True},
        {"serializer": "pickle"},
        {"compression": "gzip"},
        {"no_such_option": 1},
    ],
)
def test_what_a_bridge_cannot_do_is_refused_by_name(app: Celery, option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(option))):
        encode(app, queue="tests", **option)


@pytest.mark.parametrize("args", [[object()], [float("nan"), object], "text", 5])
def test_arguments_that_json_cannot_carry_are_a_type_error(app: Celery, args: Any) -> None:
    with pytest.raises(TypeError):
        encode(app, queue="tests", args=args)


def test_every_message_that_can_be_cached_is(app: Celery) -> None:
    encoder = TaskEncoder(app, "replies")
    assert encoder._template("test.echo", {"queue": "tests", "priority": 3}, {}) is not None
    assert encoder._template("test.echo", {"queue": "tests", "countdown": 3}, {}) is None


def test_a_trace_is_spliced_into_one_template_for_all_of_its_kind(app: Celery) -> None:
    encoder = TaskEncoder(app, "replies")
    for number in range(3):
        headers = {"traceparent": f"00-{number:032x}-{number:016x}-01", "tracestate": f"vendor={number}"}
        sent = encoder.encode(
            "test.echo", [], {}, task_id="the-id", timeout=5, now=NOW, options={"queue": "tests", "headers": headers}
        )
        assert headers.items() <= properties(sent)["application_headers"].items()
    without = encoder.encode("test.echo", [], {}, task_id="the-id", timeout=5, now=NOW, options={"queue": "tests"})
    assert "traceparent" not in properties(without)["application_headers"]
    assert len(encoder._templates) == 2


@pytest.mark.parametrize("headers", [{"traceparent": 5}, {"traceparent": "00", "other": "x"}, {"task": "other"}])
def test_other_headers_are_left_to_celery(app: Celery, headers: dict[str, Any]) -> None:
    encoder = TaskEncoder(app, "replies")
    options = {"queue": "tests", "headers": headers}
    sent = encoder.encode("test.echo", [], {}, task_id="the-id", timeout=5, now=NOW, options=options)
    assert headers.items() <= properties(sent)["application_headers"].items()
    assert not encoder._templates


def test_a_celery_that_builds_other_messages_makes_each_of_them_itself() -> None:
    ids = {"correlation_id": PLACEHOLDER_ID, "headers": {"id": PLACEHOLDER_ID, "root_id": PLACEHOLDER_ID}}
    assert Template.of(CapturedMessage(b"[[], {}, {}]", ids, "", "tests")) is not None
    for body, properties in [
        (b"[[], {}, {}]", {**ids, "correlation_id": "another"}),
        (b"[{}, [], {}]", ids),
        (b'{"args": [], "kwargs": {}}', ids),
    ]:
        assert Template.of(CapturedMessage(body, properties, "", "tests")) is None


def reply(**fields: Any) -> bytes:
    whole = {"task_id": "i", "status": "SUCCESS", "result": 1, "traceback": None, "children": [], **fields}
    return json.dumps(whole).encode()


def test_a_reply_is_read() -> None:
    assert decode_reply(reply(), "application/json") == Reply("SUCCESS", 1)


@pytest.mark.parametrize("state", ["STARTED", "RETRY", "PROGRESS", "PENDING"])
def test_progress_is_not_final(state: str) -> None:
    assert not decode_reply(reply(status=state), "application/json").final


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED", "REJECTED"])
def test_an_end_is_final(state: str) -> None:
    assert decode_reply(reply(status=state), "application/json").final


@pytest.mark.parametrize(
    ("result", "failure"),
    [
        ({"exc_type": "KeyError", "exc_message": ["a", 1], "exc_module": "builtins"}, ("KeyError", "a 1")),
        ({"exc_type": "SystemExit", "exc_message": "3", "exc_module": "builtins"}, ("SystemExit", "3")),
        ({}, ("", "")),
        ("text", ("", "text")),
        (None, ("", "None")),
    ],
)
def test_a_failure_is_data_and_builds_no_exception(result: Any, failure: tuple[str, str]) -> None:
    answer = decode_reply(reply(status="FAILURE", result=result), "application/json")
    assert answer.error().args == TaskFailed("FAILURE", *failure).args


@pytest.mark.parametrize(
    ("state", "kind", "text", "error"),
    [
        ("REVOKED", "TaskRevokedError", "expired", DeadlineExceeded),
        ("REVOKED", "TaskRevokedError", "terminated", TaskFailed),
        ("REJECTED", "NotRegistered", "test.nobody", UnknownTask),
        ("REJECTED", "MessageTooLarge", "2 bytes", MessageTooLarge),
        ("REJECTED", "InvalidMessage", "no", TaskFailed),
        ("FAILURE", "OutcomeUnknown", "a worker was lost", OutcomeUnknown),
        ("FAILURE", "WorkerLostError", "Worker exited prematurely: signal 9 (SIGKILL) Job: 3.", OutcomeUnknown),
        ("FAILURE", "NotRegistered", "a task's own", TaskFailed),
    ],
)
def test_what_a_worker_did_not_run_is_an_error_of_its_own(
    state: str, kind: str, text: str, error: type[BridgeError]
) -> None:
    result = {"exc_type": kind, "exc_message": text}
    answer = decode_reply(reply(status=state, result=result), "application/json")
    assert type(answer.error()) is error


@pytest.mark.parametrize(
    ("message", "limit", "unit"),
    [
        ([10, "rows"], 10, "rows"),
        ([16777216, "bytes"], 16777216, "bytes"),
        (["10", "rows"], None, "bytes"),
        ([10, "SELECT secret"], None, "bytes"),
        ([True, "rows"], None, "bytes"),
        ([-1, "rows"], None, "bytes"),
        ([10], None, "bytes"),
        ("10 rows", None, "bytes"),
        (None, None, "bytes"),
    ],
)
def test_a_result_that_is_too_large_comes_with_its_limit_if_that_is_one(
    message: Any, limit: int | None, unit: str
) -> None:
    result = {"exc_type": "ResultTooLarge", "exc_message": message}
    error = decode_reply(reply(status="FAILURE", result=result), "application/json").error()
    assert isinstance(error, ResultTooLarge) and (error.limit, error.unit) == (limit, unit)


def test_a_failure_says_when_its_task_was_not_run() -> None:
    result = {"exc_type": "NotRegistered", "exc_message": ["test.nobody"], "exc_module": "celery.exceptions"}
    answer = decode_reply(reply(status="FAILURE", result=result, rejected=True), "application/json")
    assert answer.final and answer.state == "REJECTED"
    assert isinstance(answer.error(), UnknownTask) and "there is no task 'test.nobody'" in str(answer.error())
    for other in (False, "yes", None):
        assert decode_reply(reply(status="FAILURE", rejected=other), "application/json").state == "FAILURE"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"\xff\xfe", "application/json"),
        (reply().decode().encode("utf-16"), "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"[]", "application/json"),
        (b'{"status": 5}', "application/json"),
        (reply(), "application/x-python-serialize"),
        (reply(), ""),
    ],
)
def test_what_is_no_reply_is_malformed(body: bytes, content_type: str) -> None:
    with pytest.raises(MalformedReply):
        decode_reply(body, content_type)


@given(st.binary())
def test_any_bytes_are_a_reply_or_malformed(body: bytes) -> None:
    try:
        decode_reply(body, "application/json")
    except MalformedReply:
        pass
