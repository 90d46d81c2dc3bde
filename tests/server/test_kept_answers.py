"""Answers that are kept, and when they are the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowait.budget import Budget, Share
from server.answers.answer import Answer
from server.answers.kept import KeptAnswers
from server.answers.key import AnswerKey
from server.http.cache_control import CacheControl
from server.query import Query


class Kept:
    """Kept answers, and the clock that they are kept by."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.now = 100.0
        self.budget = Budget(1_000_000)
        self.answers = KeptAnswers(most, self._hold, lambda: self.now)

    def _hold(self, size: int) -> Share:
        share = self.budget.take(size)
        assert share is not None
        return share

    def keep(self, name: str, size: int = 10, lifetime: float = 5.0) -> Answer:
        key = AnswerKey(name, "1", "{}")
        answer = Answer(key, (b"x" * size,), '"1"', self.now, self.now, lifetime)
        self.answers.keep(answer)
        return answer

    def has(self, *names: str) -> list[bool]:
        return [self.answers.get(AnswerKey(name, "1", "{}")) is not None for name in names]


def test_an_answer_that_is_written_is_held_once_for_all_who_get_it() -> None:
    kept = Kept()
    one, other = kept.keep("a", 100), kept.keep("b", 10)
    with kept.answers.writing(one):
        with kept.answers.writing(one), kept.answers.writing(other):
            assert kept.budget.used == 110
        assert kept.budget.used == 100
    assert kept.budget.used == 0


def test_an_answer_is_given_again_until_its_lifetime_is_over() -> None:
    kept = Kept()
    answer = kept.keep("a")
    kept.now += 4.75
    assert kept.answers.get(answer.key) is answer and kept.answers.age(answer) == 4.75
    kept.now += 0.25
    assert kept.answers.get(answer.key) is None


def test_a_client_may_want_it_younger() -> None:
    kept = Kept()
    answer = kept.keep("a")
    kept.now += 2
    assert kept.answers.get(answer.key, max_age=2.0) is answer
    assert kept.answers.get(answer.key, max_age=1.0) is None
    assert kept.answers.get(answer.key) is answer


def test_where_there_is_no_room_those_stay_that_were_asked_for_last() -> None:
    kept = Kept(most=10_000)
    for name in "abc":
        kept.keep(name, size=2000)
    assert kept.has("a", "b", "c") == [True] * 3
    kept.has("a")
    kept.keep("d", size=2000)
    assert kept.has("a", "b", "c", "d") == [True, False, True, True]
    assert len(kept.answers) == 3 and kept.answers.bytes <= 10_000


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 6000), st.floats(0, 3)), max_size=60))
def test_they_never_take_more_than_they_may(kept_ones: list[tuple[str, int, float]]) -> None:
    kept = Kept(most=8000)
    for name, size, later in kept_ones:
        kept.now += later
        kept.keep(name, size, lifetime=2.0)
        found = [kept.answers.get(AnswerKey(name, "1", "{}")) for name in "abcdefgh"]
        assert sum(answer.size + 1024 for answer in found if answer) <= kept.answers.bytes <= 8000
        assert all(kept.answers.age(answer) < 2.0 for answer in found if answer)


def test_one_that_is_larger_than_all_may_be_drives_no_other_out() -> None:
    kept = Kept(most=5000)
    kept.keep("a")
    kept.keep("b", size=5000)
    assert kept.has("a", "b") == [True, False]
    nothing = Kept(most=0)
    nothing.keep("a", size=0)
    assert nothing.has("a") == [False] and repr(nothing.answers) == "<KeptAnswers 0 answers, 0 of 0 bytes>"


SCHEMAS: dict[str, dict[str, Any]] = {
    "flag": {"type": "integer"},
    "share": {"type": "number", "default": 0},
    "name": {"type": "string", "default": ""},
    "open": {"type": "boolean", "default": False},
}


def query(**values: Any) -> Query:
    document = {"name": "q", "description": "", "parameters": {"type": "object", "properties": SCHEMAS}}
    return Query.of_document({**document, "queue": "queries", "repeatable": True, "revision": "1", **values})


texts = st.fixed_dictionaries(
    {"flag": st.integers(-3, 3).map(str)},
    optional={
        "share": st.sampled_from(["0", "0.0", "-0", "1", "1.0", "1e0", "2"]),
        "name": st.sampled_from(["", "0", "1", "true", "1.0", "ü", 'q"', "🐇", "a,b"]),
        "open": st.sampled_from(["true", "false"]),
    },
)


@given(texts, texts)
def test_two_requests_have_the_same_key_where_their_values_are_the_same(
    one: dict[str, str], other: dict[str, str]
) -> None:
    parse = query().parameters.parse
    defaults = {"share": 0, "name": "", "open": False}
    # With their types: 0 and 0.0 are two values in a database, as are 0.0 and -0.0.
    bound, keys = [], []
    for given_ones in (one, dict(reversed(other.items()))):
        values = parse({name: [text] for name, text in given_ones.items()})
        bound.append({name: repr(value) for name, value in {**defaults, **values}.items()})
        keys.append(AnswerKey.of(query(), values))
    assert (keys[0] == keys[1]) == (bound[0] == bound[1])
    assert keys[0].size >= len(str(bound[0]["name"]))


@pytest.mark.parametrize("values", [{"name": "p"}, {"revision": "2"}])
def test_another_query_or_revision_has_another_key(values: dict[str, str]) -> None:
    assert AnswerKey.of(query(**values), {"flag": 1}) != AnswerKey.of(query(), {"flag": 1})


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, (0.0, True)), ({"cache": 5}, (5.0, True)), ({"cache": 0.5, "coalesce": False}, (0.5, False)),
        ({"repeatable": False, "coalesce": True}, (0.0, False)),
    ],
)  # fmt: skip
def test_a_query_is_shared_and_kept_as_its_workers_list_it(
    document: dict[str, Any], expected: tuple[float, bool]
) -> None:
    found = query(**document)
    assert (found.cache, found.coalesce) == expected


@pytest.mark.parametrize("cache", [-1, float("nan"), float("inf"), "x", 10**9])
def test_a_query_that_could_not_be_kept_is_left_out(cache: Any) -> None:
    with pytest.raises(ValueError):
        query(cache=cache)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", CacheControl()),
        ("no-cache", CacheControl(no_cache=True)),
        ("No-Cache , no-store", CacheControl(no_cache=True, no_store=True)),
        ("max-age=0", CacheControl(max_age=0)),
        ('private, max-age="5"', CacheControl(max_age=5)),
        ("max-age=-1, x-no-cache, only-if-cached", CacheControl()),
        ("max-age", CacheControl()),
        ('no-cache="a"', CacheControl()),
        (",,;no-cache=1=2", CacheControl()),
        pytest.param("max-age=" + "9" * 5000, CacheControl(), id="digits"),
        pytest.param("max-age" + " " * 60_000 + "=5", CacheControl(), id="blanks within"),
        pytest.param("no-cache" + " " * 60_000 + "x", CacheControl(), id="blanks"),
        pytest.param("," * 60_000 + "no-cache", CacheControl(no_cache=True), id="commas"),
    ],
)
def test_what_a_client_wants_of_an_answer(header: str, expected: CacheControl) -> None:
    assert CacheControl.of_header(header) == expected
