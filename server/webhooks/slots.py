"""How many webhooks are sent at once, so that no receiver delays those of others. No I/O.

A receiver that is slow to answer, or never does, holds what sends to it for long. So those that did not answer in time
last share a few of the slots, and those that are not known yet some others: most are always left to those that answer.

To begin an attempt takes a look at the database, which is slower than a good receiver: for such a one as many are begun
at once as it takes in a second, and wait here for its slots.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

TOTAL = 20  # sent at once
MOST = 200  # begun for good hosts: these, and those that wait for a slot
_AHEAD = 100  # of these, for one host
_AHEAD_SECONDS = 1.0  # in which its slots send that many
_PATIENCE = 30.0  # seconds that one waits, half of its lease
IN_TIME = 5.0  # seconds in which a good host answers
_HOSTS = 10_000  # that are remembered
_LEAST, _LONGEST = 0.125, 64.0  # seconds until there may be a slot
_LEAST_FAILED = 1.0  # the same, for a host that has failed last
_USUAL = 0.01  # seconds that an attempt takes, where nothing is known


class Standing(Enum):
    """Of a host: did it answer in time last?"""

    GOOD = "good"
    NEW = "new"
    FAILED = "failed"


_SHARES = {Standing.GOOD: MOST, Standing.NEW: 8, Standing.FAILED: 6}  # begun for all hosts of a standing
_PER_HOST = {Standing.GOOD: 4, Standing.NEW: 2, Standing.FAILED: 1}  # sent at once


@dataclass
class _Host:
    standing: Standing = Standing.NEW
    seconds: float = _USUAL  # that its last attempt took
    began: list[float] = field(default_factory=list)  # when those under way did
    waiting: int = 0  # begun, without a slot
    booked: float = 0.0  # the moment up to which its slots are promised

    @property
    def ahead(self) -> int:
        """How many may be begun, with those that wait."""
        slots = _PER_HOST[self.standing]
        if self.standing is not Standing.GOOD:
            return slots
        return max(slots, min(_AHEAD, int(slots * _AHEAD_SECONDS / max(self.seconds, 0.001))))


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    what: T
    host: str
    standing: Standing
    since: float


@dataclass(frozen=True)
class Slot:
    """One that is taken."""

    host: str
    standing: Standing
    began: float


@dataclass
class Shares:
    """What is to be done about deliveries that are due.

    Attributes:
        begin: their ids.
        postpone: their ids, by seconds: few values, so that one statement postpones many.
    """

    begin: list[str] = field(default_factory=list)
    postpone: dict[float, list[str]] = field(default_factory=dict)


class Slots(Generic[T]):
    """Of one process. All moments are seconds of one clock that only goes forward; T is what waits for a slot."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        # Without an attempt so far: names, which cost nothing, push out none of those that answer.
        self._candidates: OrderedDict[str, _Host] = OrderedDict()
        self._begun: Counter[Standing] = Counter()
        self._sending = 0
        self._waiting: list[_Waiting[T]] = []

    @property
    def room(self) -> int:
        """How many more may be begun, for hosts that may have any."""
        return MOST - sum(self._begun.values())

    def share(self, hosts: Mapping[str, str], now: float, unanswered: Collection[str] = ()) -> Shares:
        """Which of some deliveries may begin, and when there may be a slot for the others.

        The more wait for one host, the later these are looked at again.

        Args:
            hosts: of the deliveries by their ids, in the order in which they are served.
            now: the moment.
            unanswered: the ids of those whose last attempt had no answer: a host that nothing else is known of has
                failed.
        """
        begun, planned, shares = self._begun.copy(), Counter[str](), Shares()
        for delivery, name in hosts.items():
            host = self._host(name) if name in self._hosts else self._candidate(name)
            if host.standing is Standing.NEW and delivery in unanswered:
                host.standing = Standing.FAILED
            standing, of_host = host.standing, len(host.began) + host.waiting + planned[name]
            if begun[standing] < _SHARES[standing] and of_host < host.ahead:
                begun[standing] += 1
                planned[name] += 1
                shares.begin.append(delivery)
                self._hosts.setdefault(name, host)
                self._candidates.pop(name, None)
            else:
                shares.postpone.setdefault(_rounded(_book(host, of_host, now)), []).append(delivery)
        return shares

    def wait(self, name: str, what: T, now: float) -> None:
        """Have what share() has found wait for a slot of its host."""
        host = self._host(name)
        host.waiting += 1
        self._begun[host.standing] += 1
        self._waiting.append(_Waiting(what, name, host.standing, now))

    def take(self, now: float) -> list[tuple[T, Slot]]:
        """All that has a slot now. What has waited for too long is dropped: it begins again once its lease is over."""
        taken, waiting = [], self._waiting
        self._waiting = []
        for each in waiting:
            host = self._host(each.host)
            if now - each.since > _PATIENCE:
                self._drop(each)
            elif self._sending < TOTAL and len(host.began) < _PER_HOST[host.standing]:
                host.waiting -= 1
                host.began.append(now)
                self._sending += 1
                taken.append((each.what, Slot(each.host, each.standing, now)))
            else:
                self._waiting.append(each)
        return taken

    def end(self, slot: Slot, good: bool, now: float) -> None:
        """Give it back; the host has answered, or has not. What waits for one that has not is dropped, as by take()."""
        host = self._host(slot.host)
        host.began.remove(slot.began)
        host.seconds = now - slot.began
        self._sending -= 1
        self._begun[slot.standing] -= 1
        standing = Standing.GOOD if good and host.seconds <= IN_TIME else Standing.FAILED
        if standing is not host.standing:
            # What was promised was another host's.
            host.standing, host.booked = standing, now
        if standing is Standing.FAILED and host.waiting:
            for each in self._waiting:
                if each.host == slot.host:
                    self._drop(each)
            self._waiting = [each for each in self._waiting if each.host != slot.host]

    def _drop(self, each: _Waiting[T]) -> None:
        self._host(each.host).waiting -= 1
        self._begun[each.standing] -= 1

    def _candidate(self, name: str) -> _Host:
        host = self._candidates.setdefault(name, _Host())
        self._candidates.move_to_end(name)
        if len(self._candidates) > _HOSTS:
            self._candidates.popitem(last=False)
        return host

    def _host(self, name: str) -> _Host:
        host = self._hosts.setdefault(name, _Host())
        self._hosts.move_to_end(name)
        if len(self._hosts) > _HOSTS:
            oldest, left = self._hosts.popitem(last=False)
            if left.began or left.waiting:
                self._hosts[oldest] = left
        return host


def _book(host: _Host, begun: int, now: float) -> float:
    """Seconds until a host that has so many begun has a slot for one more."""
    takes = max(host.seconds, now - min(host.began, default=now)) / _PER_HOST[host.standing]
    at = max(host.booked, now + begun * takes)
    host.booked = min(at + takes, now + _LONGEST)
    least = _LEAST_FAILED if host.standing is Standing.FAILED else _LEAST
    return min(max(at - now, least), _LONGEST)


def _rounded(seconds: float) -> float:
    """Up, to a power of two."""
    rounded = _LEAST
    while rounded < seconds:
        rounded *= 2
    return rounded
