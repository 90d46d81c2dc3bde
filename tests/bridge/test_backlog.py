"""What waits in a queue, and whether one more would be answered in time."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

import pytest

from nowait.bridge.backlog import Backlog, Backlogs, Shares

RUN = 0.1  # seconds of a task


def answer(backlog: Backlog, each: float, calls: int = 100) -> None:
    """Some calls that were sent at once, and answered one after the other, every so many seconds."""
    places = [backlog.enter("", 0.0) for _ in range(calls)]
    for number, place in enumerate(places, 1):
        backlog.answered(place, RUN + each * number, RUN)
        backlog.leave(place)


def test_where_nobody_has_waited_there_is_room_for_all() -> None:
    backlog = Backlog()
    answer(backlog, 0.0001)
    assert backlog.room(0.001) == float("inf")


def test_there_is_room_for_as_many_as_are_answered_in_three_quarters_of_the_time() -> None:
    backlog = Backlog()
    answer(backlog, 0.1)
    assert backlog.room(2.0) == pytest.approx(15.0, rel=0.02)
    for _ in range(40):
        backlog.enter("", 0.0)
    assert backlog.wait == pytest.approx(4.0, rel=0.02)


def test_calls_that_were_held_up_are_no_queue() -> None:
    backlog = Backlog()
    for _ in range(7):
        place = backlog.enter("", 0.0)
        backlog.answered(place, 60.0, RUN)
        backlog.leave(place)
    assert backlog.room(1.0) == float("inf")


def test_what_runs_at_once_without_waiting_may_always_and_one_more() -> None:
    backlog = Backlog()
    answer(backlog, 2.0)
    assert backlog.room(2.5) < 1
    for calls in (1, 2, 3):
        for place in [backlog.enter("", 0.0) for _ in range(calls)]:
            backlog.answered(place, 2.0, 2.0)
            backlog.leave(place)
        assert backlog.room(2.5) > calls


def test_tasks_that_take_long_are_no_queue_for_what_their_answers_take() -> None:
    backlog = Backlog()
    for number in range(20):
        place = backlog.enter("one", 20.0 * number)
        backlog.answered(place, 20.0 * number + 20.5, 20.0)
        backlog.leave(place)
    assert backlog.room(30.0) == float("inf")


def test_a_worker_that_does_not_say_how_long_tasks_run_has_nothing_refused() -> None:
    backlog = Backlog()
    for _ in range(20):
        place = backlog.enter("", 0.0)
        backlog.answered(place, 10.0, None)
    assert backlog.room(1.0) == float("inf")


def test_calls_that_take_long_while_later_ones_are_answered_are_no_queue() -> None:
    backlog = Backlog()
    slow = [backlog.enter("", 0.0) for _ in range(20)]
    backlog.answered(backlog.enter("", 1.0), 1.0 + RUN, RUN)
    for place in slow:
        backlog.expired(place, 2.0)
    assert backlog.room(1.0) == float("inf")


def test_calls_that_wait_in_vain_while_no_later_one_is_answered_are_one() -> None:
    backlog = Backlog()
    for place in [backlog.enter("", 0.0) for _ in range(20)]:
        backlog.expired(place, 2.0)
    # No faster than what was served: none, so the last one's share of those before it.
    assert backlog.room(2.0) == pytest.approx(0.75 * 2.0 / (2.0 / (19 / 4)))


def test_a_client_whose_calls_take_long_keeps_the_others_out_for_a_moment() -> None:
    backlog = Backlog()
    for _ in range(4):
        for place in [backlog.enter("slow", 0.0) for _ in range(4)]:
            backlog.expired(place, 5.0)
            backlog.leave(place)
    for _ in range(4):
        backlog.enter("slow", 5.0)
    assert backlog.room(5.0) < 4
    assert not backlog.allow("slow", 5.0, 10.0)
    # One is tried, no others meanwhile; it is answered at once.
    assert backlog.allow("fast", 5.0, 10.0)
    assert not backlog.allow("other", 5.0, 10.5)
    place = backlog.enter("fast", 10.0)
    backlog.answered(place, 10.0 + RUN, RUN)
    backlog.leave(place)
    assert backlog.room(5.0) > 100 and backlog.allow("other", 5.0, 10.5)


def simulate(rate: float, wait: float, threads: Callable[[float], int], until: float) -> tuple[Counter[int], int]:
    """Calls at a constant rate for a queue whose messages expire with them.

    Args:
        rate: calls a second.
        wait: seconds that each of them is given.
        threads: how many there are at a moment.
        until: when the last one is sent.

    Returns by second how many were answered in time; and how many tasks ran in vain.
    """
    backlog = Backlog()
    waiting: deque[tuple[float, int]] = deque()
    events: list[tuple[float, int, str]] = []  # a heap: sent, done or expired
    places, sent, answered, in_vain, running = {}, 0, Counter[int](), 0, 0

    def numbers() -> Iterator[int]:
        yield from range(int(rate * until))

    for number in numbers():
        heappush(events, (number / rate, number, "sent"))
    while events:
        now, number, kind = heappop(events)
        if kind == "sent":
            if not backlog.allow("", wait, now):
                continue
            sent += 1
            places[number] = backlog.enter("", now)
            waiting.append((now + wait, number))
            heappush(events, (now + wait, number, "expired"))
        elif kind == "done":
            running -= 1
            if number in places:
                backlog.answered(places[number], now, RUN)
                backlog.leave(places.pop(number))
                answered[int(now)] += 1
            else:
                in_vain += 1
        elif number in places:
            backlog.expired(places[number], now)
            backlog.leave(places.pop(number))
        while waiting and running < threads(now):
            deadline, number = waiting.popleft()
            if deadline > now:
                running += 1
                heappush(events, (now + RUN, number, "done"))
    return answered, in_vain


@pytest.mark.parametrize(("rate", "wait"), [(48, 2.0), (120, 2.0), (120, 30.0), (400, 2.0)])
def test_of_more_calls_than_can_be_answered_as_many_are_answered_as_can_be(rate: float, wait: float) -> None:
    answered, in_vain = simulate(rate, wait, lambda now: 4, 60.0)  # 40 a second
    assert min(answered[second] for second in range(3, 60)) >= 39
    assert in_vain < 10


def test_where_workers_are_lost_the_others_soon_answer_as_many_as_they_can() -> None:
    answered, _ = simulate(120, 2.0, lambda now: 4 if now < 20 else 1, 60.0)
    assert min(answered[second] for second in range(23, 60)) == 10


def test_where_workers_come_the_queue_has_more_room_at_once() -> None:
    answered, _ = simulate(120, 2.0, lambda now: 1 if now < 20 else 8, 60.0)
    assert min(answered[second] for second in range(21, 60)) == 80


def test_one_client_leaves_room_for_others() -> None:
    shares = Shares()
    while shares.allow("flood", 16):
        shares.enter("flood")
    assert len(shares) == 14
    assert shares.allow("calm", 16)
    for _ in range(2):
        shares.enter("calm")
    assert not shares.allow("calm", 16) and not shares.allow("third", 16)


def test_of_several_who_want_all_the_room_each_gets_a_share() -> None:
    shares, waiting = Shares(), deque[str]()
    counts = Counter[str]()
    for turn in range(10_000):
        # Ten times as many of one as of the other; one call is answered in each turn.
        for client in ["flood"] * 10 + ["calm"]:
            if shares.allow(client, 64):
                shares.enter(client)
                waiting.append(client)
        client = waiting.popleft()
        shares.leave(client)
        counts[client] += 1
    assert counts["calm"] > 3_000


def test_nobody_in_particular_gets_what_room_there_is() -> None:
    shares = Shares()
    while shares.allow("", 16):
        shares.enter("")
    assert len(shares) == 16
    for _ in range(16):
        shares.leave("")
    assert len(shares) == 0 and shares.allow("flood", 1)


def test_queues_in_which_nothing_waits_are_forgotten() -> None:
    backlogs = Backlogs()
    busy = backlogs.of("busy")
    busy.enter("", 0.0)
    idle = backlogs.of("idle")
    for number in range(1000):
        backlogs.of(f"another {number}")
    assert backlogs.of("busy") is busy and backlogs.of("idle") is not idle
