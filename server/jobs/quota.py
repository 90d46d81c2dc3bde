"""How many unfinished jobs an owner may have. No I/O."""

from dataclasses import dataclass

_FRESH = 1.0  # seconds that a count is good for: to count all of them at each request would make a full queue slow


@dataclass
class _Count:
    moment: float
    jobs: int


class Quota:
    """What is known of it: the last count, and what was added since by this process.

    Where several processes add at once, some more jobs may get in.

    Args:
        most: unfinished jobs that an owner may have, 1 or more.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._counts: dict[str, _Count] = {}

    def stale(self, owner: str, now: float) -> bool:
        """True when the owner's jobs have to be counted: by who is given that answer, as no other is for a while."""
        count = self._counts.setdefault(owner, _Count(now - 2 * _FRESH, 0))
        if now - count.moment < _FRESH:
            return False
        count.moment = now
        return True

    def counted(self, owner: str, jobs: int) -> None:
        """The owner has so many."""
        self._counts[owner].jobs = jobs

    def added(self, owner: str) -> None:
        """The owner has one more."""
        self._counts[owner].jobs += 1

    def full(self, owner: str) -> bool:
        """True when the owner has as many as allowed."""
        return self._counts[owner].jobs >= self.most
