"""Publisher confirms of one channel: which message a delivery tag stands for. No I/O.

The broker counts the messages of a channel from 1 and confirms one tag, or all up to one
(https://www.rabbitmq.com/docs/confirms#publisher-confirms).
"""


class Confirms:
    """The messages published on one channel that the broker has not confirmed yet."""

    def __init__(self) -> None:
        self._last = 0
        self._outstanding: dict[int, tuple[str, float]] = {}  # in the order of the tags

    def __len__(self) -> int:
        return len(self._outstanding)

    def published(self, call_id: str, now: float) -> int:
        """Note that a message left at the time `now`, in seconds; returns its delivery tag."""
        self._last += 1
        self._outstanding[self._last] = (call_id, now)
        return self._last

    def overdue(self, since: float) -> list[str]:
        """Forget the messages that left before `since`, and return their calls, the oldest first."""
        overdue = []
        for tag, (call_id, left) in list(self._outstanding.items()):
            if left >= since:
                break
            del self._outstanding[tag]
            overdue.append(call_id)
        return overdue

    def settle(self, tag: int, multiple: bool) -> list[str]:
        """The calls that an ack or nack speaks of, the oldest first.

        Args:
            tag: the delivery tag.
            multiple: all up to `tag`; with tag 0, all that are outstanding.
        """
        if not multiple:
            found = self._outstanding.pop(tag, None)
            return [] if found is None else [found[0]]
        settled = []
        for outstanding in list(self._outstanding):
            if tag and outstanding > tag:
                break
            settled.append(self._outstanding.pop(outstanding)[0])
        return settled
