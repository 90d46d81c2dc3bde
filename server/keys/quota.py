"""How much of its limits a client has used, in this process. No I/O: the clock is an argument.

The fields `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-11.
"""

import math
from collections import Counter

from server.keys.limits import Limits, Rate

IN_FLIGHT, STREAMS, SUBSCRIBERS = "in-flight", "streams", "subscribers"
RATE = "default"
_AT_ONCE = {policy: policy.replace("-", "_") for policy in (IN_FLIGHT, STREAMS, SUBSCRIBERS)}
_COUNTED = {IN_FLIGHT: "requests", STREAMS: "streams", SUBSCRIBERS: "subscribers"}
_LATER = 1.0  # seconds after which another try makes sense where only an end of something gives room


class QuotaExceeded(Exception):
    """There is no room.

    Attributes:
        policy: of what.
        limit: how much there may be, in words.
        retry_after: seconds after which there may be some.
    """

    def __init__(self, policy: str, limit: str, retry_after: float) -> None:
        super().__init__(policy)
        self.policy = policy
        self.limit = limit
        self.retry_after = retry_after


class Quota:
    """What one client uses.

    Requests leak out of a bucket. When the rate changes, those in it remain, up to as many as it takes then.

    Args:
        limits: of this process.

    Attributes:
        limits: may be changed.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._used: Counter[str] = Counter()
        self._level = 0.0  # requests in the bucket
        self._at = -math.inf  # when there were as many

    def __repr__(self) -> str:
        return f"<Quota {dict(self._used)} of {self.limits.document()}>"

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not any(self._used.values())

    def enter(self, now: float) -> None:
        """A request has come; release(IN_FLIGHT) follows. Raises QuotaExceeded."""
        # First what costs nothing to look at: what is refused takes nothing of the rate.
        self._check(IN_FLIGHT)
        rate = self.limits.rate
        if rate is not None:
            level = self._level_at(now, rate) + 1
            if (over := level - rate.requests) > 1e-9:
                late = over * rate.seconds / rate.requests
                raise QuotaExceeded(RATE, f"{rate.requests} requests in {rate.seconds} seconds", late)
            self._level, self._at = level, now
        self._used[IN_FLIGHT] += 1

    def take(self, policy: str) -> None:
        """One of STREAMS or SUBSCRIBERS begins; release() follows. Raises QuotaExceeded."""
        self._check(policy)
        self._used[policy] += 1

    def release(self, policy: str) -> None:
        """It has ended."""
        self._used[policy] -= 1

    def fields(self, now: float) -> dict[str, str]:
        """The header fields that tell a client of its limits; empty without any."""
        policies, left = [], []
        if (rate := self.limits.rate) is not None:
            policies.append(f'"{RATE}";q={rate.requests};w={rate.seconds}')
            left.append(f'"{RATE}";{self._rate_left(now)}')
        # Each that a refusal may name.
        for policy in _AT_ONCE:
            if (most := self._most(policy)) is not None:
                policies.append(f'"{policy}";q={most};qu="concurrent-requests"')
                left.append(f'"{policy}";r={max(0, most - self._used[policy])}')
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)} if policies else {}

    def _rate_left(self, now: float) -> str:
        """The requests that may come now, and the seconds until it is one more."""
        rate = self.limits.rate
        assert rate is not None
        level = self._level_at(now, rate)
        left = math.floor(rate.requests - level + 1e-9)
        if left >= rate.requests:
            return f"r={rate.requests}"
        missing = level + left + 1 - rate.requests
        return f"r={left};t={max(1, math.ceil(missing * rate.seconds / rate.requests - 1e-9))}"

    def _level_at(self, now: float, rate: Rate) -> float:
        """Requests in the bucket by now."""
        return max(0.0, min(self._level, rate.requests) - max(0.0, now - self._at) * rate.requests / rate.seconds)

    def _most(self, policy: str) -> int | None:
        most: int | None = getattr(self.limits, _AT_ONCE[policy])
        return most

    def _check(self, policy: str) -> None:
        most = self._most(policy)
        if most is not None and self._used[policy] >= most:
            raise QuotaExceeded(policy, f"{most} {_COUNTED[policy]} at once", _LATER)
