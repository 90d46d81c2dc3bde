"""The ticks of cron lines and intervals, against lists that are written by hand."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cache
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowait.schedules.ticks import BadTicks, Cron, series, ticks_of

START, END = datetime(2026, 1, 1), datetime(2027, 1, 1)

# Hours that clocks are ahead of UTC: at the beginning of 2026, and from these moments on, in UTC.
ZONES = {
    "Europe/Berlin": [(START, 1.0), (datetime(2026, 3, 29, 1), 2.0), (datetime(2026, 10, 25, 1), 1.0)],
    "America/New_York": [(START, -5.0), (datetime(2026, 3, 8, 7), -4.0), (datetime(2026, 11, 1, 6), -5.0)],
    "Australia/Lord_Howe": [(START, 11.0), (datetime(2026, 4, 4, 15), 10.5), (datetime(2026, 10, 3, 15, 30), 11.0)],
}
MINUTE = timedelta(minutes=1)


def between(line: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The ticks from `start` on and before `end`."""
    ticks = ticks_of(line, None, zone, start - timedelta(microseconds=1))
    return list(takewhile(lambda tick: tick < end, series(ticks, ticks.after(datetime.min))))


def clock(zone: str, moment: datetime) -> datetime:
    """What clocks show."""
    return moment + timedelta(hours=[ahead for since, ahead in ZONES[zone] if since <= moment][-1])


def moments(zone: str, shown: datetime) -> list[datetime]:
    """When clocks show that: once, never or twice."""
    found = {shown - timedelta(hours=ahead) for _, ahead in ZONES[zone]}
    return sorted(moment for moment in found if moment >= START and clock(zone, moment) == shown)


def at_fixed_times(zone: str, times: list[tuple[int, int]], fits: Callable[[date], bool]) -> list[datetime]:
    """Debian's rule for lines with fixed hours and minutes: the missing time at its end, the doubled time once."""
    found = set()
    for day in (date(2025, 12, 31) + timedelta(days=n) for n in range(368)):
        for hour, minute in times if fits(day) else []:
            shown = datetime(day.year, day.month, day.day, hour, minute)
            if START <= shown - timedelta(hours=ZONES[zone][0][1]):
                while not moments(zone, shown):
                    shown += MINUTE
                found.add(moments(zone, shown)[0])
    return sorted(moment for moment in found if moment < END)


@cache
def clocks(zone: str) -> list[tuple[datetime, datetime]]:
    """The minutes of the year, and what clocks show then."""
    return [(moment, clock(zone, moment)) for moment in (START + n * MINUTE for n in range(365 * 24 * 60))]


def at_shown_times(zone: str, fits: Callable[[datetime], bool]) -> list[datetime]:
    """Debian's rule for all others: whenever clocks show it."""
    return [moment for moment, shown in clocks(zone) if fits(shown)]


SHOWN: dict[str, Callable[[datetime], bool]] = {
    "0 * * * *": lambda shown: shown.minute == 0,
    "30 * * * *": lambda shown: shown.minute == 30,
    "*/30 * * * *": lambda shown: shown.minute in (0, 30),
    "*/30 1-3 * * *": lambda shown: shown.minute in (0, 30) and shown.hour in (1, 2, 3),
    "15 */6 * * *": lambda shown: shown.minute == 15 and shown.hour in (0, 6, 12, 18),
    "* 2 1 * *": lambda shown: shown.hour == 2 and shown.day == 1,
}
FIXED: dict[str, tuple[list[tuple[int, int]], Callable[[date], bool]]] = {
    "30 2 * * *": ([(2, 30)], lambda day: True),
    "15 2 * * *": ([(2, 15)], lambda day: True),
    "45 1 * * *": ([(1, 45)], lambda day: True),
    "0 0 * * *": ([(0, 0)], lambda day: True),
    "0,30 1,2,3 * * *": ([(h, m) for h in (1, 2, 3) for m in (0, 30)], lambda day: True),
    "30 2 * * 0": ([(2, 30)], lambda day: day.weekday() == 6),
    "30 2 1 * *": ([(2, 30)], lambda day: day.day == 1),
    "0 12 31 * *": ([(12, 0)], lambda day: day.day == 31),
    "0 6 L * *": ([(6, 0)], lambda day: (day + timedelta(days=1)).day == 1),
    "0 6 13 * 5": ([(6, 0)], lambda day: day.day == 13 or day.weekday() == 4),
    "0 6 */2 * MON": ([(6, 0)], lambda day: day.day % 2 == 1 and day.weekday() == 0),
    "0 9 * * 1#1": ([(9, 0)], lambda day: day.weekday() == 0 and day.day <= 7),
}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("line", SHOWN)
def test_a_line_with_stars_goes_by_the_time_that_passes(line: str, zone: str) -> None:
    assert between(line, zone, START, END) == at_shown_times(zone, SHOWN[line])


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("line", FIXED)
def test_a_line_of_fixed_times_misses_none_and_repeats_none(line: str, zone: str) -> None:
    assert between(line, zone, START, END) == at_fixed_times(zone, *FIXED[line])


