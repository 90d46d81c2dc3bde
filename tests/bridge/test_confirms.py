from hypothesis import given
from hypothesis import strategies as st

from nowait.bridge.confirms import Confirms


def test_one_tag_settles_one_message() -> None:
    confirms = Confirms()
    assert [confirms.published(call, 0) for call in "abc"] == [1, 2, 3]
    assert confirms.settle(2, multiple=False) == ["b"]
    assert len(confirms) == 2


def test_multiple_settles_all_up_to_the_tag() -> None:
    confirms = Confirms()
    for call in "abcd":
        confirms.published(call, 0)
    assert confirms.settle(3, multiple=True) == ["a", "b", "c"]
    assert confirms.settle(0, multiple=True) == ["d"]


def test_a_tag_that_stands_for_nothing_settles_nothing() -> None:
    confirms = Confirms()
    confirms.published("a", 0)
    assert confirms.settle(7, multiple=False) == []
    assert confirms.settle(1, multiple=False) == ["a"]
    assert confirms.settle(1, multiple=False) == []


def test_what_is_overdue_is_given_up_and_its_late_confirm_settles_nothing() -> None:
    confirms = Confirms()
    for moment, call in enumerate("abc"):
        confirms.published(call, moment)
    assert confirms.overdue(since=2) == ["a", "b"]
    assert confirms.overdue(since=2) == []
    assert confirms.settle(3, multiple=True) == ["c"]


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans())), st.integers(0, 20))
def test_no_message_is_settled_twice(acks: list[tuple[int, bool]], count: int) -> None:
    confirms = Confirms()
    for number in range(count):
        confirms.published(str(number), 0)
    settled = [call for tag, multiple in acks for call in confirms.settle(tag, multiple)]
    assert len(settled) == len(set(settled)) == count - len(confirms)
