"""What a worker owes to its broker: deliveries that are not settled, replies that are not confirmed. No I/O.

    delivery ──▶ acknowledged, given back (requeue), or dropped
    reply ──▶ published ──▶ confirmed, or refused

A delivery belongs to the link that it came by: once that is lost, the broker delivers it again, and nothing is owed
for it. A reply outlives its link, and is published again on the next one.
"""

from bisect import bisect
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import takewhile
from typing import Literal, NamedTuple

from nowait.amqp.methods import Confirmed
from nowait.messages.outbound import OutboundMessage

# Replies, and bytes of their bodies, that may wait for the broker.
_MAX_REPLIES, _MAX_BYTES = 10_000, 64 * 1024 * 1024

Outcome = Literal["acknowledge", "requeue", "drop"]


class Receipt(NamedTuple):
    """A delivery, as what is owed for it."""

    link: int  # the number of the link that it came by
    tag: int


class Reply:
    """A reply on its way to the broker.

    Attributes:
        message: what is sent.
        confirmed: the broker has it, or has refused it for good.
        settlement: of the delivery that has waited for that; None for none.
    """

    __slots__ = ("message", "confirmed", "settlement")

    def __init__(self, message: OutboundMessage) -> None:
        self.message = message
        self.confirmed = False
        self.settlement: Settlement | None = None


class Settlement(NamedTuple):
    """How a delivery ends."""

    receipt: Receipt
    outcome: Outcome
    after: Reply | None = None  # it is to end once this one is confirmed; None for at once


class Unsettled:
    """The deliveries and replies over the links of one worker, one link at a time."""

    def __init__(self) -> None:
        self._link = 0
        self._connected = False
        self._open: dict[int, None] = {}  # the tags of this link that are not settled, in their order
        self._acknowledged: list[int] = []
        self._rejected: list[tuple[int, bool]] = []  # tag, requeue
        self._waiting: deque[Reply] = deque()
        self._published: OrderedDict[int, Reply] = OrderedDict()  # by their publishing tags
        self._last_tag = 0
        self._bytes = 0
        self._suspects = 0  # replies to be published one at a time: one of them may be why the last link was closed

    def __repr__(self) -> str:
        return f"<Unsettled {len(self._open)} deliveries, {self.replies} replies, {self._bytes} bytes>"

    @property
    def replies(self) -> int:
        """How many replies the broker does not have yet."""
        return len(self._waiting) + len(self._published)

    @property
    def full(self) -> bool:
        """True when no more tasks are to begin, as too many replies wait."""
        return self.replies >= _MAX_REPLIES or self._bytes >= _MAX_BYTES

    def connected(self) -> None:
        """A link came up."""
        self._link += 1
        self._connected = True
        self._last_tag = 0

    def disconnected(self, refused: bool) -> list[Reply]:
        """The link is lost.

        Args:
            refused: the broker ended it because of a message.

        Returns the replies that are given up: the one that was published alone, and refused.
        """
        self._connected = False
        self._link += 1
        self._open.clear()
        self._acknowledged.clear()
        self._rejected.clear()
        lost, self._published = list(self._published.values()), OrderedDict()
        refusals = []
        if refused:
            if len(lost) == 1:
                refusals = [lost.pop()]
                self._end(refusals[0])
            self._suspects = len(lost)
        self._waiting.extendleft(reversed(lost))
        return refusals

    def is_current(self, receipt: Receipt) -> bool:
        """True while the link is up that a delivery came by."""
        return receipt.link == self._link

    def delivered(self, tag: int) -> Receipt:
        """A message came by the current link."""
        self._open[tag] = None
        return Receipt(self._link, tag)

    def settle(self, settlement: Settlement) -> None:
        """A delivery has ended."""
        receipt, outcome, after = settlement
        if after is not None and not after.confirmed:
            after.settlement = settlement
        elif self.is_current(receipt) and receipt.tag in self._open:
            del self._open[receipt.tag]
            if outcome == "acknowledge":
                self._acknowledged.append(receipt.tag)
            else:
                self._rejected.append((receipt.tag, outcome == "requeue"))

    def reply(self, reply: Reply) -> None:
        """There is a reply to be sent."""
        self._waiting.append(reply)
        self._bytes += len(reply.message.body)

    def to_publish(self) -> Iterator[Reply]:
        """The replies that are to be published now, on the current link."""
        while self._waiting and self._connected and not (self._suspects and self._published):
            reply = self._waiting.popleft()
            self._last_tag += 1
            self._published[self._last_tag] = reply
            yield reply

    def confirmed(self, event: Confirmed) -> list[Reply]:
        """The broker has replies, or refuses them (nack): returns those."""
        tag, multiple, acked, _channel = event
        if multiple:
            tags = list(takewhile(lambda each: not tag or each <= tag, self._published))
        else:
            tags = [tag] if tag in self._published else []
        replies = [self._published.pop(each) for each in tags]
        for reply in replies:
            self._end(reply)
        self._suspects = max(0, self._suspects - len(replies))
        return [] if acked else replies

    def acknowledgements(self) -> list[tuple[int, bool]]:
        """The acknowledgements that are due: tag and `multiple` of each. All are taken as sent."""
        if not self._acknowledged:
            return []
        tags, self._acknowledged = sorted(self._acknowledged), []
        first_open = next(iter(self._open), tags[-1] + 1)
        # One for the run in front of the first that is still open.
        run = bisect(tags, first_open - 1)
        return ([(tags[run - 1], run > 1)] if run else []) + [(tag, False) for tag in tags[run:]]

    def rejections(self) -> list[tuple[int, bool]]:
        """The rejections that are due: tag and `requeue` of each. All are taken as sent."""
        due, self._rejected = self._rejected, []
        return due

    def _end(self, reply: Reply) -> None:
        reply.confirmed = True
        self._bytes -= len(reply.message.body)
        if reply.settlement is not None:
            self.settle(reply.settlement)
