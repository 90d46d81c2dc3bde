"""Who may send how much at once, by a clock that is an argument."""

import heapq
from collections.abc import Callable

import pytest

from server.webhooks import slots
from server.webhooks.slots import IN_TIME, MOST, Shares, Slot, Slots


def begin(each: Slots[str], hosts: list[str], now: float = 1.0) -> list[Slot]:
    """Begin what there is room for; returns what has a slot."""
    for delivery in share(each, hosts, now).begin:
        each.wait(hosts[int(delivery)], delivery, now)
    return [slot for _, slot in each.take(now)]


def known(each: Slots[str], host: str, good: bool, seconds: float = 0.02) -> None:
    """Have an attempt of a host end."""
    each.wait(host, "known", 0.0)
    ((_, slot),) = each.take(0.0)
    each.end(slot, good, seconds)


def share(each: Slots[str], hosts: list[str], now: float, unanswered: set[str] = set()) -> Shares:
    """The ids are numbers, as text."""
    return each.share({str(number): host for number, host in enumerate(hosts)}, now, unanswered)


def test_a_good_host_has_four_at_once_and_all_together_twenty() -> None:
    each: Slots[str] = Slots()
    for n in range(6):
        known(each, f"good{n}", True)
    assert len(begin(each, ["good0"] * 10)) == 4
    assert len(begin(each, [f"good{n}" for n in range(1, 6) for _ in range(10)])) == 16
    assert begin(each, ["good5"]) == []
    assert each.room == MOST - 61


def test_a_host_has_one_at_once_once_it_has_failed_and_two_as_long_as_nothing_is_known_of_it() -> None:
    each: Slots[str] = Slots()
    known(each, "bad", False)
    known(each, "slow", True, IN_TIME + 1)
    assert share(each, ["bad"] * 3, 1.0).begin == share(each, ["slow"] * 3, 1.0).begin == ["0"]
    assert share(each, ["new"] * 3, 1.0).begin == ["0", "1"]


def test_a_host_that_only_its_deliveries_know_has_failed_when_these_have_no_answer() -> None:
    each: Slots[str] = Slots()
    known(each, "good", True)
    assert share(each, ["hangs"] * 3, 1.0, {"0", "1"}).begin == ["0"]
    assert share(each, ["good"] * 3, 1.0, {"0", "1"}).begin == ["0", "1", "2"]


def test_those_that_have_failed_and_those_that_are_new_leave_slots_to_the_good_ones() -> None:
    each: Slots[str] = Slots()
    for n in range(50):
        known(each, f"bad{n}", False)
    known(each, "good", True)
    assert len(begin(each, [f"bad{n}" for n in range(50)])) == 6
    assert len(begin(each, [f"new{n}" for n in range(50)])) == 8
    assert len(begin(each, ["good"] * 10)) == 4


def test_a_slot_is_there_again_and_a_host_as_good_as_its_last_answer() -> None:
    each: Slots[str] = Slots()
    for slot in begin(each, ["a", "a"]):
        each.end(slot, True, 1.1)
    assert each.room == MOST and len(begin(each, ["a"] * 5)) == 4
    other = begin(each, ["b"])[0]
    each.end(other, False, 2.0)
    assert len(begin(each, ["b"] * 5)) == 1


def test_for_a_good_host_as_many_begin_as_it_takes_in_a_second() -> None:
    each: Slots[str] = Slots()
    for seconds, expected in ((0.02, slots._AHEAD), (0.1, 40), (0.5, 8), (3.0, 4)):
        known(each, "good", True, seconds)
        assert len(share(each, ["good"] * 200, 1.0).begin) == expected
    for n in range(5):
        known(each, f"good{n}", True)
    assert len(share(each, [f"good{n}" for n in range(5) for _ in range(200)], 1.0).begin) == MOST


def test_what_waits_gets_its_slot_in_turn() -> None:
    each: Slots[str] = Slots()
    known(each, "good", True)
    running = begin(each, ["good"] * 6)
    each.end(running[0], True, 1.1)
    assert [what for what, _ in each.take(1.1)] == ["4"]
    assert each.take(1.1) == []


def test_what_waits_for_a_host_that_fails_is_left_to_its_lease_and_so_is_what_waits_for_long() -> None:
    each: Slots[str] = Slots()
    for host in ("one", "two"):
        known(each, host, True)
    first = begin(each, ["one"] * 50)
    second = begin(each, ["two"] * 50)
    each.end(first[0], False, 2.0)
    assert each.room == MOST - 3 - 50 and each.take(2.0) == []
    assert each.take(1.0 + slots._PATIENCE + 1) == [] and each.room == MOST - 3 - 4
    for slot in (*first[1:], *second):
        each.end(slot, True, 3.0)
    assert each.room == MOST


def test_the_more_wait_for_a_host_the_later_they_come_again_in_their_order() -> None:
    each: Slots[str] = Slots()
    known(each, "a", True, 2.0)
    # A slot each half a second.
    assert share(each, ["a"] * 12, 3.0) == Shares(
        ["0", "1", "2", "3"], {2.0: ["4"], 4.0: ["5", "6", "7", "8"], 8.0: ["9", "10", "11"]}
    )
    assert max(share(each, ["a"] * 1000, 3.0).postpone) == slots._LONGEST


