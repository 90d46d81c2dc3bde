"""What has to be true of all jobs once no fault is left, read from the books. No I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.faults.jobs.chance import raises
from tests.faults.jobs.journal import Books, Change, Row

FINAL = {"succeeded", "failed", "cancelled", "expired"}
_WAYS = {
    (None, "queued"),
    ("queued", "running"), ("queued", "cancelled"), ("queued", "expired"),
    ("running", "succeeded"), ("running", "failed"), ("running", "cancelled"), ("running", "queued"),
}  # fmt: skip
EFFECTS = 2  # of an attempt that succeeds


@dataclass
class Answers:
    """What clients know.

    Attributes:
        ids: of the jobs that were accepted, by the keys of their requests; each key was asked until it had an answer.
        cancelled: the jobs whose DELETE was answered with 200.
        final: the states of jobs in answers that said they had ended, by id.
        twice: keys that had two ids in their answers.
        unknown: requests without a key that were not answered with 202.
    """

    ids: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    final: dict[str, str] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)
    unknown: int = 0


def broken(books: Books, answers: Answers, *, database_lost: bool = False) -> list[str]:
    """Each promise that does not hold, in words; empty when all do.

    Args:
        database_lost: attempts may have failed with their connection, and not as they wanted.
    """
    found = [*_of_all(books, answers), *(f"{job}: {what}" for job, what in _of_each(books, answers))]
    if not database_lost:
        found += [f"{job}: {what}" for job, what in _of_failures(books)]
    return found


def _of_all(books: Books, answers: Answers) -> Iterator[str]:
    accepted = set(answers.ids.values())
    if lost := accepted - books.rows.keys():
        yield f"{len(lost)} accepted jobs have no row: {sorted(lost)[:3]}"
    if len(nobodys := books.rows.keys() - accepted) > answers.unknown:
        yield f"{len(nobodys)} rows were never accepted: {sorted(nobodys)[:3]}"
    if len(accepted) != len(answers.ids):
        yield "two keys have one job"
    if answers.twice:
        yield f"{len(answers.twice)} keys have two jobs"


def _of_each(books: Books, answers: Answers) -> Iterator[tuple[str, str]]:
    for job, row in books.rows.items():
        if row.state not in FINAL:
            yield job, f"has not ended: {row.state}, due {row.late:+.1f} s ago"
        if row.progress not in (None, {"begun": row.attempt}):
            yield job, f"{row.state} in attempt {row.attempt}, with the progress {row.progress}"
        for what in _of_effects(row, books.effects.get(job, [])):
            yield job, what
        for what in _of_changes(books.changes.get(job, [])):
            yield job, what
    for job in answers.cancelled:
        if job in books.rows and books.rows[job].state != "cancelled":
            yield job, f"its DELETE was answered with 200, and it is {books.rows[job].state}"
    for job, state in answers.final.items():
        if job in books.rows and books.rows[job].state != state:
            yield job, f"an answer had it {state}, and it is {books.rows[job].state}"


def _of_effects(row: Row, effects: list[int]) -> Iterator[str]:
    wanted = [row.attempt] * EFFECTS if row.state == "succeeded" else []
    if effects != wanted:
        yield f"{row.state} in attempt {row.attempt}, with effects of the attempts {effects}"
    if row.state == "succeeded" and row.result != str(row.attempt):
        yield f"succeeded in attempt {row.attempt}, with the result of attempt {row.result}"


def _of_failures(books: Books) -> Iterator[tuple[str, str]]:
    for job, changes in books.changes.items():
        for change in changes:
            if change.failed and not raises(job, change.attempt, books.rows[job].failing):
                yield job, f"attempt {change.attempt} failed, which does not raise"


def _of_changes(changes: list[Change]) -> Iterator[str]:
    attempt, ends, begun = 0, 0, set()
    for change in changes:
        if (change.old, change.new) not in _WAYS:
            yield f"went from {change.old} to {change.new}"
        if change.attempt < attempt:
            yield f"went back from attempt {attempt} to {change.attempt}"
        attempt = change.attempt
        ends += change.new in FINAL
        if change.new == "running":
            if attempt in begun:
                yield f"attempt {attempt} began twice"
            begun.add(attempt)
            if change.eta is not None and change.at < change.eta:
                yield f"attempt {attempt} began {(change.eta - change.at).total_seconds():.3f} s too early"
            if change.expires is not None and change.at >= change.expires:
                yield f"attempt {attempt} began once it had expired"
    if ends > 1:
        yield f"ended {ends} times"


def tally(books: Books) -> Mapping[str, int]:
    """How many jobs are in each state, and how many attempts began."""
    states = [row.state for row in books.rows.values()]
    counts = {state: states.count(state) for state in sorted(set(states))}
    return {**counts, "attempts": sum(row.attempt for row in books.rows.values())}
