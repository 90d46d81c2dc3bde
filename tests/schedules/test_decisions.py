"""What becomes of schedules whose ticks have come."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from nowait.jobs.table import CatchUp
from nowait.schedules import decisions
from nowait.schedules.decisions import MISSED, DueSchedule, Plan, last_jobs
from nowait.schedules.protocol import Edition, Move
from nowait.schedules.ticks import Interval

NOON = datetime(2026, 6, 1, 12)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def schedule(**values: Any) -> DueSchedule:
    """Each minute, due at noon, but for these values."""
    usual: dict[str, Any] = dict(
        owner="me", name="s", cron="* * * * *", every=None, timezone="UTC", overlap="allow",
        catch_up="latest", due=NOON, version=0, changed=NOON, last_job=None,
    )  # fmt: skip
    return DueSchedule(**{**usual, **values})


def each(period: float, **values: Any) -> DueSchedule:
    """Each so many seconds, first at noon."""
    return schedule(cron=None, every=period, changed=NOON - seconds(period), **values)


def decided(found: DueSchedule, late: float, *unfinished: str) -> Move:
    """What becomes of it so many seconds behind noon."""
    (move,) = Plan.of([found], unfinished, NOON + seconds(late)).moves
    return move


def ticks(move: Move) -> list[float]:
    """The ticks that get a job, in seconds from noon."""
    return [(tick.moment - NOON).total_seconds() for tick in move.ticks]


def test_a_tick_gets_a_job_and_the_next_is_due() -> None:
    move = decided(schedule(), 0.3)
    assert (move.owner, move.name, ticks(move)) == ("me", "s", [0])
    assert (move.last, move.due) == (NOON, NOON + seconds(60))


def test_a_job_has_the_databases_time_in_its_id() -> None:
    (tick,) = decided(schedule(), 0.3).ticks
    milliseconds = UUID(tick.job).int >> 80
    assert datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds) == NOON + seconds(0.3)


@pytest.mark.parametrize("catch_up", CatchUp)
def test_each_tick_that_is_not_late_gets_a_job(catch_up: CatchUp) -> None:
    move = decided(each(1, catch_up=catch_up.value), 3.5)
    assert ticks(move) == [0, 1, 2, 3]
    assert (move.last, move.due) == (NOON + seconds(3), NOON + seconds(4))
    assert len({tick.job for tick in move.ticks}) == 4


@pytest.mark.parametrize("catch_up", CatchUp)
def test_of_more_ticks_those_that_are_late_get_none(catch_up: CatchUp) -> None:
    move = decided(each(2, catch_up=catch_up.value), 3600.5)
    assert ticks(move) == [3596, 3598, 3600]
    assert move.due == NOON + seconds(3602)


def test_the_latest_of_missed_ticks_gets_a_job_or_none_does() -> None:
    for found in (schedule(), each(60)):
        assert ticks(decided(found, 3 * 3600 + 30)) == [3 * 3600]
    for found in (schedule(catch_up="none"), each(60, catch_up="none")):
        move = decided(found, 3 * 3600 + 30)
        assert ticks(move) == []
        assert (move.last, move.due) == (NOON + seconds(3 * 3600), NOON + seconds(3 * 3600 + 60))


@pytest.mark.parametrize(("late", "expected"), [(MISSED - 0.001, [0]), (MISSED, [])])
def test_a_tick_is_missed_from_five_seconds_on(late: float, expected: list[float]) -> None:
    assert ticks(decided(schedule(catch_up="none"), late)) == expected


def test_where_no_two_may_overlap_a_tick_waits_for_no_job() -> None:
    skipping = schedule(overlap="skip", last_job="one")
    move = decided(skipping, 0.3, "one", "another")
    assert (ticks(move), move.last, move.due) == ([], NOON, NOON + seconds(60))
    assert ticks(decided(skipping, 0.3, "another")) == [0]


def test_where_no_two_may_overlap_one_of_several_ticks_gets_a_job() -> None:
    move = decided(each(1, overlap="skip"), 2.5)
    assert (ticks(move), move.last, move.due) == ([0], NOON + seconds(2), NOON + seconds(3))


@pytest.mark.parametrize(("late", "searches"), [(0.3, 1), (4.5, 5), (3600.5, 6)])
def test_no_tick_is_searched_for_twice(monkeypatch: pytest.MonkeyPatch, late: float, searches: int) -> None:
    searched: list[datetime] = []

    class Counted(Interval):
        def after(self, moment: datetime) -> datetime:
            searched.append(moment)
            return super().after(moment)

    monkeypatch.setattr(decisions, "ticks_of", lambda *_: Counted(seconds(1), NOON - seconds(1)))
    assert decided(each(1), late).due == NOON + seconds(int(late) + 1)
    assert len(searched) == len(set(searched)) == searches


def test_a_tick_of_before_an_edit_gets_its_job_and_those_of_the_edit_begin_behind_it() -> None:
    edited = NOON + seconds(61)
    move = decided(schedule(due=NOON + seconds(58), changed=edited), 63)
    assert (ticks(move), move.due) == ([58], NOON + seconds(120))
    move = decided(schedule(cron=None, every=1, due=NOON + seconds(60), changed=edited), 63)
    assert (ticks(move), move.due) == ([60, 62, 63], NOON + seconds(64))


def test_only_the_jobs_that_could_overlap_are_looked_up() -> None:
    found = [
        schedule(overlap="skip", last_job="one"),
        schedule(overlap="skip"),
        schedule(last_job="two"),
    ]
    assert last_jobs(found) == ["one"]


def test_a_schedule_that_cannot_be_read_stands_in_no_others_way() -> None:
    found = [
        schedule(name="zone", timezone="Nowhere"),
        schedule(name="line", cron="x"),
        schedule(name="another", overlap="queue"),
        schedule(name="newer", catch_up="all"),
        schedule(),
    ]
    plan = Plan.of(found, [], NOON)
    assert [(move.name, ticks(move), move.due) for move in plan.moves] == [
        ("s", [0], NOON + seconds(60)),
    ]
    assert {edition.name: reason.split(":")[0] for edition, reason in plan.unreadable.items()} == {
        "zone": "timezone",
        "line": "cron",
        "another": "'queue' is not a valid Overlap",
        "newer": "'all' is not a valid CatchUp",
    }
    assert list(plan.unreadable)[0] == Edition("me", "zone", 0, NOON)