@pytest.mark.parametrize("good", [True, False])
def test_a_host_that_becomes_another_owes_nothing(good: bool) -> None:
    each: Slots[str] = Slots()
    known(each, "a", good, 2.0)
    share(each, ["a"] * 1000, 3.0)
    known(each, "a", not good, 0.1)
    assert min(share(each, ["a"] * 42, 3.0).postpone) == 1.0


def test_a_host_that_hangs_is_known_to_be_slow_before_its_time_is_over() -> None:
    each: Slots[str] = Slots()
    assert len(begin(each, ["hangs"] * 2, 0.0)) == 2
    assert share(each, ["hangs"], 0.0) == Shares([], {slots._LEAST: ["0"]})
    assert share(each, ["hangs"], 10.0) == Shares([], {16.0: ["0"]})


def test_a_host_that_has_failed_is_not_looked_at_all_the_time() -> None:
    each: Slots[str] = Slots()
    known(each, "bad", False)
    begin(each, ["bad"])
    assert share(each, ["bad"], 1.0) == Shares([], {1.0: ["0"]})


def test_what_is_remembered_is_bounded() -> None:
    each: Slots[str] = Slots()
    (running,) = begin(each, ["first"])
    for n in range(slots._HOSTS + 100):
        known(each, f"h{n}", True)
    assert len(each._hosts) <= slots._HOSTS + 1
    each.end(running, True, 1.0)


def test_names_without_an_attempt_push_out_no_host_that_answers() -> None:
    each: Slots[str] = Slots()
    known(each, "good", True)
    begin(each, [f"first{n}" for n in range(8)])
    for n in range(slots._HOSTS + 100):
        assert share(each, [f"h{n}"], 1.0).begin == []
    assert each._hosts["good"].standing is slots.Standing.GOOD


def test_a_name_without_an_attempt_waits_longer_and_longer_too() -> None:
    each: Slots[str] = Slots()
    begin(each, [f"first{n}" for n in range(8)])
    pauses = [max(share(each, ["new"] * 200, 1.0).postpone) for _ in range(5)]
    assert pauses == sorted(pauses) and pauses[-1] > 2 * pauses[0]


def delays(arrivals: list[float], answers: Callable[[float], tuple[bool, float]]) -> list[float]:
    """Seconds from the first moment at which deliveries to one host are due until each is answered well.

    As the deliverer goes about it: a look each half a second, and the next at once while there may be more.

    Args:
        arrivals: when they are due first, in order.
        answers: by the moment of an attempt, whether there is an answer, and its seconds.
    """
    each: Slots[str] = Slots()
    due = [(at, number) for number, at in enumerate(arrivals)]
    sending: list[tuple[float, int, bool, Slot]] = []
    found: dict[int, float] = {}
    look, now = 0.0, 0.0
    while len(found) < len(arrivals):
        now = min([look, *(ends for ends, *_ in sending[:1])])
        if sending and sending[0][0] <= now:
            _, number, good, slot = heapq.heappop(sending)
            each.end(slot, good, now)
            if good:
                found[number] = now - arrivals[number]
            else:
                heapq.heappush(due, (now + 5.0, number))
        else:
            seen = [heapq.heappop(due)[1] for _ in range(200) if due and due[0][0] <= now]
            shares = each.share({str(number): "host" for number in seen}, now)
            for seconds, ids in shares.postpone.items():
                for delivery in ids:
                    heapq.heappush(due, (now + seconds, int(delivery)))
            for delivery in shares.begin:
                each.wait("host", delivery, now)
            look = now + (0.01 if len(seen) == 200 else min([0.5, *shares.postpone]))
        for delivery, slot in each.take(now):
            good, seconds = answers(now)
            heapq.heappush(sending, (now + seconds, int(delivery), good, slot))
        waiting = {each.what for each in each._waiting}
        known = {number for _, number in due} | {number for _, number, _, _ in sending} | found.keys()
        # What was dropped comes again.
        for number in range(len(arrivals)):
            if number not in known and str(number) not in waiting:
                heapq.heappush(due, (now + 60.0, number))
    return sorted(found.values())


def good(now: float) -> tuple[bool, float]:
    return True, 0.02


def test_a_good_host_gets_a_thousand_in_seconds() -> None:
    assert delays([0.0] * 1000, good)[-1] < 15.0


def test_a_good_host_keeps_up_with_half_of_what_it_can_take() -> None:
    found = delays([number / 100 for number in range(1000)], good)
    assert found[len(found) * 99 // 100] < 2.0


def test_a_host_that_is_back_has_all_of_it_soon() -> None:
    """It hangs for a minute, at ten each second."""
    found = delays([number / 10 for number in range(1000)], lambda now: (False, 15.0) if now < 60 else good(now))
    assert found[-1] < 60.0 + 2 * slots._LONGEST
    assert found[len(found) // 3] < 2.0  # of those that came behind it