# The nights of the changes, each tick by itself: day, hour and minute in UTC.
NIGHTS = [
    ("Europe/Berlin", "0 * * * *", "03-29 00:00", "03-29 03:00", "03-29 00:00, 03-29 01:00, 03-29 02:00"),
    ("Europe/Berlin", "30 2 * * *", "03-28 00:00", "03-31 00:00", "03-28 01:30, 03-29 01:00, 03-30 00:30"),
    ("Europe/Berlin", "0 3 * * *", "03-28 00:00", "03-31 00:00", "03-28 02:00, 03-29 01:00, 03-30 01:00"),
    ("Europe/Berlin", "30 2,3 * * *", "03-29 00:00", "03-30 00:00", "03-29 01:00, 03-29 01:30"),
    ("Europe/Berlin", "30 1-3 * * *", "03-29 00:00", "03-29 23:00", "03-29 00:30, 03-29 01:00, 03-29 01:30"),
    ("Europe/Berlin", "0 * * * *", "10-25 00:00", "10-25 03:00", "10-25 00:00, 10-25 01:00, 10-25 02:00"),
    ("Europe/Berlin", "*/30 2 * * *", "10-25 00:20", "10-26 00:00", "10-25 00:30, 10-25 01:00, 10-25 01:30"),
    ("Europe/Berlin", "30 2 * * *", "10-24 00:00", "10-27 00:00", "10-24 00:30, 10-25 00:30, 10-26 01:30"),
    ("America/New_York", "30 2 * * *", "03-07 00:00", "03-10 00:00", "03-07 07:30, 03-08 07:00, 03-09 06:30"),
    ("America/New_York", "30 1 * * *", "10-31 00:00", "11-03 00:00", "10-31 05:30, 11-01 05:30, 11-02 06:30"),
    ("America/New_York", "0 * * * *", "11-01 05:00", "11-01 08:00", "11-01 05:00, 11-01 06:00, 11-01 07:00"),
    ("Australia/Lord_Howe", "45 1 * * *", "04-03 12:00", "04-06 12:00", "04-03 14:45, 04-04 14:45, 04-05 15:15"),
    ("Australia/Lord_Howe", "0 * * * *", "04-04 14:00", "04-04 17:00", "04-04 14:00, 04-04 15:30, 04-04 16:30"),
    ("Australia/Lord_Howe", "15 */6 * * *", "04-04 12:00", "04-05 02:00", "04-04 13:15, 04-04 19:45, 04-05 01:45"),
    ("Australia/Lord_Howe", "*/30 1 * * *", "04-04 13:00", "04-04 17:00", "04-04 14:00, 04-04 14:30, 04-04 15:00"),
    ("Australia/Lord_Howe", "15 2 * * *", "10-02 12:00", "10-05 12:00", "10-02 15:45, 10-03 15:30, 10-04 15:15"),
    ("Australia/Lord_Howe", "30 2 * * *", "10-02 12:00", "10-05 12:00", "10-02 16:00, 10-03 15:30, 10-04 15:30"),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "line", "start", "end", "expected"), NIGHTS)
def test_the_nights_in_which_clocks_are_changed(zone: str, line: str, start: str, end: str, expected: str) -> None:
    def moment(text: str) -> datetime:
        return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M")

    assert between(line, zone, moment(start), moment(end)) == [moment(text) for text in expected.split(", ")]


def test_a_tick_is_behind_the_moment_and_not_at_it() -> None:
    ticks = ticks_of("*/5 * * * *", None, "UTC", START - MINUTE)
    assert ticks.after(START) == START + 5 * MINUTE
    assert ticks.after(START - timedelta(microseconds=1)) == START
    assert ticks.after(START + timedelta(microseconds=1)) == START + 5 * MINUTE


def test_an_interval_is_counted_from_one_moment_and_does_not_drift() -> None:
    since = datetime(2026, 1, 1, 0, 0, 0, 123456)
    ticks = ticks_of(None, 1.1, "UTC", since)
    found = [tick for tick, _ in zip(series(ticks, ticks.after(since)), range(1000))]
    assert found[0] == since + timedelta(seconds=1.1)
    assert found[-1] == since + timedelta(seconds=1100)
    assert ticks.after(since - timedelta(days=3)) == found[0]
    assert ticks.after(found[41]) == found[42]
    assert ticks.after(found[42] - timedelta(microseconds=1)) == found[42]


@given(st.floats(1.0, 1e8), st.integers(-(10**15), 10**16))
def test_the_next_tick_of_an_interval_is_the_first_behind(every: float, later: int) -> None:
    ticks = ticks_of(None, every, "UTC", START)
    moment = START + timedelta(microseconds=later)
    tick = ticks.after(moment)
    assert tick is not None and moment < tick
    assert tick - moment <= timedelta(seconds=every) or tick == START + timedelta(seconds=every)
    assert (tick - START) % timedelta(seconds=every) == timedelta()


