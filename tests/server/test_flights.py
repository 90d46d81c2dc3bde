"""Which callers wait for which call, without calls: the clock is that of a simulation."""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.answers.flights import Flight, Flights

# What happens at the same moment happens in this order.
COMES, ANSWERED, TIMED_OUT, DEADLINE, LEFT = range(5)


@dataclass(eq=False)
class Caller:
    """Comes at a time, and waits for so many seconds, or fewer if it leaves before."""

    arrival: float
    wait: float
    leaves: float | None = None
    alone: bool = False
    key: str = "a"
    end: int | None = None
    ended: float = 0.0
    sent: float = 0.0  # when the call was sent that has answered it

    @property
    def deadline(self) -> float:
        return self.arrival + self.wait


@dataclass
class Simulation:
    """Calls that all take as long."""

    duration: float
    flights: Flights[str, Any] = field(default_factory=Flights)
    sent: dict[Flight[str, Any], float] = field(default_factory=dict)  # those under way, and when each was sent
    calls: int = 0
    most: int = 0  # calls under way at once
    events: list[tuple[float, int, int, Any]] = field(default_factory=list)
    order: "count[int]" = field(default_factory=count)

    def run(self, callers: list[Caller]) -> None:
        waiting: dict[Caller, Flight[str, Any]] = {}
        for caller in callers:
            self._at(caller.arrival, COMES, caller)
        while self.events:
            now, what, _, of = heappop(self.events)
            if what == COMES:
                waiting[of], new = self.flights.board(of.key, of, of.deadline, now, of.alone)
                self._at(of.deadline, DEADLINE, of)
                if of.leaves is not None:
                    self._at(now + of.leaves, LEFT, of)
                if new:
                    self._send(waiting[of], now)
            elif what in (DEADLINE, LEFT):
                if of.end is None:
                    self._end(of, waiting[of], what, now)
            elif of in self.sent:
                self._ended(of, what, now)

    def _ended(self, flight: Flight[str, Any], what: int, now: float) -> None:
        sent = self.sent.pop(flight)
        if what == TIMED_OUT and (left := self.flights.timed_out(flight, now)) is not None:
            assert left == flight.given
            self._send(flight, now)
            return
        self.flights.land(flight)
        for caller in list(flight.deadlines):
            caller.sent = sent
            self._end(caller, flight, what, now)

    def _send(self, flight: Flight[str, Any], now: float) -> None:
        self.sent[flight] = now
        self.calls += 1
        self.most = max(self.most, len(self.sent))
        what = ANSWERED if self.duration <= flight.given else TIMED_OUT
        self._at(now + min(self.duration, flight.given), what, flight)

    def _end(self, caller: Caller, flight: Flight[str, Any], what: int, now: float) -> None:
        caller.end, caller.ended = what, now
        if self.flights.leave(flight, caller):
            self.sent.pop(flight, None)

    def _at(self, when: float, what: int, of: Any) -> None:
        heappush(self.events, (when, what, next(self.order), of))


# Sixty-fourths: sums and differences of them are exact.
moments = st.integers(0, 640).map(lambda number: number / 64)
waits = st.integers(1, 640).map(lambda number: number / 64)


def callers(**fixed: Any) -> st.SearchStrategy[list[Caller]]:
    usual = dict(
        arrival=moments, wait=waits, leaves=st.none() | moments, alone=st.booleans(), key=st.sampled_from("ab")
    )
    return st.lists(st.builds(Caller, **{**usual, **fixed}), max_size=12)


@given(callers(), waits)
def test_nobodys_time_ends_before_its_own_deadline(given_callers: list[Caller], duration: float) -> None:
    Simulation(duration).run(given_callers)
    for caller in given_callers:
        assert caller.end is not None and caller.arrival <= caller.ended <= caller.deadline
        assert caller.end in (ANSWERED, LEFT) or caller.ended == caller.deadline


@given(callers(leaves=st.none()), waits)
def test_who_would_have_been_answered_by_a_call_of_its_own_is_answered_as_soon(
    given_callers: list[Caller], duration: float
) -> None:
    Simulation(duration).run(given_callers)
    for caller in given_callers:
        if duration <= 0.9 * caller.wait:
            assert caller.end == ANSWERED and caller.ended <= caller.arrival + duration


@given(callers(), waits)
def test_an_answer_came_behind_its_request_and_one_of_its_own_was_asked_for_behind_it(
    given_callers: list[Caller], duration: float
) -> None:
    Simulation(duration).run(given_callers)
    for caller in given_callers:
        if caller.end == ANSWERED:
            assert caller.ended == caller.sent + duration >= caller.arrival
            assert caller.sent >= caller.arrival or not caller.alone


@given(callers(alone=st.just(False), wait=st.just(5.0), key=st.just("a")), waits)
def test_of_those_with_as_much_time_one_call_is_under_way(given_callers: list[Caller], duration: float) -> None:
    simulation = Simulation(duration)
    simulation.run(given_callers)
    # Of those whose time ends with their call, a second one may go on.
    assert simulation.most <= (1 if duration <= 5.0 else 2)


@given(callers(), waits)
def test_nothing_is_left_behind(given_callers: list[Caller], duration: float) -> None:
    simulation = Simulation(duration)
    simulation.run(given_callers)
    assert len(simulation.flights) == 0 and not simulation.sent
    assert simulation.calls <= 2 * len(given_callers)


def test_a_caller_with_more_time_does_not_wait_for_a_call_with_less() -> None:
    flights: Flights[str, Any] = Flights()
    short, new = flights.board("a", "first", deadline=102.0, now=100.0)
    assert new and short.given == 2.0
    long, new = flights.board("a", "second", deadline=130.0, now=100.0)
    assert new and long is not short and long.given == 30.0
    # Others wait for the one with more time.
    assert flights.board("a", "third", deadline=101.0, now=100.0) == (long, False)
    assert flights.board("a", "fourth", deadline=131.0, now=101.5) == (long, False)


def test_a_call_whose_time_is_over_is_sent_again_once_for_all_who_have_time_left() -> None:
    flights: Flights[str, Any] = Flights()
    flight, _ = flights.board("a", "first", deadline=130.0, now=100.0)
    for number in range(1, 30):
        assert flights.board("a", number, deadline=130.0 + number, now=100.0 + number) == (flight, False)
    assert not flights.leave(flight, "first")
    assert flights.timed_out(flight, 130.0) == 29.0
    for number in range(1, 30):
        flights.leave(flight, number)
    assert flights.timed_out(flight, 159.0) is None
    assert flights.board("a", "last", deadline=189.0, now=159.0)[1]


def test_a_call_that_is_too_late_before_its_time_is_not_sent_again() -> None:
    flights: Flights[str, Any] = Flights()
    flight, _ = flights.board("a", "first", deadline=130.0, now=100.0)
    assert flights.timed_out(flight, 129.9) is None
    assert flights.board("a", "second", deadline=130.0, now=129.9)[1]


def test_one_that_is_so_by_a_clock_that_is_ahead_is_for_those_with_time_left() -> None:
    flights: Flights[str, Any] = Flights()
    flight, _ = flights.board("a", "first", deadline=130.0, now=100.0)
    flights.board("a", "second", deadline=159.0, now=129.0)
    assert flights.timed_out(flight, 129.9) == pytest.approx(29.1)
    # Before the last tenth, and when nobody has more than it was given, it is not.
    assert flights.timed_out(flight, 156.0) is None
    flight, _ = flights.board("b", "first", deadline=130.0, now=100.0)
    assert flights.timed_out(flight, 129.9) is None
