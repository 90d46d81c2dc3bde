"""The tables and the picture of docs/capacity.md: `python -m tests.capacity [FOLDER]`, a few minutes."""

import sys
from bisect import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.capacity.model import Loss, Outcome, Site, poisson, quantile, simulate
from tests.capacity.sizing import LOAD, Size, of_workers, waiting

WORKERS = (10, 100, 1000)
SECONDS = (0.1, 1.0)  # of a query
CASES = [(workers, seconds) for seconds in SECONDS for workers in WORKERS]
THREADS = 32
_REQUESTS = 100_000  # of a simulation, at least
BUSY_THREADS = (0.7, 0.8, 0.9, 0.95)
_REGIONS, _IN_REGIONS, _QUERY = 3, 30, 1.0  # regions, workers in all of them, seconds of a query
LOST, END = 30.0, 120.0  # seconds: when a region is lost, and when the last request comes
_WINDOW = 5.0  # seconds within which a p99 is taken
BUSY = (0.5, 0.6, 0.7)


def size_row(workers: int, seconds: float) -> list[str]:
    """A row of the first table."""
    size = of_workers(workers, THREADS, seconds)
    figures = [workers, seconds, size.rate, size.in_flight, size.servers, size.worker_cores, size.broker_cores]
    return [_figure(each) for each in (*figures, size.broker_connections, size.database_connections)]


def waiting_row(workers: int) -> list[str]:
    """A row of the second one: the p99 of waiting, by how busy the threads are."""
    return [_figure(workers), *(f"{waiting(workers * THREADS, busy, 0.99):.2f}" for busy in BUSY_THREADS)]


def simulated_row(workers: int) -> list[str]:
    """A row of the third one: the same, simulated, at the most."""
    seconds, busy = SECONDS[0], BUSY_THREADS[-1]
    size = of_workers(workers, THREADS, seconds)
    rate = size.rate * busy / LOAD
    site = Site(workers, THREADS, servers=size.servers, brokers=brokers(size))
    # Long enough for a site that is empty at first.
    requests = max(_REQUESTS, round(10 * seconds * rate))
    found = simulate(site, poisson(rate, requests / rate, seconds, seed=1))
    latest = quantile(found.besides, 0.99) / seconds
    return [_figure(workers), _figure(rate), f"{quantile(found.waits, 0.99) / seconds:.2f}", f"{latest:.2f}"]


def brokers(size: Size) -> int:
    """Whole cores of brokers."""
    return max(1, round(size.broker_cores + 0.5))


def lost(busy: float) -> tuple[Site, Outcome]:
    """A site of three regions, so busy that it loses one."""
    size = of_workers(_IN_REGIONS, THREADS, _QUERY)
    servers = _REGIONS * max(1, round(size.servers / _REGIONS))
    site = Site(_IN_REGIONS, THREADS, servers=servers, brokers=_REGIONS, regions=_REGIONS, loss=Loss(LOST))
    rate = busy * _IN_REGIONS * THREADS / _QUERY
    return site, simulate(site, poisson(rate, END, _QUERY, seed=1))


def lost_row(busy: float, found: Outcome) -> list[str]:
    """A row of the last one."""
    before, later = _windows(found)
    usual = max(before)
    worse = [moment for moment, value in later if value > 1.2 * usual]
    return [
        f"{busy:.0%}", f"{busy * _REGIONS / (_REGIONS - 1):.0%}", _figure(len(found.answered)), _figure(len(found.cut)),
        _figure(len(found.refused)), _figure(len(found.expired)), f"{usual:.1f}",
        f"{max(value for _, value in later):.1f}", f"{max(worse, default=LOST) + _WINDOW - LOST:.0f}" if worse else "0",
    ]  # fmt: skip


def _windows(found: Outcome) -> tuple[list[float], list[tuple[float, float]]]:
    """The p99 of the latencies within each window, before the loss and, with its beginning, behind it."""

    def p99(begin: float) -> float:
        first, last = bisect(found.answered, begin), bisect(found.answered, begin + _WINDOW)
        return quantile(found.latencies[first:last], 0.99)

    moments = [number * _WINDOW for number in range(1, round(END / _WINDOW))]
    return [p99(each) for each in moments if each < LOST], [(each, p99(each)) for each in moments if each >= LOST]


def _figure(value: float) -> str:
    return f"{value:,.1f}" if value < 10 and value != round(value) else f"{value:,.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main() -> None:
    """Print the tables, and draw the picture into the folder that is given."""
    head = ("workers", "s a query", "queries/s", "in flight", "server processes", "worker cores", "broker cores")
    head += ("connections to the broker", "to the database")
    print(*table(head, [size_row(*case) for case in CASES]), sep="\n", end="\n\n", flush=True)
    head = ("workers", *(f"threads {busy:.0%} busy" for busy in BUSY_THREADS))
    print(*table(head, [waiting_row(workers) for workers in (1, *WORKERS)]), sep="\n", end="\n\n", flush=True)
    head = ("workers", "queries/s", "of waiting", "of all that is not the query")
    print(*table(head, [simulated_row(workers) for workers in WORKERS]), sep="\n", end="\n\n", flush=True)
    sites = {busy: lost(busy) for busy in BUSY}
    head = ("busy", "with two regions", "answered", "cut off", "refused", "expired")
    head += ("p99 before, s", "at worst", "worse for, s")
    print(*table(head, [lost_row(busy, found) for busy, (_, found) in sites.items()]), sep="\n")
    if len(sys.argv) > 1:
        from tests.capacity.plot import draw  # takes longer to import than most tests

        draw({busy: found for busy, (_, found) in sites.items()}, LOST, END, Path(sys.argv[1]) / "capacity.svg")


if __name__ == "__main__":
    main()
