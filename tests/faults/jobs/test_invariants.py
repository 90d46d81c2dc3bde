"""The checks of the fault tests bite: each promise that is broken by hand is found."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.faults.jobs.invariants import Answers, broken
from tests.faults.jobs.journal import Books, Change, Row

NOW = datetime(2026, 1, 1)


def good() -> tuple[Books, Answers]:
    row = Row("a", "succeeded", 2, 1, "2", -600.0)
    ways = [(None, "queued", 0), ("queued", "running", 1), ("running", "queued", 1), ("queued", "running", 2),
            ("running", "succeeded", 2)]  # fmt: skip
    changes = [Change("a", old, new, attempt, NOW + timedelta(seconds=n)) for n, (old, new, attempt) in enumerate(ways)]
    return Books({"a": row}, {"a": [2, 2]}, {"a": changes}), Answers(ids={"key": "a"})


def test_what_is_as_it_should_be_breaks_nothing() -> None:
    assert broken(*good()) == []


def test_a_row_may_come_of_a_request_that_had_no_answer() -> None:
    books, answers = good()
    answers.ids.clear()
    answers.unknown = 1
    assert broken(books, answers) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda books, answers: books.rows.clear(), "no row"),
        (lambda books, answers: answers.ids.clear(), "never accepted"),
        (lambda books, answers: answers.ids.update(other="a"), "two keys"),
        (lambda books, answers: answers.twice.add("key"), "two jobs"),
        (lambda books, answers: books.rows.update(a=replace(books.rows["a"], state="running")), "not ended"),
        (lambda books, answers: books.effects.update(a=[2]), "with effects"),
        (lambda books, answers: books.effects.update(a=[1, 1, 2, 2]), "with effects"),
        (lambda books, answers: books.rows.update(a=replace(books.rows["a"], state="cancelled")), "with effects"),
        (lambda books, answers: books.rows.update(a=replace(books.rows["a"], result="1")), "result of attempt 1"),
        (lambda books, answers: answers.cancelled.add("a"), "its DELETE"),
        (lambda books, answers: answers.final.update(a="failed"), "an answer had it"),
        (lambda books, answers: books.changes["a"].append(books.changes["a"][-1]), "ended 2 times"),
        (lambda books, answers: books.changes["a"].insert(2, books.changes["a"][1]), "began twice"),
        (lambda books, answers: books.changes["a"].append(Change("a", "succeeded", "queued", 2, NOW)), "went from"),
        (lambda books, answers: books.changes["a"].append(Change("a", "running", "queued", 1, NOW)), "went back"),
        (lambda books, answers: books.changes["a"].append(
            Change("a", "queued", "running", 3, NOW, eta=NOW + timedelta(seconds=1))), "too early"),
        (lambda books, answers: books.changes["a"].append(
            Change("a", "queued", "running", 3, NOW, expires=NOW)), "had expired"),
        (lambda books, answers: books.rows.update(a=replace(books.rows["a"], progress={"begun": 1})), "the progress"),
        (lambda books, answers: books.changes["a"].append(
            Change("a", "running", "queued", 2, NOW, failed=True)), "which does not raise"),
    ],
)  # fmt: skip
def test_a_promise_that_is_broken_is_found(change: object, found: str) -> None:
    books, answers = good()
    assert callable(change)
    change(books, answers)
    assert any(found in what for what in broken(books, answers)), broken(books, answers)
