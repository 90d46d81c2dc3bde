"""The parts of a stream, message by message: no broker, no loop."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowait.amqp.methods import Delivery
from nowait.bridge.parts import Parts
from nowait.errors import OutcomeUnknown, Overloaded, TaskFailed
from nowait.messages.part import PartId, Summary


def part(number: int, run: str = "r", user: str = "", body: tuple[bytes, ...] | None = (b"x",)) -> Delivery:
    return Delivery(1, "", "", user, body, 1, properties={"message_id": str(PartId(run, number))})


def summary(parts: int, run: str = "r") -> dict[str, Any]:
    return Summary(run, parts).document()


def received(*messages: Delivery) -> Parts:
    parts = Parts()
    assert all(map(parts.received, messages))
    return parts


def test_a_stream_is_complete_once_all_parts_and_the_reply_are_there_in_either_order() -> None:
    parts = received(part(1), part(2))
    assert not parts.complete
    parts.ended(summary(2))
    assert parts.complete
    parts = received(part(1))
    parts.ended(summary(2))
    assert not parts.complete
    assert parts.received(part(2)) and parts.complete
    assert repr(parts) == "<Parts 2 of 2>"


def test_a_stream_without_parts_is_complete_with_its_reply() -> None:
    parts = Parts()
    parts.ended(summary(0))
    assert parts.complete


def test_a_part_that_comes_twice_counts_once() -> None:
    parts = received(part(1), part(2))
    assert [parts.received(part(1)), parts.received(part(2)), parts.received(part(3))] == [False, False, True]


def test_a_part_that_is_missing_is_an_error() -> None:
    with pytest.raises(OutcomeUnknown, match="from 2 to 3"):
        received(part(1), part(4))


def test_a_second_run_of_the_task_is_an_error_once_there_was_a_part_of_the_first() -> None:
    parts = received(part(1))
    assert not parts.received(part(0, run="other"))
    with pytest.raises(OutcomeUnknown, match="second time"):
        parts.received(part(1, run="other"))
    # One that was given back before it had sent anything is as good as new.
    parts = Parts()
    parts.received(part(0))
    assert parts.received(part(1, run="other"))


def test_the_end_of_a_second_run_is_none_of_the_first() -> None:
    # A query whose rows have changed may have as many parts in both.
    with pytest.raises(OutcomeUnknown, match="second time"):
        received(part(1), part(2)).ended(summary(2, run="other"))
    parts = Parts()
    parts.ended(summary(1, run="other"))
    with pytest.raises(OutcomeUnknown, match="second time"):
        parts.received(part(1))


def test_more_parts_than_the_task_has_sent_are_an_error() -> None:
    with pytest.raises(OutcomeUnknown):
        received(part(1), part(2)).ended(summary(1))
    parts = Parts()
    parts.ended(summary(0))
    with pytest.raises(OutcomeUnknown):
        parts.received(part(1))


def test_a_part_without_room_is_an_error() -> None:
    with pytest.raises(Overloaded):
        Parts().received(part(1, body=None))


NO_SUMMARIES = [{}, {"parts": 1}, {"run": "r", "parts": -1}, {"run": "r", "parts": "1"}, {"run": 1, "parts": 1}]


@pytest.mark.parametrize("result", [None, 3, "parts", *NO_SUMMARIES])
def test_a_result_that_is_no_summary_is_no_stream(result: Any) -> None:
    with pytest.raises(TaskFailed):
        Parts().ended(result)


def test_what_another_user_sends_is_dropped() -> None:
    parts = Parts("worker")
    assert not parts.received(part(1, user="somebody"))
    assert not parts.heard
    assert parts.received(part(1, user="worker"))


@given(st.none() | st.integers() | st.text())
def test_a_message_that_is_no_part_is_dropped(message_id: Any) -> None:
    if PartId.parse(message_id) is None:
        assert not Parts().received(Delivery(1, "", "", "", (b"x",), 1, properties={"message_id": message_id}))


@given(st.uuids(), st.integers(0, 10**15 - 1))
def test_the_id_of_a_part_is_read_as_it_was_written(run: Any, number: int) -> None:
    assert PartId.parse(str(PartId(run.hex, number))) == PartId(run.hex, number)
