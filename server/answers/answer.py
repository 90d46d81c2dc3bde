"""An answer to a query that several clients may be given. No I/O."""

from dataclasses import dataclass

from server.answers.key import AnswerKey


@dataclass(frozen=True, eq=False)
class Answer:
    """The rows of a query.

    Attributes:
        key: what they are the answer to.
        parts: of their text, JSON, in order; none is large.
        etag: their entity tag, the same for the same rows in each process; "" where they may not be given again.
        asked: when the call for them was sent, by the clock, in seconds.
        came: when they came.
        lifetime: seconds from then on in which they may be given again; 0 for none.
    """

    key: AnswerKey
    parts: tuple[bytes, ...]
    etag: str
    asked: float
    came: float
    lifetime: float

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.parts))
