"""Results that are passed on as they came, and large replies."""

import json
from typing import Any

import pytest
from amqp.serialization import dumps
from kombu.utils import json as kombus_json

from nowait.amqp.methods import Delivery
from nowait.budget import Budget
from nowait.messages.encoded import Encoded
from nowait.messages.reply import LARGE, RESULT_AT, MalformedReply, Reply, read_large_reply, read_reply
from nowait.worker.replies import encode_reply

PART = 100_000  # bytes of a frame
VALUE = {"π": ["ü 🐇", "\ud800", 1.5, None, 10**30], "rows": []}


def message(body: bytes, headers: dict[str, Any] | None = None, content_type: str = "application/json") -> Delivery:
    table = {} if headers is None else {"headers": bytes(dumps("F", (headers,)))}
    parts = tuple(body[at : at + PART] for at in range(0, len(body), PART))
    return Delivery(1, "a", content_type, "", parts, len(body), table)


def sent(result: Any, **fields: Any) -> Delivery:
    """A reply as Nowait's workers send it."""
    whole = {"task_id": "a", "status": "SUCCESS", "result": result, "traceback": None, "children": [], "runtime": 0.5}
    body = encode_reply({**whole, **fields})
    return message(body.text, body.headers)


def test_an_encoded_value_is_the_same_for_every_encoder_of_celerys() -> None:
    assert Encoded.of(VALUE).decode() == VALUE
    assert kombus_json.loads(kombus_json.dumps({"result": Encoded.of(VALUE)})) == {"result": VALUE}


def test_a_reply_with_an_encoded_result_is_json_as_any_other() -> None:
    reply = sent(Encoded(b"[1, 2]"))
    assert json.loads(reply.body)["result"] == [1, 2]
    assert read_reply(reply, encoded=False) == Reply("SUCCESS", [1, 2], 0.5)


@pytest.mark.parametrize(("given", "name"), [("celery@host", "celery@host"), (None, None), (5, None), (["a"], None)])
def test_a_reply_has_the_name_of_its_worker(given: Any, name: str | None) -> None:
    for result in (5, Encoded(b"5")):
        reply = read_reply(sent(result, worker=given), encoded=isinstance(result, Encoded))
        assert reply is not None and (reply.state, reply.worker) == ("SUCCESS", name)


def test_an_encoded_result_arrives_byte_by_byte_as_it_was_sent() -> None:
    text = b'[{"a" :1.50},  "not read: \xff"]' + b" " * LARGE
    reply = read_reply(sent(Encoded(text)), encoded=True)
    assert reply is not None and (reply.state, reply.runtime) == ("SUCCESS", 0.5)
    assert bytes(reply.result) == text


def test_a_result_that_its_worker_did_not_encode_is_encoded_for_who_asks_for_that() -> None:
    reply = read_reply(sent(VALUE), encoded=True)
    text = '{"π":["ü 🐇","\\ud800",1.5,null,%d],"rows":[]}' % 10**30
    assert reply is not None and bytes(reply.result) == text.encode()


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("state", ["FAILURE", "PROGRESS", "REVOKED"])
def test_what_is_no_result_is_decoded(encoded: bool, state: str) -> None:
    assert read_reply(sent({"step": 1}, status=state), encoded) == Reply(state, {"step": 1}, 0.5)
    assert read_reply(sent(Encoded(b'{"step":1}'), status=state), encoded) == Reply(state, {"step": 1}, 0.5)


@pytest.mark.parametrize("start", [-1, 1, 5, 9, 10**9, 2**40])
def test_a_result_that_is_not_where_it_should_be_is_malformed(start: int) -> None:
    with pytest.raises(MalformedReply):
        read_reply(message(b'{"status": "SUCCESS", "result": 1}', {RESULT_AT: start}), encoded=True)


@pytest.mark.parametrize("start", [None, "31", 0, False, [31]])
def test_a_header_of_another_kind_counts_as_none(start: Any) -> None:
    reply = read_reply(message(b'{"status": "SUCCESS", "result": [ 1 ]}', {RESULT_AT: start, "a": 1}), encoded=True)
    assert reply is not None and bytes(reply.result) == b"[1]"


def test_headers_that_cannot_be_decoded_are_malformed() -> None:
    with pytest.raises(MalformedReply):
        read_reply(Delivery(1, "a", "application/json", "", (b"{}",), 2, {"headers": b"\0\0\0\5\4"}), encoded=True)


@pytest.mark.parametrize("result", ["x" * LARGE, [[VALUE] * 10] * 1000, {"a": {"b": ["\\" * LARGE]}}, -1e-300])
def test_a_large_reply_is_read_elsewhere_and_means_the_same(result: Any) -> None:
    body = json.dumps({"status": "SUCCESS", "result": result, "padding": "x" * LARGE}).encode()
    assert read_reply(message(body), encoded=False) is None
    assert read_large_reply(message(body), encoded=False) == Reply("SUCCESS", result)
    assert read_large_reply(message(body), encoded=True).result.decode() == result


@pytest.mark.parametrize("body", [b'{"status": 1}', b"[" * 100_000, b'{"status": "SUCCESS"', b"\xff"])
def test_a_large_reply_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedReply):
        read_large_reply(message(body), encoded=False)


def test_a_result_holds_its_share_until_it_is_released() -> None:
    budget = Budget(100, 100)
    share = budget.take(60)
    value = Encoded(b"1", share=share)
    assert (budget.used, budget.take(60), budget.full) == (60, None, True)
    value.release()
    value.release()
    assert (budget.used, budget.full) == (0, False)
    assert "0 of 100" in repr(budget) and repr(Encoded(b"[1]")) == "<Encoded 3 bytes>"
