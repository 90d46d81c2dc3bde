"""The figures of a soak, as text. No I/O."""

from collections.abc import Iterator, Sequence

from tests.soak.faults import FAULTS
from tests.soak.growth import LONG, MOST, SPREAD, Growth
from tests.soak.soak import Outcome

_SHOWN = 20  # broken promises, at most


def lines(outcome: Outcome) -> Iterator[str]:
    """The tables and the verdict."""
    yield from table(
        ("work", "asked", "done", "503", "unknown", "504", "lost", "twice"),
        [
            (work.name, *(f"{value:,}" for value in (work.asked, work.done, work.refused, work.unknown, work.late)),
             str(work.lost), str(work.twice))
            for work in outcome.works
        ],
    )  # fmt: skip
    yield f"messages of the queue that came again, their acknowledgements lost with a connection: {outcome.again}"
    yield ""
    yield from table(
        ("fault", "times", "took at most"),
        [
            (name, str(len(took)), f"{max(took):.1f} s")
            for name in FAULTS
            if (took := [fault.end - fault.begin for fault in outcome.faults if fault.name == name])
        ],
    )
    yield ""
    yield from table(
        ("process", "minutes", "MB", "MB/h", "descriptors", "threads"),
        [_growth(each, each.name) for each in outcome.kept]
        + [_growth(each, f"{each.name} (not compared)") for each in outcome.others],
    )
    yield f"behind a warm-up of {outcome.warm_up / 60:.1f} minutes; before the first faults : before the last ones"
    if outcome.not_judged:
        what = ", ".join(outcome.not_judged)
        yield f"too short to be judged by all (less than {LONG / 60:g} minutes, or too few faults): {what}"
    yield ""
    found = outcome.verdict()
    for what in found[:_SHOWN]:
        yield f"FAILED: {what}"
    if len(found) > _SHOWN:
        yield f"FAILED: {len(found) - _SHOWN} more"
    if not found and outcome.not_judged:
        yield "PASSED, but for what was too short to be judged: 0 lost, 0 twice"
    elif not found:
        yield f"PASSED: 0 lost, 0 twice, memory under {MOST:g} MB/h, descriptors and threads flat within {SPREAD}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, its first column to the left."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))
        )
        yield "  ".join((first, *others)).rstrip()


def _growth(each: Growth, name: str) -> tuple[str, ...]:
    return (
        name, f"{each.minutes:.0f}", f"{each.memory[0]:.1f} : {each.memory[1]:.1f}",
        "too short" if each.slope is None else f"{each.slope:+.2f}", _ends(each.descriptors), _ends(each.threads),
    )  # fmt: skip


def _ends(ends: tuple[float, float] | None) -> str:
    return "too few" if ends is None else f"{ends[0]:g} : {ends[1]:g}"
