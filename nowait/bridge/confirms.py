"""What was published on one channel and is not confirmed. No I/O."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Generic, TypeVar

M = TypeVar("M")


class Confirms(Generic[M]):
    """The messages that left on a channel, in their order, until the broker has confirmed or refused them."""

    def __init__(self) -> None:
        self._last_tag = self._last_settled = self._last_forgotten = 0
        self._outstanding: OrderedDict[int, tuple[M, float]] = OrderedDict()  # by their tags

    def __len__(self) -> int:
        return len(self._outstanding)

    def __iter__(self) -> Iterator[M]:
        return (message for message, _ in self._outstanding.values())

    @property
    def has_forgotten(self) -> bool:
        """Messages were forgotten that the broker may not have read yet: it reads them in their order."""
        return self._last_forgotten > self._last_settled

    def published(self, message: M, now: float) -> None:
        """A message left, at that time."""
        self._last_tag += 1
        self._outstanding[self._last_tag] = (message, now)

    def settled(self, tag: int, multiple: bool) -> list[M]:
        """Take out what a confirm is about, but what is forgotten: a tag, or all up to it; 0 is all there are."""
        self._last_settled = max(self._last_settled, tag)
        tags = list(takewhile(lambda each: not tag or each <= tag, self._outstanding)) if multiple else [tag]
        return [self._outstanding.pop(tag)[0] for tag in tags if tag in self._outstanding]

    def forget(self, is_over: Callable[[M], bool]) -> None:
        """Take out the oldest, up to the first that is not over: a broker that does not confirm never does."""
        for tag in list(takewhile(lambda tag: is_over(self._outstanding[tag][0]), self._outstanding)):
            del self._outstanding[tag]
            self._last_forgotten = tag

    def before(self, moment: float) -> list[M]:
        """Take out what left before that moment."""
        tags = list(takewhile(lambda tag: self._outstanding[tag][1] < moment, self._outstanding))
        return [self._outstanding.pop(tag)[0] for tag in tags]
