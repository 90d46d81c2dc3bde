"""How fast refusals are answered. No I/O: the clock is an argument."""

from collections import OrderedDict
from collections.abc import Callable
from random import random

_RATE, _BURST = 10.0, 10  # refusals a second; those at once, before that
_LONGEST = 2.0  # seconds that one waits
_SPREAD = 0.25  # the part of a wait that is left to chance
_SHARED = 0.02  # seconds from one moment at which some are due to the next: a few in turn cost less than each by itself
_REMEMBERED = 10_000


class Pace:
    """To each who is refused again and again, refusals come slowly: who guesses, or floods, waits, and nobody else.

    Waits differ: those of a flood that came at once would be over at once, again and again, and an answer for anybody
    else would have to wait for all of them. What is remembered is bounded: who was refused longest ago is forgotten
    first.

    Args:
        remembered: clients, at most.
        chance: gives numbers from 0 to 1.
    """

    def __init__(self, remembered: int = _REMEMBERED, chance: Callable[[], float] = random) -> None:
        self._remembered = remembered
        self._chance = chance
        self._until: OrderedDict[str, float] = OrderedDict()  # by who it is, when all refusals are due

    def __len__(self) -> int:
        """Those who are remembered."""
        return len(self._until)

    def delay(self, who: str, now: float) -> float:
        """Seconds until a refusal is due."""
        due = max(self._until.pop(who, now), now)
        # Beyond the longest wait nothing adds up: who stops is soon as any other.
        self._until[who] = min(due + 1 / _RATE, now + _LONGEST + _BURST / _RATE)
        if len(self._until) > self._remembered:
            self._until.popitem(last=False)
        delay = min(_LONGEST, max(0.0, due - now - (_BURST - 1) / _RATE))
        if not delay:
            return 0.0
        moment = round((now + delay * (1 - _SPREAD * self._chance())) / _SHARED) * _SHARED
        return max(0.0, moment - now)
