from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowait.bridge.calls import Calls, Stray
from nowait.errors import Overloaded


def test_a_call_is_answered_once_and_its_second_reply_is_a_duplicate() -> None:
    calls: Calls[str] = Calls(2)
    calls.add("a", "call a")
    assert calls.answer("a") == "call a"
    assert calls.answer("a") is None
    assert (len(calls), calls.strays.duplicate) == (0, 1)


def test_a_reply_after_the_call_gave_up_is_late() -> None:
    calls: Calls[str] = Calls(2)
    calls.add("a", "call a")
    assert calls.abandon("a") == "call a"
    assert calls.answer("a") is None
    assert (calls.strays.late, calls.strays.unknown) == (1, 0)


def test_a_reply_to_nobody_is_unknown() -> None:
    calls: Calls[str] = Calls(2)
    assert calls.stray("a") is Stray.UNKNOWN
    assert calls.strays.unknown == 1


def test_one_call_too_many_is_refused_and_the_others_stay() -> None:
    calls: Calls[str] = Calls(1)
    calls.add("a", "call a")
    with pytest.raises(Overloaded):
        calls.add("b", "call b")
    assert calls.ids() == ["a"]


def test_an_id_that_is_in_flight_cannot_be_used_again() -> None:
    calls: Calls[str] = Calls(2)
    calls.add("a", "call a")
    with pytest.raises(ValueError):
        calls.add("a", "another")


def test_a_table_without_room_makes_no_sense() -> None:
    with pytest.raises(ValueError):
        Calls(0)


@dataclass
class SomeCall:
    confirmed: bool
    idempotent: bool


def test_a_lost_connection_decides_what_was_not_confirmed_and_cannot_be_sent_again() -> None:
    calls: Calls[SomeCall] = Calls(10)
    for confirmed in (False, True):
        for idempotent in (False, True):
            calls.add(f"{confirmed=} {idempotent=}", SomeCall(confirmed, idempotent))
    assert calls.unknown(refused=False) == ["confirmed=False idempotent=False"]
    assert calls.unknown(refused=True) == ["confirmed=False idempotent=False", "confirmed=False idempotent=True"]
    assert calls.to_send_again() == [SomeCall(False, True), SomeCall(True, True)]


def test_its_repr_shows_the_counts() -> None:
    calls: Calls[str] = Calls(5)
    calls.add("a", "call a")
    assert repr(calls) == "<Calls 1 of 5 in flight, strays: Strays(late=0, duplicate=0, unknown=0)>"


@given(st.lists(st.tuples(st.sampled_from(["add", "answer", "abandon"]), st.integers(0, 5))))
def test_every_call_that_enters_leaves_once_or_is_still_in_flight(steps: list[tuple[str, int]]) -> None:
    calls: Calls[int] = Calls(100)
    entered = left = strays = 0
    for action, number in steps:
        if action == "add":
            if calls.peek(str(number)) is None:
                calls.add(str(number), number)
                entered += 1
            continue
        inside = calls.peek(str(number)) is not None
        got = getattr(calls, action)(str(number))
        assert got == (number if inside else None)
        left += inside
        strays += action == "answer" and not inside
    assert entered - left == len(calls)
    assert calls.strays.late + calls.strays.duplicate + calls.strays.unknown == strays
