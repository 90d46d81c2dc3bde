"""How the ticks of schedulers are counted."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from tests.bench import beat_script
from tests.bench.__main__ import steps
from tests.bench.beat_counts import GRACE, Counts, Edition, Sent, by_moments, by_ticks, gaps, minutes, noticed
from tests.bench.beat_script import Definition


@pytest.mark.parametrize(
    "moments, duplicates, misses",
    [
        ([10, 14, 18], 0, 0),
        ([9, 12.5, 17.3], 0, 0),  # not in time, but each of them
        ([10, 10.1, 14, 18, 18.1], 2, 0),
        ([10, 11.9, 12.1, 14, 18], 2, 0),  # of the third, the fourth is one
        ([10, 18], 0, 1),
        ([10, 20], 0, 2),
        ([14, 18], 0, 1),  # none for 6 seconds from the start on
        ([10, 14], 0, 1),  # and until the end
        ([], 0, 2),  # three, or two and what may come just behind the end
    ],
)
def test_within_half_of_an_interval_comes_a_duplicate_and_behind_one_and_a_half_something_is_missing(
    moments: list[float], duplicates: int, misses: int
) -> None:
    assert gaps(moments, 8, 20, 4) == (duplicates, misses)


@pytest.mark.parametrize(
    "moments, duplicates, misses",
    [
        ([60.1, 120], 0, 0),
        ([59.9, 125], 0, 0),
        ([60.1, 60.2, 95, 120], 2, 0),
        ([120.1], 0, 1),
        ([58, 120], 0, 1),
        ([60, 120, 181], 0, 0),  # too soon before the end
    ],
)
def test_a_minute_gets_one(moments: list[float], duplicates: int, misses: int) -> None:
    assert minutes(moments, 20, 182) == (duplicates, misses)


EVERY_2, EVERY_5, PAUSED = Definition(2), Definition(5), Definition(2, enabled=False)


def sent(*moments: float, name: str = "s", sender: str = "") -> list[Sent]:
    return [Sent(name, moment, sender) for moment in moments]


@pytest.mark.parametrize(
    "before, after, window, expected",
    [
        (EVERY_2, PAUSED, [], True),
        (EVERY_2, PAUSED, sent(1), False),
        (PAUSED, EVERY_2, sent(1), True),
        (PAUSED, EVERY_2, [], False),
        (EVERY_2, EVERY_5, sent(1, 6, 11), True),
        (EVERY_2, EVERY_5, sent(1, 3, 5, 7), False),
        (EVERY_2, EVERY_5, [], False),
        (EVERY_2, EVERY_5, sent(1), True),
        (EVERY_5, EVERY_2, sent(1, 6, 11), False),
        # Two schedulers that are not in step.
        (EVERY_2, EVERY_5, sorted(sent(1, 6, 11, sender="a") + sent(3, 8, 13, sender="b"), key=lambda s: s.at), True),
    ],
)
def test_an_edit_is_noticed_when_what_is_sent_looks_like_it(
    before: Definition, after: Definition, window: list[Sent], expected: bool
) -> None:
    assert noticed(before, after, window) is expected


def test_what_comes_soon_behind_an_edit_or_while_a_schedule_is_paused_does_not_count() -> None:
    editions = [Edition("s", EVERY_2, 0, 0), Edition("s", EVERY_5, 20, 20), Edition("s", PAUSED, 40, 40)]
    moments = sent(*range(0, 20, 2), 20.1, 20.2, 25, 30, 35, 42)
    found = by_moments(editions, moments, 4, 60)
    # From 5 to 20, and from 25 to 40.
    assert found == Counts(sent=7 + 3, edits=2)


def test_each_schedule_is_counted_by_itself() -> None:
    editions = [Edition(name, EVERY_5, 0, 0) for name in "ab"]
    moments = sent(6, 11, 16, name="a") + sent(7, 7.1, 17, name="b")
    assert by_moments(editions, moments, 0, 20) == Counts(sent=6, duplicates=1, misses=1)


def ticks(*moments: float) -> list[Sent]:
    return [Sent("s", moment + 0.2, tick=moment) for moment in moments]


def test_each_tick_of_a_definition_needs_one_job() -> None:
    editions = [Edition("s", EVERY_2, 0, 0, ticks=[2, 4]), Edition("s", EVERY_5, 7, 7.1, ticks=[12.05, 17.05])]
    assert by_ticks(editions, ticks(2, 4, 6, 12.05, 17.05), 0, 20) == Counts(sent=5)
    assert by_ticks(editions, ticks(2, 6, 6, 12.05), 0, 20) == Counts(sent=4, duplicates=1, misses=2)


def test_a_job_of_what_is_no_tick_is_a_duplicate() -> None:
    editions = [Edition("s", EVERY_5, 0, 0, ticks=[5, 10])]
    assert by_ticks(editions, ticks(5, 7, 10), 0, 12) == Counts(sent=3, duplicates=1)


def test_a_tick_that_has_come_before_an_edit_needs_its_job_too() -> None:
    # No scheduler has looked at it yet when the interval becomes another.
    editions = [Edition("s", EVERY_5, 0, 0, ticks=[5, 10]), Edition("s", EVERY_2, 6, 6.1, ticks=[5, 8.05])]
    assert by_ticks(editions, ticks(5, 8.05, 10.05), 0, 12) == Counts(sent=3)
    assert by_ticks(editions, ticks(8.05, 10.05), 0, 12).misses == 1


def test_a_tick_beside_an_edit_may_have_a_job() -> None:
    resumed = Edition("s", EVERY_2, 20, 20.1, ticks=[22, 24])
    editions = [Edition("s", EVERY_2, 0, 0, ticks=[2, 4]), Edition("s", PAUSED, 7.9, 8.1), resumed]
    for made in ([2], [2, 4, 6, 8]):
        assert by_ticks(editions, ticks(*made, 22), 0, 24) == Counts(sent=len(made) + 1)
    assert by_ticks(editions, ticks(2, 4, 10, 22), 0, 24).duplicates == 1


def test_the_script_edits_most_schedules_and_lets_each_last_edit_be_seen() -> None:
    definitions = beat_script.schedules()
    of_name = defaultdict(list)
    for edit in beat_script.edits():
        of_name[edit.name].append(edit)
    assert len(of_name) == 15
    assert all(one.at < later.at for one, later in pairwise(beat_script.edits()))
    for name, edits in of_name.items():
        before, lasting = definitions[name], [edits[2], edits[5]]
        for edit, until in zip(lasting, (edits[3].at, beat_script.LENGTH)):
            assert until - edit.at > 3 * GRACE
            assert edit.definition != before
            before = edit.definition
        assert len(edits) == 6


def test_the_script_kills_one_scheduler_of_two_at_a_time() -> None:
    for (at, _), (later, _) in pairwise(beat_script.KILLS):
        assert later - at > 5 * beat_script.RESTART


def test_each_side_has_one_scheduler_and_then_two() -> None:
    nowhere: Any = None
    named = [step.name for step in steps(nowhere, {"beats"}, {"nowait-beat", "django-celery-beat"}, False)]
    sides = ("nowait-beat", "django-celery-beat")
    assert named == [f"beats, {side}: {number}" for side in sides for number in (1, 2)]
    assert [step.name for step in steps(nowhere, {"beats"}, {"nowait-beat"}, True)] == ["beats, nowait-beat: 2"]
