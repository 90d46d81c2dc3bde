"""What schedulers did, counted: duplicates, misses, edits that they did not notice. No I/O.

The messages of Celery's schedulers do not have the tick that they are for. So their moments count: under one
definition, from GRACE behind its edit until the next edit, one should arrive each `every` seconds.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from tests.bench.beat_script import Definition

GRACE = 5.0  # seconds: the longest pause of Celery's schedulers between two looks at their edits
_MINUTE = 60.0
_EARLY = 1.0  # seconds before it that are of it


@dataclass(frozen=True)
class Sent:
    """A tick that was acted on. Moments are Unix times.

    Attributes:
        name: of the schedule.
        at: when its message arrived, or its job was inserted.
        sender: the scheduler; "" where that does not matter.
        tick: when it was to be; None where that is not known.
    """

    name: str
    at: float
    sender: str = ""
    tick: float | None = None


@dataclass(frozen=True)
class Edition:
    """A definition that was put.

    Attributes:
        name: of the schedule.
        definition: what it is from now on.
        begin, end: the request, as a Unix time: in between it took effect.
        ticks: the next ones, where the answer has them. The first one may be of the definition before: it has come.
    """

    name: str
    definition: Definition
    begin: float
    end: float
    ticks: Sequence[float] = ()


@dataclass
class Counts:
    """What was counted.

    Attributes:
        sent: the messages or jobs that were looked at.
        duplicates, misses: of their ticks.
        ignored: edits that were not noticed, see noticed().
        edits: that lasted long enough for that.
    """

    sent: int = 0
    duplicates: int = 0
    misses: int = 0
    ignored: int = 0
    edits: int = 0

    def __iadd__(self, other: "Counts") -> "Counts":
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self


def by_moments(editions: Sequence[Edition], sent: Sequence[Sent], start: float, end: float) -> Counts:
    """What is known of any scheduler.

    Args:
        editions: in their order.
        sent: in any order.
        start, end: the time that counts.
    """
    of_name = _by_name(sent)
    counts = Counts()
    for previous, edition, following in _in_force(editions):
        since, until = max(edition.end + GRACE, start), end if following is None else following.begin
        window = [one for one in of_name[edition.name] if since <= one.at < until]
        every = edition.definition.every
        moments = [one.at for one in window]
        if edition.definition.enabled and since < until:
            duplicates, misses = minutes(moments, since, until) if every is None else gaps(moments, since, until, every)
            counts += Counts(len(moments), duplicates, misses)
        if previous is not None and until - since >= 2 * GRACE:
            counts += Counts(edits=1, ignored=not noticed(previous.definition, edition.definition, window))
    return counts


def gaps(moments: Sequence[float], start: float, end: float, every: float) -> tuple[int, int]:
    """Duplicates and misses of an interval.

    One that comes within half of the interval behind another is a duplicate of that. Between two others, or between one
    and the start or the end, 1.5 intervals are a miss, 2.5 are two.
    """
    kept: list[float] = []
    for moment in moments:
        if not kept or moment - kept[-1] >= every / 2:
            kept.append(moment)
    points = [start, *kept, end]
    misses = sum(max(0, math.floor((later - earlier) / every - 0.5)) for earlier, later in pairwise(points))
    return len(moments) - len(kept), misses


def minutes(moments: Sequence[float], start: float, end: float) -> tuple[int, int]:
    """Duplicates and misses of a line that comes at every minute: one is for each minute that begins in that time.

    The last one has GRACE, no less.
    """
    duplicates = misses = 0
    minute = math.ceil((start + _EARLY) / _MINUTE) * _MINUTE
    while minute + GRACE <= end:
        found = sum(minute - _EARLY <= moment < minute + _MINUTE - _EARLY for moment in moments)
        duplicates += max(0, found - 1)
        misses += found == 0
        minute += _MINUTE
    return duplicates, misses


def noticed(before: Definition, after: Definition, window: Sequence[Sent]) -> bool:
    """Does what was sent from GRACE behind an edit on look like it, rather than like the definition before?

    Nothing is to come of a pause, something of what goes on, and the usual time between two of one scheduler is to be
    nearer to the interval than to the one before.
    """
    if not after.enabled:
        return not window
    if not before.enabled or before.every is None or after.every is None or not window:
        return bool(window)
    if after.every == before.every:
        return True
    found = [later.at - one.at for of_sender in _by_sender(window) for one, later in pairwise(of_sender)]
    usual = statistics.median(found) if found else after.every
    return abs(usual - after.every) <= abs(usual - before.every)


def by_ticks(editions: Sequence[Edition], sent: Sequence[Sent], start: float, end: float) -> Counts:
    """What is known where jobs have their ticks: each tick of a definition in force needs one job.

    A job of what is no tick is a duplicate. A tick that comes while an edit is under way may have one.
    """
    made = [(one.name, _key(one.tick)) for one in sent if one.tick is not None and start <= one.tick < end]
    needed: set[tuple[str, int]] = set()
    allowed: set[tuple[str, int]] = set()
    for _, edition, following in _in_force(editions):
        for tick in _ticks(edition, end if following is None else following.end):
            allowed.add((edition.name, _key(tick)))
            # A pause is good for ticks, too, that no scheduler has looked at yet.
            pauses = following is not None and not following.definition.enabled
            until = end if following is None else following.begin - (GRACE if pauses else 0.0)
            if start <= tick < until:
                needed.add((edition.name, _key(tick)))
    return Counts(len(made), duplicates=len(made) - len(set(made) & allowed), misses=len(needed - set(made)))


def _ticks(edition: Edition, until: float) -> Iterator[float]:
    first, *others = edition.ticks or [until]
    following = others[0] if others else until
    if first < until:
        yield first
    while following < until:
        yield following
        following += edition.definition.every or _MINUTE


def _key(tick: float) -> int:
    return round(tick * 1000)


def _in_force(editions: Sequence[Edition]) -> Iterator[tuple[Edition | None, Edition, Edition | None]]:
    """The edition before, each edition, and the next one."""
    of_name: dict[str, list[Edition]] = defaultdict(list)
    for edition in editions:
        of_name[edition.name].append(edition)
    for found in of_name.values():
        yield from zip([None, *found], found, [*found[1:], None])


def _by_name(sent: Sequence[Sent]) -> dict[str, list[Sent]]:
    found: dict[str, list[Sent]] = defaultdict(list)
    for one in sorted(sent, key=lambda one: one.at):
        found[one.name].append(one)
    return found


def _by_sender(sent: Sequence[Sent]) -> list[list[Sent]]:
    found: dict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        found[one.sender].append(one)
    return list(found.values())
