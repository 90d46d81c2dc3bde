"""What a worker knows of its lease."""

import pytest

from nowait.jobs.protocol import LEASE
from tasks.jobs.lease import Lease, LeaseLost, TimeLimitExceeded


def test_a_lease_is_lost_when_the_row_could_not_be_written_for_as_long_as_it_lasts() -> None:
    lease = Lease(claimed=100.0, time_limit=3600.0)
    lease.check(100.0 + LEASE - 0.1)
    with pytest.raises(LeaseLost):
        lease.check(100.0 + LEASE)


def test_it_counts_from_when_the_statement_was_sent_that_wrote_the_row() -> None:
    lease = Lease(claimed=100.0, time_limit=3600.0)
    assert lease.is_due(103.0)
    lease.written(103.0, None)
    assert not lease.is_due(105.9)
    lease.check(103.0 + LEASE - 0.1)
    with pytest.raises(LeaseLost):
        lease.check(103.0 + LEASE)


def test_a_lease_whose_row_is_another_attempts_is_lost_at_once() -> None:
    lease = Lease(claimed=100.0, time_limit=3600.0)
    lease.refuse()
    with pytest.raises(LeaseLost):
        lease.check(100.0)


def test_an_attempt_is_over_with_its_time_limit() -> None:
    lease = Lease(claimed=100.0, time_limit=2.0)
    lease.check(101.9)
    assert lease.pause(101.5) == 0.5
    with pytest.raises(TimeLimitExceeded):
        lease.check(102.0)


def test_progress_is_written_once_a_second_and_the_newest_wins() -> None:
    lease = Lease(claimed=100.0, time_limit=3600.0)
    assert not lease.is_due(100.5)
    lease.report(1)
    lease.report(2)
    assert lease.is_due(100.5)
    progress = lease.unreported
    assert progress == (2,)
    lease.report(3)
    lease.written(100.5, progress)
    assert lease.unreported == (3,)
    assert not lease.is_due(101.4)
    assert lease.is_due(101.5)


def test_progress_that_is_written_is_not_written_again() -> None:
    lease = Lease(claimed=100.0, time_limit=3600.0)
    lease.report(None)
    lease.written(100.0, lease.unreported)
    assert lease.unreported is None
    assert not lease.is_due(102.9)


@pytest.mark.parametrize(("now", "pause"), [(100.0, 1.0), (102.5, 0.5), (103.0, 0.25), (110.0, 0.25)])
def test_it_waits_a_second_at_most_and_a_moment_at_least(now: float, pause: float) -> None:
    assert Lease(claimed=100.0, time_limit=3600.0).pause(now) == pause
