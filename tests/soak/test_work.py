"""What is lost, what is done twice, and what is neither, as it is documented."""

from dataclasses import replace
from datetime import datetime

import pytest

from tests.faults.jobs.invariants import Answers
from tests.faults.jobs.journal import Books, Change, Row
from tests.soak.growth import Growth
from tests.soak.report import lines
from tests.soak.soak import Outcome
from tests.soak.work import Acknowledged, Hold, Work, settle_jobs, settle_queries, settle_queue, settle_topic

GROWTH = Growth("server 1", 42.0, (60.0, 60.1), 0.2, (20.0, 20.0), (9.0, 9.0))


def outcome(work: Work, growth: Growth = GROWTH, *problems: str) -> Outcome:
    return Outcome(3600.0, 1080.0, works=[work], kept=[growth], problems=list(problems))


def found(work: Work) -> tuple[int, int, int]:
    return work.lost, work.twice, len(work.broken)


def test_a_run_without_loss_passes() -> None:
    good = outcome(Work("queries", asked=4, done=1, refused=1, unknown=1, late=1))
    assert good.verdict() == []
    assert list(lines(good))[-1].startswith("PASSED")


@pytest.mark.parametrize(
    "bad",
    [
        outcome(Work("queries", asked=2, done=1, lost=1)),
        outcome(Work("queries", asked=2, done=2, twice=1)),
        outcome(Work("queries", asked=2, done=2, broken=["what was refused ran"])),
        outcome(Work("queries", asked=2, refused=2)),
        outcome(Work("queries", asked=2, done=2), replace(GROWTH, slope=1.0)),
        outcome(Work("queries", asked=2, done=2), replace(GROWTH, descriptors=(20.0, 23.0))),
        outcome(Work("queries", asked=2, done=2), replace(GROWTH, threads=(9.0, 12.0))),
        outcome(Work("queries", asked=2, done=2), GROWTH, "server 1 has ended by itself"),
    ],
    ids=["lost", "twice", "broken", "nothing done", "memory", "descriptors", "threads", "problem"],
)
def test_a_run_fails_for_each_figure_that_is_not_met(bad: Outcome) -> None:
    assert len(bad.verdict()) == 1
    assert list(lines(bad))[-1].startswith("FAILED")


def test_an_answer_needs_one_run_and_a_refusal_none() -> None:
    work = Work("queries")
    settle_queries(work, answered=["a", "b"], refused=["c", "d"], runs={"a": 1, "c": 1, "late": 1})
    assert found(work) == (1, 0, 1)
    work = Work("queries")
    settle_queries(work, answered=["a"], refused=[], runs={"a": 1, "unknown": 2})
    assert found(work) == (0, 1, 0)


def test_a_job_that_was_accepted_ends_once() -> None:
    def row(job: str, state: str) -> Row:
        return Row(job, state, 1, 0, "1", 0.0)

    def ends(job: str, *states: str) -> list[Change]:
        return [Change(job, "running", state, 1, datetime(2026, 11, 26)) for state in states]

    books = Books(
        {"ended": row("ended", "succeeded"), "stuck": row("stuck", "running"), "twice": row("twice", "succeeded")},
        {"ended": [1, 1], "twice": [1, 1]},
        {"ended": ends("ended", "succeeded"), "twice": ends("twice", "failed", "succeeded")},
    )
    work = settle_jobs(books, Answers(ids={job: job for job in ("ended", "stuck", "twice", "gone")}, unknown=1))
    assert (work.asked, work.done, *found(work)) == (5, 2, 2, 1, 0)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ([1, 2, 3], (0, 0, 0)),
        ([1, 9, 2, 3], (0, 0, 0)),  # of the unknown one nobody can say
        ([1, 3], (1, 0, 0)),
        ([1, 2, 2, 3], (0, 1, 0)),
        ([1, 9, 9, 2, 3], (0, 1, 0)),
        ([2, 1, 3], (0, 0, 1)),
        ([1, 2, 3, 4], (0, 0, 1)),
    ],
)
def test_a_subscriber_gets_each_message_once_and_in_order(got: list[int], expected: tuple[int, int, int]) -> None:
    work = Work("topic")
    settle_topic(work, [1, 2, 3], [9], [got])
    assert found(work) == expected


def test_all_subscribers_get_the_same() -> None:
    work = Work("topic")
    settle_topic(work, [1, 2], [8, 9], [[1, 8, 9, 2], [1, 9, 8, 2]])
    assert found(work) == (0, 0, 1)


@pytest.mark.parametrize(
    ("redelivered", "ended", "expected"),
    [
        (True, 12.0, (0, 0, 0)),  # the connection has ended behind it
        (False, 12.0, (0, 0, 1)),
        (True, 30.0, (0, 1, 0)),
        (True, None, (0, 1, 0)),
    ],
)
def test_a_message_comes_again_only_where_its_acknowledgement_may_be_lost(
    redelivered: bool, ended: float | None, expected: tuple[int, int, int]
) -> None:
    work = Work("queue")
    acknowledged = [Acknowledged(1, False, 10.0, Hold(ended)), Acknowledged(1, redelivered, 40.0, Hold())]
    assert settle_queue(work, [1], [], acknowledged) == 1
    assert (found(work), work.done) == (expected, 1)


def test_a_message_that_nobody_has_acknowledged_is_lost() -> None:
    work = Work("queue")
    settle_queue(work, [1, 2], [3, 4], [Acknowledged(1, False, 10.0, Hold()), Acknowledged(3, False, 11.0, Hold())])
    assert (found(work), work.done) == ((1, 0, 0), 1)
