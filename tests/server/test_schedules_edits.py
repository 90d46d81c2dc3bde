"""What becomes of a schedule by an edit."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from nowait.jobs.retry import Retry
from nowait.jobs.table import CatchUp, Overlap
from nowait.schedules.ticks import BadTicks
from server.schedules.document import document
from server.schedules.edits import created, edited
from server.schedules.model import Definition, Schedule

NOON = datetime(2026, 6, 1, 12)
MINUTELY = Definition(
    job="count", queue="queries.jobs", parameters={}, retry=Retry(), webhook=None, cron=None, every=60.0,
    timezone="UTC", enabled=True, overlap=Overlap.ALLOW, catch_up=CatchUp.LATEST,
)  # fmt: skip


def at(seconds: float) -> datetime:
    """So many seconds behind noon."""
    return NOON + timedelta(seconds=seconds)


def made(**values: Any) -> Schedule:
    """A schedule that is made at noon."""
    return created("me", "s", replace(MINUTELY, **values), NOON)


def edit(schedule: Schedule, seconds: float, **values: Any) -> Schedule:
    """It, edited so many seconds behind noon."""
    return edited(schedule, replace(schedule.definition, **values), at(seconds))


def test_the_first_tick_is_the_next() -> None:
    assert (made().due, made().version) == (at(60), 0)
    assert made(every=None, cron="30 * * * *").due == at(1800)
    assert made(enabled=False).due is None


def test_the_same_again_is_no_edit() -> None:
    schedule = made()
    assert edit(schedule, 30) is schedule
    assert edit(schedule, 3600) is schedule


@pytest.mark.parametrize(
    "values", [{"job": "x"}, {"parameters": {"n": 1}}, {"overlap": Overlap.SKIP}, {"retry": Retry(1)}, {"queue": "x"}]
)
def test_an_edit_of_anything_else_leaves_the_ticks_as_they_are(values: dict[str, Any]) -> None:
    after = edit(made(), 30, **values)
    assert (after.due, after.changed, after.version) == (at(60), NOON, 1)


@pytest.mark.parametrize(
    ("values", "due"),
    [
        ({"every": 100.0}, at(130)),
        ({"every": None, "cron": "*/2 * * * *"}, at(120)),
        ({"timezone": "Asia/Kolkata"}, at(90)),
    ],
)
def test_an_edit_of_the_ticks_has_them_begin_anew(values: dict[str, Any], due: datetime) -> None:
    after = edit(made(), 30, **values)
    assert (after.due, after.changed) == (due, at(30))


def test_a_tick_that_has_come_remains_unless_it_is_a_pause() -> None:
    assert edit(made(), 60.1, every=5.0).due == at(60)
    assert edit(made(), 60.1, enabled=False).due is None


def test_a_pause_leaves_the_beginning_as_it_is() -> None:
    paused = edit(made(), 30, enabled=False)
    assert (paused.due, paused.version) == (None, 1)
    resumed = edit(paused, 150, enabled=True)
    assert (resumed.due, resumed.changed, resumed.version) == (at(180), NOON, 2)


def test_one_that_had_no_further_tick_goes_on() -> None:
    after = edit(replace(made(), due=None), 150)
    assert (after.due, after.changed, after.version) == (at(180), NOON, 1)


def test_the_last_tick_and_the_last_job_need_not_belong_together() -> None:
    shown = document(replace(made(), last_tick=at(120), last_job="of a tick before"))
    assert (shown["last_tick"], shown["last_job"]) == ("2026-06-01T12:02:00.000000Z", "of a tick before")


def test_what_never_comes_is_refused_also_while_it_is_paused() -> None:
    never = {"every": None, "cron": "0 0 */31 2 1#5"}
    with pytest.raises(BadTicks, match="^cron: there is no such day.$"):
        made(**never, enabled=False)
    with pytest.raises(BadTicks):
        edit(made(), 30, **never)
