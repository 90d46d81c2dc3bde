"""The life of each call, from its message to its answer: events in, effects out. No loop, no socket, no clock.

    sent ──▶ confirmed ──▶ answered
      └──────────┴──▶ cancelled, expired, refused, unroutable, unknown, stopped

Times are seconds of one monotonic clock. An event returns what is to be done about it, in order.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Generic, Protocol, TypeVar
from uuid import uuid4

from nowait.amqp.methods import Confirmed, Delivery, Returned
from nowait.bridge.backlog import Backlogs, Place, Shares
from nowait.bridge.confirms import Confirms
from nowait.bridge.probe import Probe
from nowait.budget import Budget, Share
from nowait.errors import (
    BridgeError,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    Refused,
    ResultTooLarge,
    Stopped,
    Unroutable,
)
from nowait.messages.limits import MAX_RECEIVED_REPLY
from nowait.messages.reply import MalformedReply, Reply, read_reply

_REMEMBERED = 10_000  # ended calls whose late replies are distinguished from unknown ones; destinations of messages
_CONFIRM_TIMEOUT = 5.0  # seconds
# Seconds that a new link may refuse all that is sent to a queue; doubled each time. A channel of RabbitMQ 3 that first
# publishes to a quorum queue while that elects a leader refuses for good, another channel does not. A queue that is
# full, too.
_FIRST_PATIENCE, _LAST_PATIENCE = 0.5, 60.0
_MAX_UNACKNOWLEDGED = 1024 * 1024  # bytes of replies that wait for the next probe to be acknowledged


class PendingCall(Protocol):
    """What decides the life of a call."""

    id: str  # of the task
    deadline: float
    idempotent: bool  # the task may run twice
    expects_reply: bool  # False when the broker's confirm is the answer
    encoded: bool  # the result is to be an Encoded
    # The queue that its caller has named, or its task: calls of one wait for each other. "" for what is not answered,
    # or may be begun after its deadline: it is never too late, and shows nothing of how fast others are answered.
    queue: str
    client: str  # whose it is; "" for nobody in particular
    place: Place | None  # in the queue, once it has left; None without one
    destination: str  # the routing key of the message that was published last
    confirmed: bool  # the broker has the message that was published last
    link: int  # the number of the link that it was published on, or found to be safe on since
    sent_at: float  # when it was published last
    confirmed_at: float | None  # when the broker confirmed it; None while it has not


C = TypeVar("C", bound=PendingCall)


# One for each call: frozen, it would take three times as long to make.
@dataclass(slots=True)
class Complete(Generic[C]):
    """The call is over, with what its task returned or a BridgeError; the others as in Reply."""

    call: C
    outcome: Any
    runtime: float | None = None
    worker: str | None = None
    ended: float | None = None


@dataclass(frozen=True)
class Report(Generic[C]):
    """The task has reached a state of its own."""

    call: C
    state: str
    meta: Any


@dataclass(frozen=True)
class Decode(Generic[C]):
    """Read a large reply, see read_large_reply(), and call decoded() with it."""

    call: C
    message: Delivery


@dataclass(frozen=True)
class Resend(Generic[C]):
    """Publish the call's message again."""

    call: C


@dataclass(frozen=True)
class SendProbe:
    """Publish a transient message with this correlation id to the own reply queue."""

    correlation_id: str


@dataclass(frozen=True)
class Acknowledge:
    """Acknowledge a delivery, or all up to it."""

    tag: int
    multiple: bool


@dataclass(frozen=True)
class GiveUp:
    """The link is of no use any more."""

    reason: str


Effect = Complete[C] | Report[C] | Decode[C] | Resend[C] | SendProbe | Acknowledge | GiveUp


@dataclass
class Counts:
    """What has happened since the start: as in Statistics."""

    resent: int = 0
    late: int = 0
    duplicate: int = 0
    unknown: int = 0
    malformed: int = 0


