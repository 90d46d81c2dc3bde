"""How many bytes may be held at once. No I/O."""


class Budget:
    """Bytes that are shared out.

    Args:
        largest: how many one share may have.
        limit: how many all shares may have together; None for no limit.

    Attributes:
        largest: as given.
        used: how many are held.
        full: the last share that was asked for was refused, and none has come back since.
    """

    def __init__(self, largest: int, limit: int | None = None) -> None:
        self.largest = largest
        self._limit = limit
        self.used = 0
        self.full = False

    def __repr__(self) -> str:
        return f"<Budget {self.used} of {self._limit or 'any'} bytes>"

    def take(self, size: int) -> "Share | None":
        """A share of so many bytes; None when it would be too large, or there are not as many left."""
        if size > self.largest:
            return None
        if self._limit is not None and self.used + size > self._limit:
            self.full = True
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
