import time
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from celery.utils.time import maybe_iso8601

from nowait.deadline import Deadline, parse_moment, seconds_until, to_expiration, to_expires

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
BERLIN = timezone(timedelta(hours=1))


def test_a_deadline_counts_down_to_0_and_no_further() -> None:
    assert 9 < Deadline.after(10).remaining() <= 10
    assert Deadline.after(-1).remaining() == 0


@pytest.mark.parametrize("now", [NOW, NOW.astimezone(BERLIN)])
def test_expires_is_read_as_it_is_written(now: datetime) -> None:
    assert to_expires(2.5, now) == (now + timedelta(seconds=2.5)).isoformat()
    assert seconds_until(to_expires(2.5, now), now) == 2.5
    assert seconds_until(to_expires(2.5, NOW), now) == 2.5
    assert seconds_until(now - timedelta(seconds=1), now) == -1
    assert seconds_until((now + timedelta(seconds=3)).replace(tzinfo=None).isoformat(), now) == 3
    assert seconds_until(4, now) == 4


@pytest.mark.parametrize("now", ["2026-10-25T00:59:50", "2026-03-29T00:30:00"])
def test_no_hour_is_lost_or_won_with_summer_time(now: str) -> None:
    berlin = datetime.fromisoformat(now).replace(tzinfo=timezone.utc).astimezone(ZoneInfo("Europe/Berlin"))
    expires = to_expires(7200, berlin)
    assert datetime.fromisoformat(expires) - berlin.astimezone(timezone.utc) == timedelta(hours=2)
    assert seconds_until(expires, berlin) == 7200
    in_two_hours = (berlin.astimezone(timezone.utc) + timedelta(hours=2)).astimezone(berlin.tzinfo)
    assert seconds_until(in_two_hours, berlin) == 7200


def test_an_expiration_is_whole_milliseconds() -> None:
    assert [to_expiration(seconds) for seconds in (30.0, 0.0015, 0)] == ["30000", "1", "0"]


def test_a_workers_deadline_is_the_moment_that_the_message_names() -> None:
    soon = datetime.now(timezone.utc) + timedelta(seconds=100)
    for expires in (soon, soon.isoformat(), soon.replace(tzinfo=None).isoformat()):
        deadline = Deadline.of_expires(expires)
        assert deadline is not None and 90 < deadline.at - time.monotonic() <= 100
    assert Deadline.of_expires(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "2030-01-02T03:04:05+00:00",
        "2030-01-02T03:04:05.123456+05:30",
        "2030-01-02T03:04:05.123",
        "2030-01-02T03:04:05Z",
        "2030-01-02T03:04",
        "20300102T030405",
        "2030-W01-3",
    ],
)
def test_a_moment_is_read_as_celery_reads_it(text: str) -> None:
    assert parse_moment(text) == maybe_iso8601(text)


@pytest.mark.parametrize(
    "text", ["soon", "2030-13-02T03:04:05", "2030-01-02T03:04:05+05:30:15", "２０３０-01-02T03:04:05"]
)
def test_what_celery_cannot_read_is_no_moment(text: str) -> None:
    for parse in (parse_moment, maybe_iso8601):
        with pytest.raises(ValueError):
            parse(text)


@pytest.mark.parametrize("text", ["9999-12-31T24:00", "9999-W53-7"])
def test_what_is_behind_the_last_day_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(text)