class Calls(Generic[C]):
    """The calls in flight over the links of one bridge, one link at a time.

    Args:
        limit: how many may be in flight at once, 1 or more.
        budget: of their replies; None for one without a limit.
        reply_user: the user that replies have to come from; None for anybody.

    Attributes:
        counts: what has happened so far.
    """

    def __init__(self, limit: int, budget: Budget | None = None, reply_user: str | None = None) -> None:
        if limit < 1:
            raise ValueError("limit: expected 1 or more")
        self.counts = Counts()
        self._limit = limit
        self._budget = budget or Budget(MAX_RECEIVED_REPLY)
        self._reply_user = reply_user
        self._waiting: dict[str, C] = {}
        self._shares = Shares()
        self._backlogs = Backlogs()
        self._answered: OrderedDict[str, bool] = OrderedDict()  # of ended calls; the others have given up
        self._deadlines: list[tuple[float, str]] = []  # a heap; entries of ended calls stay in it for a while
        self._probe_ids = uuid4().hex
        # The current link, by its number; 0 is none yet.
        self._link = 0
        self._probe: Probe | None = None
        self._connected_at = 0.0
        # By routing key, whether a message was confirmed on this link; False: refused, as all others.
        self._accepts: dict[str, bool] = {}
        self._suspects: set[str] = set()  # for which links were given up, and that have accepted nothing since
        self._patience = _FIRST_PATIENCE
        self._confirms: Confirms[C | None] = Confirms()  # None for a probe
        self._intact_since = 0  # the earliest link since which the broker has not restarted
        self._held_tag = 0  # the last probe, not acknowledged
        self._unacknowledged: list[int] = []
        self._unacknowledged_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<Calls {len(self)} of {self._limit} in flight, {self.counts}>"

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._waiting.values()))

    @property
    def unconfirmed(self) -> int:
        """Messages of calls that left on this link and that the broker has not confirmed."""
        return sum(call is not None for call in self._confirms) if self._probe else 0

    @property
    def wakeup(self) -> float | None:
        """When tick() is due; None for never."""
        due = [deadline for deadline, _ in self._deadlines[:1]] + ([self._probe.due] if self._probe else [])
        return min(due, default=None)

    # What the caller does.

    def admit(self, deadline: float, now: float, queue: str = "", client: str = "") -> None:
        """Raise Overloaded or DeadlineExceeded when a call with that deadline is not to be sent.

        Args:
            deadline: its deadline.
            now: the time.
            queue: as `PendingCall.queue`.
            client: whose it is; "" for nobody in particular.
        """
        if not self._shares.allow(client, self._limit):
            raise Overloaded(f"{len(self._waiting)} calls are in flight, {self._limit} are allowed")
        if self._budget.full:
            raise Overloaded(f"{self._budget.used} bytes of replies are held")
        if deadline <= now:
            raise DeadlineExceeded("the deadline passed before the message was sent")
        if not queue:
            return
        backlog = self._backlogs.of(queue)
        if not backlog.allow(client, deadline - now, now):
            wait = backlog.wait
            raise Overloaded(f"{len(backlog)} calls wait for about {wait:.1f} s", retry_after=max(1.0, wait / 2))

    def hold(self, size: int) -> Share:
        """Count bytes as those of replies, until the share is released. Raises Overloaded where there is no room."""
        # Looked at first: calls have room that are smaller than this.
        share = self._budget.take(size) if self._budget.has(size) else None
        if share is None:
            raise Overloaded(f"{self._budget.used} bytes of replies are held")
        return share

    def add(self, call: C) -> None:
        """Enter a call before its message leaves. Raises ValueError when its id is in flight."""
        if call.id in self._waiting:
            raise ValueError(f"task_id {call.id} is in flight already")
        self._waiting[call.id] = call
        self._shares.enter(call.client)
        heappush(self._deadlines, (call.deadline, call.id))

    def published(self, call: C | None, now: float) -> None:
        """A message left on the current link: that of a call, or a probe (None)."""
        if call is not None:
            call.link, call.confirmed = self._link, False
            call.sent_at, call.confirmed_at = now, None
            if call.place is None and call.queue:
                call.place = self._backlogs.of(call.queue).enter(call.client, now)
        self._confirms.published(call, now)

    def abandon(self, call: C) -> None:
        """Nobody waits for the call any more."""
        if self._waiting.get(call.id) is call:
            self._end(call)

    def stop(self) -> list[Effect[C]]:
        """No reply is waited for any more."""
        text = "the bridge stopped before an answer came"
        # One that may run twice may be sent again by whoever has sent it, too.
        return [
            self._fail(call, Stopped(text) if call.idempotent or not call.link else OutcomeUnknown(text))
            for call in self
        ]

    # What the broker does.

    def connected(self, now: float) -> None:
        """A link came up: tags and tick() start anew."""
        self._link += 1
        self._probe = Probe(now)
        self._connected_at, self._accepts = now, {}
        self._confirms = Confirms()
        self._intact_since = self._link
        self._held_tag, self._unacknowledged, self._unacknowledged_bytes = 0, [], 0

    def disconnected(self, reason: str, refused: bool) -> list[Effect[C]]:
        """The link is lost. A call whose message the broker has goes on waiting, as replies are kept there;
        so does one that can be sent again.

        Args:
            reason: why, in words.
            refused: the broker ended the link because of a message: none of those that it did not
                confirm is sent again, lest the one that was wrong does it again.
        """
        self._probe = None
        error = f"the connection was lost with the message under way: {reason}"
        lost = [call for call in self if not call.confirmed and (refused or not call.idempotent)]
        return [self._fail(call, OutcomeUnknown(error)) for call in lost]

    def confirmed(self, event: Confirmed, now: float) -> list[Effect[C]]:
        """The broker has messages, or refuses them (nack)."""
        effects: list[Effect[C]] = []
        for call in self._confirms.settled(event.tag, event.multiple):
            if call is None:
                continue
            self._note_acceptance(call.destination, event.acked)
            if self._waiting.get(call.id) is not call:
                continue
            if not event.acked:
                effects.append(self._fail(call, Refused("the broker refused the message")))
                continue
            call.confirmed, call.confirmed_at = True, now
            if not call.expects_reply:
                self._end(call, answered=True)
                effects.append(Complete(call, None))
        return effects

    def returned(self, event: Returned) -> list[Effect[C]]:
        """The broker has no queue for a message."""
        if event.correlation_id.startswith(self._probe_ids):
            return [GiveUp("the reply queue is gone")]
        call = self._waiting.get(event.correlation_id)
        return [] if call is None else [self._fail(call, Unroutable(f"no queue takes the message: {event.reason}"))]

    def received(self, reply: Delivery, now: float) -> list[Effect[C]]:
        """A message came to the reply queue."""
        if reply.correlation_id.startswith(self._probe_ids):
            return self._probe_returned(reply, now)
        effects = self._acknowledged_later(reply)
        call = self._waiting.get(reply.correlation_id)
        if call is None:
            self._count_unmatched(reply.correlation_id)
        elif (effect := self._answer(call, reply, now)) is not None:
            effects.append(effect)
        return effects

    def decoded(self, call: C, reply: Reply | None, now: float) -> list[Effect[C]]:
        """A large reply was read; None where it is malformed."""
        if reply is None:
            self.counts.malformed += 1
        elif self._waiting.get(call.id) is call:
            return [self._replied(call, reply, now)]
        else:
            self._count_unmatched(call.id)
        return []

    def tick(self, now: float, last_received: float, unblocked_at: float | None) -> list[Effect[C]]:
        """Time has passed: to be called at `wakeup`, or before.

        Args:
            now: the time.
            last_received: when each connection had last received anything, the earlier of the two.
            unblocked_at: since when the broker takes messages; None while it does not.
        """
        effects = self._expired(now)
        if self._probe is None:
            return effects
        step = self._probe.tick(now, last_received, unblocked_at is None)
        if step == "give up":
            effects.append(GiveUp(f"nothing received for {now - last_received:.1f} s"))
        elif step == "send" and self._refusing and now >= self._connected_at + self._patience:
            self._patience = min(2 * self._patience, _LAST_PATIENCE)
            self._suspects.update(self._refusing)
            effects.append(GiveUp("every message for a queue was refused"))
        elif step == "send":
            self._patience = self._patience if self._suspects else _FIRST_PATIENCE
            # What waited for an alarm to end gets its time from then on.
            if unblocked_at is not None and now - unblocked_at > _CONFIRM_TIMEOUT:
                effects += self._unconfirmed_since(now - _CONFIRM_TIMEOUT)
            effects.append(SendProbe(self._probe_id))
        return effects

    def _note_acceptance(self, destination: str, acked: bool) -> None:
        if acked:
            self._suspects.discard(destination)
        # Routing keys may be many, where they are no queues' names.
        if destination in self._accepts or len(self._accepts) < _REMEMBERED:
            self._accepts[destination] = acked or self._accepts.get(destination, False)

    @property
    def _refusing(self) -> list[str]:
        """The destinations for which this link has refused all messages."""
        return [destination for destination, accepts in self._accepts.items() if not accepts]

    @property
    def _probe_id(self) -> str:
        return f"{self._probe_ids}.{self._link}"

    def _probe_returned(self, delivery: Delivery, now: float) -> list[Effect[C]]:
        """The last probe stays unacknowledged. It is a transient message: when that of an earlier link is
        delivered again, the broker has not restarted since, and what it confirmed since is not lost.
        """
        if delivery.correlation_id != self._probe_id or self._probe is None:
            self._intact_since = min(self._intact_since, int(delivery.correlation_id.rpartition(".")[2]))
            if self._held_tag:
                self._unacknowledged.append(delivery.tag)
            self._held_tag = self._held_tag or delivery.tag
            return []
        last = max([self._held_tag, *self._unacknowledged[-1:]])
        effects: list[Effect[C]] = [Acknowledge(last, multiple=True)] if last else []
        self._held_tag, self._unacknowledged, self._unacknowledged_bytes = delivery.tag, [], 0
        if self._probe.returned():
            effects += self._resendable(now)
        return effects

    def _resendable(self, now: float) -> list[Effect[C]]:
        """All replies that waited have arrived: what is still open, and may be lost, is sent again."""
        effects: list[Effect[C]] = []
        for call in self:
            if call.confirmed and call.link >= self._intact_since:
                call.link = self._link
            elif call.idempotent and call.link < self._link and call.deadline > now:
                effects.append(Resend(call))
        self.counts.resent += len(effects)
        return effects

    def _acknowledged_later(self, reply: Delivery) -> list[Effect[C]]:
        self._unacknowledged.append(reply.tag)
        self._unacknowledged_bytes += reply.size if reply.parts else 0
        if self._unacknowledged_bytes < _MAX_UNACKNOWLEDGED:
            return []
        # One by one: an older probe is to stay.
        tags, self._unacknowledged, self._unacknowledged_bytes = self._unacknowledged, [], 0
        return [Acknowledge(tag, multiple=False) for tag in tags]

    def _count_unmatched(self, call_id: str) -> None:
        """A reply found no call. It is not decoded at all: nobody waits for it."""
        answered = self._answered.get(call_id)
        if answered is None:
            self.counts.unknown += 1
        elif answered:
            self.counts.duplicate += 1
        else:
            self.counts.late += 1

    def _answer(self, call: C, message: Delivery, now: float) -> Effect[C] | None:
        """What a reply means for its call; None for nothing."""
        if self._reply_user not in (None, message.user_id):
            self.counts.malformed += 1
            return None
        if message.parts is None:
            return self._fail(call, self._not_kept(call, message.size))
        try:
            reply = read_reply(message, call.encoded)
        except MalformedReply:
            self.counts.malformed += 1
            return None
        return Decode(call, message) if reply is None else self._replied(call, reply, now)

    def _not_kept(self, call: C, size: int) -> BridgeError:
        """What becomes of a call whose reply of so many bytes was not kept."""
        if size > self._budget.largest:
            self.counts.malformed += 1
            return ResultTooLarge(self._budget.largest, "bytes")
        if call.idempotent:
            return Overloaded(f"there was no room for a reply of {size} bytes")
        return OutcomeUnknown(f"the task was run; there was no room for its reply of {size} bytes")

    def _replied(self, call: C, reply: Reply, now: float) -> Effect[C]:
        if not reply.final:
            return Report(call, reply.state, reply.result)
        if call.place is not None:
            self._backlogs.of(call.queue).answered(call.place, now, reply.runtime)
        self._end(call, answered=True)
        outcome = reply.result if reply.state == "SUCCESS" else reply.error()
        return Complete(call, outcome, reply.runtime, reply.worker, reply.ended)

    def _unconfirmed_since(self, moment: float) -> list[Effect[C]]:
        """Give up the calls whose messages left before that moment and are not confirmed."""
        return [
            self._fail(call, OutcomeUnknown("the broker did not confirm the message in time"))
            for call in self._confirms.before(moment)
            if call is not None and self._waiting.get(call.id) is call
        ]

    def _expired(self, now: float) -> list[Effect[C]]:
        effects: list[Effect[C]] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, call_id = heappop(self._deadlines)
            call = self._waiting.get(call_id)
            if call is not None and call.deadline == deadline:
                if call.place is not None:
                    self._backlogs.of(call.queue).expired(call.place, now)
                effects.append(self._fail(call, DeadlineExceeded("no answer before the deadline")))
        return effects

    def _fail(self, call: C, error: BridgeError) -> Complete[C]:
        self._end(call)
        return Complete(call, error)

    def _end(self, call: C, answered: bool = False) -> None:
        del self._waiting[call.id]
        self._shares.leave(call.client)
        if call.place is not None:
            self._backlogs.of(call.queue).leave(call.place)
        self._answered[call.id] = answered
        if len(self._answered) > _REMEMBERED:
            self._answered.popitem(last=False)
        if len(self._deadlines) > 2 * len(self._waiting) + 1000:
            self._deadlines = [(waiting.deadline, waiting.id) for waiting in self._waiting.values()]
            heapify(self._deadlines)
