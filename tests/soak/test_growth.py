"""What counts as growth of a process, and what does not."""

import math
import random
from collections.abc import Callable

import pytest

from tests.soak.faults import FAULTS, moments, plan
from tests.soak.growth import Growth, Reading, ends, growth, slope

HOUR = 3600.0
FAULT_MOMENTS = moments(HOUR, 120.0)
WARM_UP = 1080.0


def flat(_: float) -> float:
    return 0.0


def by_fault(step: float) -> Callable[[float], float]:
    """So much more with each fault."""
    return lambda at: step * sum(moment <= at for moment in FAULT_MOMENTS)


def read(memory: Callable[[float], float] = flat, descriptors: Callable[[float], float] = flat) -> Growth:
    """What becomes of a process for an hour, with noise, and requests that come and go."""
    draw = random.Random(1)
    readings = [
        Reading(at, 60 + memory(at) + draw.gauss(0, 0.3), 20 + int(descriptors(at)) + draw.randrange(4), 9)
        for at in map(float, range(0, 3600, 2))
    ]
    return growth("server", readings, FAULT_MOMENTS, WARM_UP)


def test_what_only_comes_and_goes_is_no_growth() -> None:
    found = read()
    assert found.slope is not None and abs(found.slope) < 0.2
    assert found.descriptors == (20, 20) and found.threads == (9, 9)
    assert found.broken() == []


def test_what_grows_with_each_request_is_found() -> None:
    found = read(memory=lambda at: at / HOUR * 1.5)
    assert found.slope == pytest.approx(1.5, abs=0.2)
    assert found.broken() == [f"server: memory grows by {found.slope:.2f} MB/h"]


def test_what_grows_with_each_fault_is_found() -> None:
    found = read(memory=by_fault(0.1), descriptors=by_fault(1.0))
    assert found.slope == pytest.approx(3.0, rel=0.2)
    assert [each.partition(" grow")[0] for each in found.broken()] == ["server: memory", "server: descriptors"]


@pytest.mark.parametrize(
    "memory",
    [
        lambda at: 20.0 * (1 - math.exp(-at / 200)),  # until it has what it needs
        lambda at: 5.0 * (at > 1300),  # a backlog once, larger than any before
        lambda at: 30.0 * (2000 < at < 2200),
    ],
    ids=["warm-up", "step", "peak"],
)
def test_what_a_process_needs_once_is_no_growth(memory: Callable[[float], float]) -> None:
    assert read(memory=memory).broken() == []


def test_of_a_time_that_is_too_short_nothing_is_claimed() -> None:
    readings = [Reading(float(at), 60.0 + at, 20 + at, 9) for at in range(0, 590, 2)]
    found = growth("server", readings, [100.0, 200.0, 300.0], 0.0)
    assert (found.slope, found.descriptors, found.threads) == (None, None, None)
    assert found.broken() == []


def test_a_slope_is_that_of_most_pairs() -> None:
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 100.0), (4.0, 9.0)]) == 2.0
    assert slope([(0.0, 1.0)]) == 0.0


def test_ends_are_compared_once_there_are_enough() -> None:
    assert ends([1, 1, 1, 1, 1]) is None
    assert ends([1, 2, 1, 9, 5, 5]) == (1.5, 5)


def test_each_round_has_all_faults_and_a_seed_gives_the_same_ones() -> None:
    first, second = plan(7, 12), plan(7, 20)
    assert first == second[:12] and set(first[:9]) == set(FAULTS) and first != plan(8, 12)


@pytest.mark.parametrize(
    ("seconds", "every", "count"), [(3600.0, 120.0, 29), (360.0, 40.0, 8), (30.0, 15.0, 1), (10.0, 60.0, 1)]
)
def test_behind_the_last_fault_is_half_an_interval(seconds: float, every: float, count: int) -> None:
    found = moments(seconds, every)
    assert len(found) == count and found[0] == every
