"""The round-trip probe of a link: when to send it, and what its return or absence means. No I/O, no clock.

A probe is a message to the own reply queue. It passes through both connections and the broker, so one
that does not come back means a broker that is frozen or out of reach, long before a heartbeat would.
"""

from typing import Literal

PAUSE = 0.5  # seconds from one probe to the next, which waits for its return
TIMEOUT = 1.75  # seconds that one may be away while nothing else arrives

Step = Literal["wait", "send", "give up"]  # the probe, or the link


class Probe:
    """The probe of one link. Times are seconds of a monotonic clock.

    Args:
        now: when the link came up; the first probe is due then.

    Attributes:
        due: when tick() has something to decide again.
    """

    def __init__(self, now: float) -> None:
        self.due = now
        self._returned = False
        self._sent_at: float | None = None  # None once it has come back

    def tick(self, now: float, last_received: float, blocked: bool) -> Step:
        """What is due now.

        Args:
            now: the time.
            last_received: when each connection had last received anything, the earlier of the two.
            blocked: the broker takes no messages.
        """
        late = now - self.due
        if late < 0:
            return "wait"
        self.due = now + PAUSE
        if blocked:
            self._sent_at = None
            return "wait"
        if self._sent_at is None:
            self._sent_at = now
            return "send"
        # While the loop stood still, the probe may not have left, and nothing was read.
        self._sent_at += late
        # While other things arrive, it is behind them and takes its time.
        end = max(self._sent_at, last_received) + TIMEOUT
        self.due = min(self.due, end)
        return "give up" if now >= end else "wait"

    def returned(self) -> bool:
        """The probe came back. Returns True for the first time: all replies that waited at the broker have arrived."""
        first, self._returned = not self._returned, True
        self._sent_at = None
        return first
