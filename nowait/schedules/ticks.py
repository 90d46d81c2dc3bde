"""The ticks of a schedule: of a cron line in a time zone, or of an interval. No I/O but for the time zones' files.

All moments are UTC without a zone, as the database has them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MIN_EVERY = 1.0  # seconds; schedulers look about as often
MAX_EVERY = 10 * 365 * 86400.0
MAX_CRON = 255  # characters
MAX_ZONE = 64

_FIELDS = 5
_HOSTS_OWN = "localtime"  # another zone on each host
_RARELY = timedelta(days=7)  # clocks are not changed twice within
_SECOND = timedelta(seconds=1)


class BadTicks(ValueError):
    """What has no ticks; the text begins with `cron`, `every` or `timezone`, and has what is expected."""


class Ticks(Protocol):
    """Moments, one after the other."""

    def after(self, moment: datetime) -> datetime | None:
        """The first tick behind a moment; None when there is none any more."""

    def latest(self, tick: datetime, now: datetime) -> datetime:
        """The last of a tick and those behind it that are not behind `now`."""


@dataclass(frozen=True)
class Interval:
    """Each so many seconds, without drift.

    Attributes:
        every: between two ticks; whole microseconds.
        since: the first tick is `every` behind it.
    """

    every: timedelta
    since: datetime

    def after(self, moment: datetime) -> datetime:
        """As `Ticks.after`."""
        return self.since + max(1, (moment - self.since) // self.every + 1) * self.every

    def latest(self, tick: datetime, now: datetime) -> datetime:
        """As `Ticks.latest`."""
        number = (now - self.since) // self.every
        return max(tick, self.since + number * self.every) if number > 0 else tick


@dataclass(frozen=True)
class Cron:
    """Whenever the clocks of a zone show what a line of five fields says, by the rules of Debian's cron.

    When clocks are put forward, a line with fixed hours and minutes has its ticks of the missing time at its end; when
    they are put back, it has those of the doubled time once. A line with `*` in front of its minutes or its hours goes
    by the time that has really passed.

    Attributes:
        line: https://manpages.debian.org/stable/cron/crontab.5; with `L` for the last day of a month and `#` for its
            n-th weekday.
        zone: whose clocks.
        since: all ticks are behind it.
    """

    line: str
    zone: ZoneInfo
    since: datetime

    def after(self, moment: datetime) -> datetime | None:
        """As `Ticks.after`; None, too, when it has none for 50 years."""
        moment = max(moment, self.since)
        minutes, hours = self.line.split()[:2]
        return self._shown(moment) if "*" in (minutes[0], hours[0]) else self._fixed(moment)

    def _fixed(self, moment: datetime) -> datetime | None:
        for tick in CronSim(self.line, moment.replace(tzinfo=timezone.utc).astimezone(self.zone)):
            found = tick.astimezone(timezone.utc).replace(tzinfo=None)
            # In the doubled time, and at the end of the missing one, a local time may be that of an earlier tick.
            if found > moment:
                return found
        return None

    def _shown(self, moment: datetime) -> datetime | None:
        # Not in the zone: where clocks are changed by half an hour, cronsim misses a tick.
        since, behind = moment, timedelta()
        while True:
            ahead = self._ahead(since)
            tick = next(CronSim(self.line, since + ahead - behind), None)
            if tick is None:
                return None
            change = self._change(since, tick - ahead)
            if change is None:
                return tick - ahead
            since, behind = change, _SECOND  # what clocks show then may be a tick

    def _change(self, start: datetime, end: datetime) -> datetime | None:
        """When the zone's clocks are changed behind `start`, for the first time; None for not until `end`."""
        before = self._ahead(start)
        while start < end:
            later = min(start + _RARELY, end)
            if self._ahead(later) != before:
                while later - start > _SECOND:
                    middle = start + (later - start) / 2
                    start, later = (middle, later) if self._ahead(middle) == before else (start, middle)
                return later.replace(microsecond=0)
            start = later
        return None

    def _ahead(self, moment: datetime) -> timedelta:
        """What clocks are ahead of UTC."""
        found = moment.replace(tzinfo=timezone.utc).astimezone(self.zone).utcoffset()
        assert found is not None
        return found

    def latest(self, tick: datetime, now: datetime) -> datetime:
        """As `Ticks.latest`."""
        # Of many ticks few are looked at: half of the time in question is ruled out each time.
        end = now
        while (following := self.after(tick)) is not None and following <= now:
            middle = following + (end - following) / 2
            later = self.after(middle)
            if later is not None and later <= now:
                tick = later
            else:
                tick, end = following, middle
        return tick


def ticks_of(cron: str | None, every: float | None, zone: str, since: datetime) -> Ticks:
    """The ticks of a schedule, which has one of `cron` and `every`.

    Args:
        cron: a line of five fields.
        every: seconds.
        zone: of `cron`, as the IANA calls it.
        since: from which `every` is counted; no tick is before it.

    Raises BadTicks.
    """
    found_zone = _zone(zone)
    if (cron is None) == (every is None):
        raise BadTicks("cron: this or every is expected.")
    if every is not None:
        # No NaN is between two numbers.
        if not MIN_EVERY <= every <= MAX_EVERY:
            raise BadTicks(f"every: seconds from {MIN_EVERY:g} to {MAX_EVERY:.0f} are expected.")
        return Interval(timedelta(seconds=every), since)
    assert cron is not None
    if len(cron) > MAX_CRON or len(cron.split()) != _FIELDS:
        raise BadTicks("cron: minute, hour, day of the month, month and day of the week are expected.")
    try:
        CronSim(cron, since)
    except CronSimError as error:
        raise BadTicks(f"cron: {str(error).removeprefix('Bad ')} cannot be read, or there is no such day.") from error
    return Cron(cron, found_zone, since)


def series(ticks: Ticks, first: datetime | None) -> Iterator[datetime]:
    """A tick, if there is one, and all behind it."""
    while first is not None:
        yield first
        first = ticks.after(first)


def _zone(name: str) -> ZoneInfo:
    try:
        if len(name) <= MAX_ZONE and name != _HOSTS_OWN:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise BadTicks("timezone: a name of the IANA's time zones is expected, such as Europe/Berlin.")
