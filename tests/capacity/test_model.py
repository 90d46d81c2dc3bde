"""The simulation against what can be calculated, and the promises of a site that loses a region."""

import pytest

from tests.capacity.__main__ import BUSY, CASES, WORKERS, lost, lost_row, simulated_row, size_row, waiting_row
from tests.capacity.model import Costs, Loss, Site, poisson, quantile, simulate
from tests.capacity.sizing import erlang_c, mean_wait, of_workers, waiting
from tests.docs.pages import PAGES

FREE = Costs(server=0.0, broker=0.0)


@pytest.mark.parametrize(("workers", "threads", "load"), [(1, 1, 0.5), (1, 4, 0.7), (2, 4, 0.7)])
def test_it_waits_as_the_formula_has_it(workers: int, threads: int, load: float) -> None:
    rate = workers * threads * load / 0.1
    found = simulate(Site(workers, threads, costs=FREE), poisson(rate, 20_000 / rate, 0.1, seed=1))
    expected = mean_wait(workers * threads, rate, 0.1)
    assert sum(found.waits) / len(found.waits) == pytest.approx(expected, rel=0.25)
    waited = sum(wait > 0 for wait in found.waits) / len(found.waits)
    assert quantile(found.waits, 0.99) == pytest.approx(waiting(workers * threads, load, 0.99) * 0.1, rel=0.25)
    assert waited == pytest.approx(erlang_c(workers * threads, workers * threads * load), rel=0.1)


def test_the_formula_is_erlangs() -> None:
    # One server waits as often as it is busy; the others are of any table of Erlang C.
    assert erlang_c(1, 0.5) == pytest.approx(0.5)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(10, 8.0) == pytest.approx(0.4092, abs=1e-4)


def test_an_idle_site_takes_the_time_of_the_query_and_the_costs() -> None:
    (latency,) = simulate(Site(1), [(0.0, 0.1)]).latencies
    assert latency == pytest.approx(0.1 + Costs().server + Costs().broker)


def test_a_core_of_a_server_bounds_the_rate() -> None:
    # Twice what it can serve, for a second; the queries themselves take nothing.
    rate = 2 / Costs().server
    found = simulate(Site(100, in_flight=10_000), ((number / rate, 0.0) for number in range(round(rate))))
    assert max(found.latencies) == pytest.approx(1.0, rel=0.1)


# Of a thread that is asked for ten times what it does.
FLOOD = [(number / 10, 1.0) for number in range(1000)]


def test_in_a_queue_that_is_as_long_as_the_deadline_hardly_any_query_ends_in_time() -> None:
    found = simulate(Site(1, 1, timeout=5.0, costs=FREE), FLOOD)
    assert len(found.answered) + len(found.expired) == len(FLOOD)
    assert max(found.latencies) <= 5.0
    # All threads are busy, with what has too little time left.
    assert len(found.answered) < 10


def test_a_bound_of_what_is_in_flight_keeps_the_rate_of_answers() -> None:
    found = simulate(Site(1, 1, timeout=5.0, in_flight=4, costs=FREE), FLOOD)
    assert len(found.answered) + len(found.refused) == len(FLOOD)
    assert len(found.answered) == pytest.approx(100, abs=5)
    assert max(found.latencies) <= 4.0


@pytest.mark.parametrize(("load", "lost"), [(0.5, False), (0.9, True)])
def test_a_site_of_three_regions_stands_the_loss_of_one_while_two_suffice(load: float, lost: bool) -> None:
    site = Site(9, 8, servers=3, brokers=3, regions=3, timeout=20.0, loss=Loss(at=10.0))
    rate = 9 * 8 * load / 0.5
    found = simulate(site, poisson(rate, 90.0, 0.5, seed=2))
    assert bool(found.expired or found.refused) is lost
    # What is cut is what was in flight by the lost servers, and what came before the balancer knew.
    assert 0 < len(found.cut) <= rate / 3 * 4
    assert all(10.0 <= moment <= 10.0 + 9.0 + 20.0 for moment in found.cut)


def test_requests_are_answered_once_whatever_is_lost() -> None:
    site = Site(6, 4, servers=3, brokers=3, regions=3, loss=Loss(at=5.0))
    given = list(poisson(30.0, 30.0, 0.5, seed=3))
    found = simulate(site, given)
    assert len(found.answered) + len(found.refused) + len(found.cut) + len(found.expired) == len(given)


def test_the_arithmetic_agrees_with_the_simulation() -> None:
    size = of_workers(10, 32, 0.1)
    site = Site(10, 32, servers=size.servers, brokers=1)
    found = simulate(site, poisson(size.rate, 10.0, 0.1, seed=4))
    assert len(found.answered) == pytest.approx(10 * size.rate, rel=0.05)
    # Nothing is busier than it is to be, so that hardly any waits.
    assert quantile(found.waits, 0.99) < 0.01


def test_the_page_has_the_arithmetic() -> None:
    text = PAGES["docs/capacity.md"]
    for row in (*(size_row(*case) for case in CASES), *(waiting_row(workers) for workers in (1, *WORKERS))):
        assert f"| {' | '.join(row)} |" in text


def test_the_page_has_what_is_simulated() -> None:
    """The smallest row of each table: the others take minutes."""
    _, found = lost(BUSY[0])
    for row in (simulated_row(WORKERS[0]), lost_row(BUSY[0], found)):
        assert f"| {' | '.join(row)} |" in PAGES["docs/capacity.md"]
