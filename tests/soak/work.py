"""What became of the work of one kind, and what of it may not be. No I/O."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.jobs.invariants import EFFECTS, FINAL, Answers
from tests.faults.jobs.journal import Books

_ACKNOWLEDGED = 5.0  # seconds before the end of a consumer's connection within which what it acknowledges may be lost


@dataclass
class Work:
    """The work of one kind.

    Attributes:
        name: of the kind.
        asked: how often it was asked for, by requests that were not sent again.
        done: how much was done as it is promised.
        refused: answers 503, after which nothing was done.
        unknown: answers 502, and connections that have ended with a server that was killed.
        late: answers 504.
        lost: what has no answer in time, or was accepted and has not been done.
        twice: what has been done more than once.
        broken: other promises that do not hold, in words.
    """

    name: str
    asked: int = 0
    done: int = 0
    refused: int = 0
    unknown: int = 0
    late: int = 0
    lost: int = 0
    twice: int = 0
    broken: list[str] = field(default_factory=list)

    def verdict(self) -> Iterator[str]:
        """What is not as it is to be, in words."""
        if not self.done:
            yield f"{self.name}: nothing was done"
        if self.lost:
            yield f"{self.name}: {self.lost} lost"
        if self.twice:
            yield f"{self.name}: {self.twice} twice"
        yield from (f"{self.name}: {what}" for what in self.broken)


def settle_queries(work: Work, answered: Collection[str], refused: Collection[str], runs: Mapping[str, int]) -> None:
    """Compare the answers to queries that note their ids, and must not run twice, with what they have noted.

    Args:
        work: what is found is added to it.
        answered, refused: the ids of those with 200, and with 503.
        runs: how often each id was noted.
    """
    work.lost += sum(not runs.get(each) for each in answered)
    work.twice += sum(count > 1 for count in runs.values())
    work.broken += [f"{each} was refused, and ran" for each in refused if runs.get(each)]


def settle_jobs(books: Books, answers: Answers) -> Work:
    """What became of jobs.

    Args:
        books: once all should have ended.
        answers: what their clients know; those of schedules are accepted, too.
    """
    accepted = set(answers.ids.values())
    ended = {job for job in accepted & books.rows.keys() if books.rows[job].state in FINAL}
    ends = {job: sum(change.new in FINAL for change in changes) for job, changes in books.changes.items()}
    twice = {job for job, effects in books.effects.items() if len(effects) > EFFECTS}
    twice |= {job for job, count in ends.items() if count > 1}
    return Work(
        "jobs", asked=len(accepted) + answers.unknown, done=len(ended), unknown=answers.unknown,
        lost=len(accepted) - len(ended), twice=len(twice) + len(answers.twice),
    )  # fmt: skip


def settle_topic(work: Work, confirmed: Iterable[int], unknown: Iterable[int], got: Sequence[Sequence[int]]) -> None:
    """Compare the messages of a topic with what its subscribers have got.

    Args:
        work: what is found is added to it.
        confirmed: those that were taken, by their numbers in the order in which they were sent.
        unknown: those that may have been.
        got: by each subscriber, in its order.
    """
    taken, perhaps = set(confirmed), set(unknown)
    for number, messages in enumerate(got, 1):
        times = Counter(messages)
        work.lost += len(taken - times.keys())
        work.twice += sum(count - 1 for count in times.values())
        if others := times.keys() - taken - perhaps:
            work.broken.append(f"subscriber {number} got {len(others)} that were refused, or never sent")
        # Of two, one of which was not confirmed, the broker may have had either first.
        in_order = [message for message in messages if message in taken]
        if in_order != sorted(in_order):
            work.broken.append(f"subscriber {number} did not get them in order")
        if list(messages) != list(got[0]):
            work.broken.append(f"subscriber {number} did not get what the first one did, in its order")
    work.done = len(taken)


@dataclass
class Hold:
    """A connection of a consumer; `ended` is when, and None while it is open."""

    ended: float | None = None


@dataclass(frozen=True)
class Acknowledged:
    """A message of a queue that was acknowledged.

    Attributes:
        number: its own.
        redelivered: it came as one that may have been worked on before.
        at: when.
        hold: the connection by which it came.
    """

    number: int
    redelivered: bool
    at: float
    hold: Hold

    def may_be_lost(self) -> bool:
        """The connection has ended before the acknowledgement can be known to have arrived."""
        return self.hold.ended is not None and self.hold.ended - self.at <= _ACKNOWLEDGED


def settle_queue(
    work: Work, confirmed: Iterable[int], unknown: Iterable[int], acknowledged: Iterable[Acknowledged]
) -> int:
    """Compare the messages of a queue with what was acknowledged. Returns how many came again as it is documented.

    Args:
        work: what is found is added to it.
        confirmed: those that were taken, by their numbers.
        unknown: those that may have been.
        acknowledged: by all consumers, in order.
    """
    taken, again = set(confirmed), 0
    before: dict[int, Acknowledged] = {}
    for each in acknowledged:
        first = before.get(each.number)
        if first is not None:
            again += 1
            if not first.may_be_lost():
                work.twice += 1
            elif not each.redelivered:
                work.broken.append(f"message {each.number} came again, and not as one that is delivered again")
        before[each.number] = each
    work.lost += len(taken - before.keys())
    if others := before.keys() - taken - set(unknown):
        work.broken.append(f"{len(others)} were refused, or never sent, and came")
    work.done = len(taken & before.keys())
    return again