@pytest.mark.parametrize(
    ("line", "first"),
    [("*/5 * * * *", START), ("30 2 * * *", START + 90 * MINUTE), ("* * 1 * *", START), ("0 0 1 1 *", START)],
)
@pytest.mark.parametrize("later", [0, 1, 299, 301, 86_399, 40_000_000, 63_072_000])
def test_the_latest_tick_is_the_last_of_all(line: str, first: datetime, later: int) -> None:
    ticks = ticks_of(line, None, "UTC", START - MINUTE)
    tick = ticks.after(first - MINUTE)
    assert tick is not None
    now = tick + timedelta(seconds=later)
    found = ticks.latest(tick, now)
    following = ticks.after(found)
    assert tick <= found <= now
    assert following is None or following > now


def test_the_latest_tick_of_many_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = ticks_of("* * * * *", None, "Europe/Berlin", START)
    looked: list[datetime] = []
    after = Cron.after
    monkeypatch.setattr(Cron, "after", lambda self, moment: looked.append(moment) or after(self, moment))
    assert ticks.latest(START, END + timedelta(seconds=30)) == END
    assert len(looked) < 100


def test_no_tick_of_a_line_is_before_its_beginning() -> None:
    ticks = ticks_of("*/5 * * * *", None, "UTC", START + MINUTE)
    assert ticks.after(START - 60 * MINUTE) == START + 5 * MINUTE


def test_the_latest_tick_may_be_one_of_before_an_edit() -> None:
    for ticks in (ticks_of(None, 60, "UTC", START), ticks_of("0 0 * * *", None, "UTC", START)):
        assert ticks.latest(START - MINUTE, START + timedelta(seconds=30)) == START - MINUTE


def test_the_latest_tick_of_an_interval() -> None:
    ticks = ticks_of(None, 10, "UTC", START)
    first = START + timedelta(seconds=10)
    assert ticks.latest(first, first) == first
    assert ticks.latest(first, START + timedelta(seconds=39.9)) == START + timedelta(seconds=30)
    assert ticks.latest(first, START + timedelta(seconds=40)) == START + timedelta(seconds=40)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "cron: minute, hour"),
        ("* * * *", "cron: minute, hour"),
        ("* * * * * *", "cron: minute, hour"),
        ("@daily", "cron: minute, hour"),
        ("60 * * * *", "cron: minute cannot"),
        ("* 24 * * *", "cron: hour cannot"),
        ("*/0 * * * *", "cron: minute cannot"),
        ("5-1 * * * *", "cron: minute cannot"),
        ("* * 0 * *", "cron: day-of-month cannot"),
        ("0 0 30 2 *", "cron: day-of-month cannot"),
        ("* * * 13 *", "cron: month cannot"),
        ("* * * * MONDAY", "cron: day-of-week cannot"),
        ("* * * * 8", "cron: day-of-week cannot"),
        ("0 0 1 1 1" + " " * 300, "cron: minute, hour"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_what_is_wrong(line: str, why: str) -> None:
    with pytest.raises(BadTicks, match=f"^{why}"):
        ticks_of(line, None, "UTC", START)


def test_a_day_that_never_comes_is_looked_for_for_so_many_years_and_not_for_ever() -> None:
    # The first of February never is the fifth Monday.
    assert ticks_of("0 0 */31 2 1#5", None, "UTC", START).after(START) is None
    assert ticks_of("0 0 * 2 1#5", None, "UTC", START).after(START) == datetime(2044, 2, 29)


@pytest.mark.parametrize(
    "zone",
    ["", "Nowhere", "Europe", "../UTC", "/etc/localtime", "localtime", "zone.tab", "\0", "Zoë", "x" * 65, "UTC" * 200],
)
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(BadTicks, match="^timezone: a name"):
        ticks_of("* * * * *", None, zone, START)


@pytest.mark.parametrize("every", [0, 0.999, -1, float("nan"), float("inf"), 315_360_001])
def test_an_interval_is_a_second_at_least_and_ten_years_at_most(every: float) -> None:
    with pytest.raises(BadTicks, match="^every: seconds from 1 to 315360000 are expected.$"):
        ticks_of(None, every, "UTC", START)


@pytest.mark.parametrize(("cron", "every"), [(None, None), ("* * * * *", 1.0)])
def test_one_of_cron_and_every_is_expected(cron: str | None, every: float | None) -> None:
    with pytest.raises(BadTicks, match="^cron: this or every is expected.$"):
        ticks_of(cron, every, "UTC", START)


PARTS = "* 0 7 31 L LW MON 1#5 5L FEB - / , 1-5 */7 99 ² */999999999999999999999".split()


@given(st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("".join), min_size=5, max_size=5))
def test_any_line_is_read_or_refused(parts: list[str]) -> None:
    try:
        ticks_of(" ".join(parts), None, "UTC", START).after(START)
    except BadTicks:
        pass
