"""What waits for workers, and whether one more would be answered in time. No I/O: the clock is an argument.

How fast a queue is served is measured by those who have waited in it: how long, and how many were answered meanwhile.
Where none has ever had to wait nothing is known, and nothing is refused. All of it is about the calls of one bridge:
others who send to the queue are felt in how long its own calls wait.

Calls that take long look like a queue that is slow to who waits for nothing else. So where calls are refused, one is
sent all the same from time to time, of a client that has none there: when it is answered at once, it was no queue.
"""

from collections import Counter, deque

_PART = 0.75  # of the time that a call has, it may wait; the rest is for the task itself, and for what is not foreseen
# Seconds, and a part of those that the task runs, that go to the way through the broker and of the answer: who waits no
# longer has not waited.
_NONE, _PART_OF_RUN = 0.05, 0.1
_SAMPLES = 8  # the lowest of the last ones counts: one call that was held up is no queue
_STEP = 4  # by so much at most a queue is taken to be slower, for a call that has waited in vain
_OPEN = 7 / 8  # of the room; the rest is kept for clients that have less than their share
_PAUSE = 1.0  # seconds from one call that is sent without room to the next
_QUEUES = 1000  # above, those in which nothing waits are forgotten


class Shares:
    """Who has how many of the calls that share some room."""

    def __init__(self) -> None:
        self._total = 0
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._total

    def __contains__(self, client: str) -> bool:
        """The client has some; nobody in particular never has."""
        return client in self._of

    def allow(self, client: str, room: float) -> bool:
        """True when a client may have one more, where there is room for so many; "" is nobody in particular.

        The last of the room is left to those who have less than what each would have, with one more client than there
        are: who comes later finds a place, however many calls another one has sent.
        """
        if self._total >= room:
            return False
        if not client or self._total < _OPEN * room:
            return True
        clients = len(self._of) + (client not in self._of)
        return self._of[client] < room / (clients + 1)

    def enter(self, client: str) -> None:
        """A client has one more."""
        self._total += 1
        if client:
            self._of[client] += 1

    def leave(self, client: str) -> None:
        """It has one less."""
        self._total -= 1
        if client:
            self._of[client] -= 1
            if not self._of[client]:
                del self._of[client]


class Place:
    """That of one call in a queue.

    Attributes:
        client: whose it is.
        since: when it was sent.
        ahead: how many were in the queue before it, those that ran included.
        served: how many had been answered by then.
    """

    __slots__ = ("client", "since", "ahead", "served")

    def __init__(self, client: str, since: float, ahead: int, served: int) -> None:
        self.client = client
        self.since = since
        self.ahead = ahead
        self.served = served


class Backlog:
    """The calls that wait in one queue, or run."""

    def __init__(self) -> None:
        self.shares = Shares()
        self._served = 0
        self._newest = -1.0  # when the newest call was sent that has been answered
        self._samples: deque[float] = deque(maxlen=_SAMPLES)
        self._each = 0.0  # seconds from one answer to the next, when all that can run do; 0 while nothing is known
        self._tried = 0.0  # when a call was sent without room

    def __len__(self) -> int:
        return len(self.shares)

    @property
    def wait(self) -> float:
        """Seconds that a call would wait that were sent now, about."""
        return len(self) * self._each

    def room(self, seconds: float) -> float:
        """How many calls the queue may have, so that one is answered that is given so many seconds."""
        return _PART * seconds / self._each if self._each else float("inf")

    def allow(self, client: str, seconds: float, now: float) -> bool:
        """True when a call of a client may be sent that is given so many seconds."""
        if self.shares.allow(client, self.room(seconds)):
            return True
        if client in self.shares or now - self._tried < _PAUSE:
            return False
        self._tried = now
        return True

    def enter(self, client: str, now: float) -> Place:
        """A call is sent; leave() follows, in the end."""
        place = Place(client, now, len(self), self._served)
        self.shares.enter(client)
        return place

    def leave(self, place: Place) -> None:
        """It is not waited for any more."""
        self.shares.leave(place.client)

    def answered(self, place: Place, now: float, run: float | None) -> None:
        """A call was answered, before it leaves; its task ran for so many seconds, None where nobody says."""
        self._served += 1
        self._newest = max(self._newest, place.since)
        took = now - place.since
        each = took / (self._served - place.served)
        waited = run is not None and took - run > max(_NONE, _PART_OF_RUN * run)
        if run is not None and not waited:
            # As many as there were, and one more, may run at once, whatever was known.
            each = min(each, took / (place.ahead + 2))
        # Of those that have not waited, it is only known that the queue is no slower.
        if waited or each < self._each:
            self._note(each)

    def expired(self, place: Place, now: float) -> None:
        """A call was not answered in time.

        Where later ones were, it was this one that took long. Otherwise the queue is as slow as those were answered
        that were before it.
        """
        if place.ahead and self._newest < place.since:
            self._note((now - place.since) / max(self._served - place.served, place.ahead / _STEP))

    def _note(self, each: float) -> None:
        self._samples.append(each)
        if len(self._samples) == _SAMPLES:
            self._each = min(self._samples)


class Backlogs:
    """Those of all queues, by their names."""

    def __init__(self) -> None:
        self._of: dict[str, Backlog] = {}

    def of(self, queue: str) -> Backlog:
        """That of a queue."""
        backlog = self._of.get(queue)
        if backlog is None:
            if len(self._of) >= _QUEUES:
                self._of = {name: each for name, each in self._of.items() if len(each)}
            backlog = self._of[queue] = Backlog()
        return backlog
