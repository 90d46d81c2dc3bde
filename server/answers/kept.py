"""The answers that may be given again."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cachetools import TLRUCache

from nowait.budget import Share
from server.answers.answer import Answer
from server.answers.key import AnswerKey

_EACH = 1024  # bytes that an answer takes beside its text and its key, at most


class KeptAnswers:
    """Answers, each for its lifetime; where there is no room for all, those that were asked for last.

    Args:
        most: bytes that they may take; 0 keeps none.
        hold: counts bytes as held until the share is released; raises Overloaded where there is no room.
        clock: seconds, never going back.

    Attributes:
        hits: how often one was given again.
    """

    def __init__(
        self, most: int, hold: Callable[[int], Share], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.hits = 0
        self._hold = hold
        self._clock = clock
        self._written: dict[Answer, _Written] = {}
        self._answers: TLRUCache[AnswerKey, Answer] = TLRUCache(most, _end, clock, _size)

    def __len__(self) -> int:
        """Answers."""
        return len(self._answers)

    def __repr__(self) -> str:
        return f"<KeptAnswers {len(self)} answers, {self.bytes} of {self._answers.maxsize:.0f} bytes>"

    @property
    def bytes(self) -> int:
        """Bytes that they take; those of answers whose lifetime is over count until the next one is kept."""
        return int(self._answers.currsize)

    def get(self, key: AnswerKey, max_age: float | None = None) -> Answer | None:
        """The answer with that key, at most `max_age` seconds old, None for as old as it may be; None for none."""
        answer = self._answers.get(key)
        if answer is None or max_age is not None and self.age(answer) > max_age:
            return None
        self.hits += 1
        return answer

    @contextmanager
    def writing(self, answer: Answer) -> Iterator[None]:
        """While the block runs, the answer is written: held, once for all who get it, also when it is kept no more.

        Raises Overloaded.
        """
        written = self._written.get(answer)
        if written is None:
            written = self._written[answer] = _Written(self._hold(answer.size))
        written.times += 1
        try:
            yield
        finally:
            written.times -= 1
            if not written.times:
                del self._written[answer]
                written.share.release()

    def keep(self, answer: Answer) -> None:
        """Have it given again, unless it is too large."""
        if _size(answer) <= self._answers.maxsize:
            self._answers[answer.key] = answer

    def age(self, answer: Answer) -> float:
        """Seconds since it came."""
        return self._clock() - answer.came


class _Written:
    """How many get an answer at once."""

    __slots__ = ("share", "times")

    def __init__(self, share: Share) -> None:
        self.share = share
        self.times = 0


def _end(_: AnswerKey, answer: Answer, now: float) -> float:
    return answer.came + answer.lifetime


def _size(answer: Answer) -> int:
    return answer.size + answer.key.size + _EACH
