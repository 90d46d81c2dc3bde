"""The round-trip probe of a link: when to send it, and what its return or absence means. No I/O, no clock.

A probe is a message to the own reply queue. It passes through both connections and the broker, so one
that does not come back means a broker that is frozen or out of reach, long before a heartbeat would.
"""

from enum import Enum

PAUSE = 0.5  # seconds from a probe's return to the next one
TIMEOUT = 1.75  # seconds that one may be away while nothing else arrives


class Step(Enum):
    """What is to be done about the probe."""

    WAIT = "wait"
    SEND = "send"
    GIVE_UP = "give up"


class Probe:
    """The probe of one link. Times are seconds of a monotonic clock.

    Args:
        now: when the link came up; the first probe is due then.

    Attributes:
        due: when tick() has something to decide again.
        returned_once: True from the first return on: all replies that waited at the broker have arrived.
    """

    def __init__(self, now: float) -> None:
        self.due = now
        self.returned_once = False
        self._away = False

    def tick(self, now: float, last_received: float, blocked: bool) -> Step:
        """What is due now.

        Args:
            now: the time.
            last_received: when each connection had last received anything, the earlier of the two.
            blocked: the broker takes no messages.
        """
        if now < self.due:
            return Step.WAIT
        if blocked:
            self._away = False
            self.due = now + PAUSE
            return Step.WAIT
        if not self._away:
            self._away = True
            self.due = now + TIMEOUT
            return Step.SEND
        if now - last_received < TIMEOUT:
            # Behind so much else that it takes its time.
            self.due = now + PAUSE
            return Step.WAIT
        return Step.GIVE_UP

    def returned(self, now: float) -> bool:
        """The probe came back. Returns True for the first time on its link."""
        first, self.returned_once = not self.returned_once, True
        self._away = False
        self.due = now + PAUSE
        return first
