"""How many webhooks are sent at once, so that no receiver delays those of others. No I/O.

A receiver that is slow to answer, or never does, holds what sends to it for long. So those that have failed last share
a few of the slots, and those that are not known yet some others: most are always left to those that answer.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

TOTAL = 20  # at once
_HOSTS = 10_000  # that are remembered
_LEAST, _LONGEST = 0.125, 64.0  # seconds until there may be a slot
_LEAST_FAILED = 1.0  # the same, for a host that has failed last
_USUAL = 0.01  # seconds that an attempt takes, where nothing is known


class Standing(Enum):
    """Of a host: what its last answer was."""

    GOOD = "good"
    NEW = "new"
    FAILED = "failed"


_SHARES = {Standing.GOOD: TOTAL, Standing.NEW: 8, Standing.FAILED: 6}
_PER_HOST = {Standing.GOOD: 4, Standing.NEW: 2, Standing.FAILED: 1}


@dataclass
class _Host:
    standing: Standing = Standing.NEW
    seconds: float = _USUAL  # that its last attempt took
    began: list[float] = field(default_factory=list)  # when those under way did
    booked: float = 0.0  # the moment up to which its slots are promised


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


class Slots:
    """Of one process. All moments are seconds of one clock that only goes forward."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._taken: Counter[Standing] = Counter()

    @property
    def free(self) -> int:
        """How many there are left, for hosts that may have any."""
        return TOTAL - sum(self._taken.values())

    def share(self, hosts: Mapping[str, str], now: float) -> Shares:
        """Which of some deliveries may begin, and when there may be a slot for the others.

        The more wait for one host, the later these are looked at again.

        Args:
            hosts: of the deliveries by their ids, in the order in which they are served.
            now: the moment.
        """
        taken, planned, shares = self._taken.copy(), Counter[str](), Shares()
        for delivery, name in hosts.items():
            host = self._host(name)
            standing, under_way = host.standing, len(host.began) + planned[name]
            if (
                sum(taken.values()) < TOTAL
                and taken[standing] < _SHARES[standing]
                and under_way < _PER_HOST[standing]
            ):
                taken[standing] += 1
                planned[name] += 1
                shares.begin.append(delivery)
            else:
                shares.postpone.setdefault(_rounded(_book(host, now)), []).append(delivery)
        return shares

    def begin(self, name: str, now: float) -> Slot:
        """Take a slot that share() has found."""
        host = self._host(name)
        host.began.append(now)
        self._taken[host.standing] += 1
        return Slot(name, host.standing, now)

    def end(self, slot: Slot, good: bool, now: float) -> None:
        """Give it back; the host has answered as it should, or has not."""
        host = self._host(slot.host)
        host.began.remove(slot.began)
        self._taken[slot.standing] -= 1
        host.standing = Standing.GOOD if good else Standing.FAILED
        host.seconds = now - slot.began

    def _host(self, name: str) -> _Host:
        host = self._hosts.setdefault(name, _Host())
        self._hosts.move_to_end(name)
        if len(self._hosts) > _HOSTS:
            oldest, left = self._hosts.popitem(last=False)
            if left.began:
                self._hosts[oldest] = left
        return host


def _book(host: _Host, now: float) -> float:
    """Seconds until a host has a slot for one more that waits."""
    takes = max(host.seconds, now - min(host.began, default=now))
    host.booked = max(host.booked, now) + takes / _PER_HOST[host.standing]
    least = _LEAST_FAILED if host.standing is Standing.FAILED else _LEAST
    return min(max(host.booked - now, least), _LONGEST)


def _rounded(seconds: float) -> float:
    """Up, to a power of two."""
    rounded = _LEAST
    while rounded < seconds:
        rounded *= 2
    return rounded
