"""How many bytes may be held at once. No I/O."""


class Budget:
    """Bytes that are shared out.

    Args:
        largest: how many one share may have.
        limit: how many all shares may have together; None for no limit.

    Attributes:
        largest: as given.
        used: how many are held.
        full: a share was refused for want of room, and none has come back since.
    """

    def __init__(self, largest: int, limit: int | None = None) -> None:
        self.largest = largest
        self._limit = limit
        self.used = 0
        self.full = False

    def __repr__(self) -> str:
        return f"<Budget {self.used} of {self._limit or 'any'} bytes>"

    def has(self, size: int) -> bool:
        """True when take() would give a share of so many bytes."""
        return size <= self.largest and (self._limit is None or self.used + size <= self._limit)

    def take(self, size: int) -> "Share | None":
        """A share of so many bytes; None when it would be too large, or there are not as many left."""
        if not self.has(size):
            self.full = self.full or size <= self.largest
            return None
        return Share(self, size)


class Share:
    """Bytes that are held until they are released, or nobody knows of the share any more."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: Budget, size: int) -> None:
        self._budget = budget
        self._size = size
        budget.used += size

    def release(self) -> None:
        """Give them back, once."""
        if self._size:
            self._budget.used -= self._size
            self._budget.full = False
            self._size = 0

    __del__ = release
