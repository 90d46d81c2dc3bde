"""Who may send how much at once, by a clock that is an argument."""

from server.webhooks import slots
from server.webhooks.slots import TOTAL, Shares, Slot, Slots


def known(each: Slots, host: str, good: bool) -> None:
    """Have an attempt of a host end."""
    each.end(each.begin(host, 0.0), good, 0.02)


def share(each: Slots, hosts: list[str], now: float) -> Shares:
    """The ids are numbers, as text."""
    return each.share({str(number): host for number, host in enumerate(hosts)}, now)


def begin(each: Slots, hosts: list[str], now: float = 1.0) -> list[Slot]:
    """Take what there is."""
    return [each.begin(hosts[int(number)], now) for number in share(each, hosts, now).begin]


def test_a_good_host_has_four_at_once_and_all_together_twenty() -> None:
    each = Slots()
    for n in range(6):
        known(each, f"good{n}", True)
    assert len(begin(each, ["good0"] * 10)) == 4
    assert len(begin(each, [f"good{n}" for n in range(1, 6) for _ in range(10)])) == 16
    assert each.free == 0
    assert begin(each, ["good5"]) == []


def test_a_host_has_one_at_once_once_it_has_failed_and_two_as_long_as_nothing_is_known_of_it() -> None:
    each = Slots()
    known(each, "bad", False)
    assert len(begin(each, ["bad"] * 3)) == 1
    assert len(begin(each, ["new"] * 3)) == 2


def test_those_that_have_failed_and_those_that_are_new_leave_slots_to_the_good_ones() -> None:
    each = Slots()
    for n in range(50):
        known(each, f"bad{n}", False)
    known(each, "good", True)
    assert len(begin(each, [f"bad{n}" for n in range(50)])) == 6
    assert len(begin(each, [f"new{n}" for n in range(50)])) == 8
    assert len(begin(each, ["good"] * 10)) == 4


def test_a_slot_is_there_again_and_a_host_as_good_as_its_last_answer() -> None:
    each = Slots()
    for slot in begin(each, ["a", "a"]):
        each.end(slot, True, 2.0)
    assert each.free == TOTAL and len(begin(each, ["a"] * 5)) == 4
    other = begin(each, ["b"])[0]
    each.end(other, False, 2.0)
    assert len(begin(each, ["b"] * 5)) == 1


def test_the_more_wait_for_a_host_the_later_they_come_again_in_their_order() -> None:
    each = Slots()
    each.end(each.begin("a", 0.0), True, 2.0)
    # A slot each half a second.
    assert share(each, ["a"] * 12, 3.0) == Shares(
        ["0", "1", "2", "3"], {0.5: ["4"], 1.0: ["5"], 2.0: ["6", "7"], 4.0: ["8", "9", "10", "11"]}
    )
    assert max(share(each, ["a"] * 1000, 3.0).postpone) == slots._LONGEST


def test_a_host_that_hangs_is_known_to_be_slow_before_its_time_is_over() -> None:
    each = Slots()
    assert len(begin(each, ["hangs"] * 2, 0.0)) == 2
    assert share(each, ["hangs"], 0.0) == Shares([], {slots._LEAST: ["0"]})
    assert share(each, ["hangs"], 10.0) == Shares([], {8.0: ["0"]})


def test_a_host_that_has_failed_is_not_looked_at_all_the_time() -> None:
    each = Slots()
    known(each, "bad", False)
    begin(each, ["bad"])
    assert share(each, ["bad"], 1.0) == Shares([], {1.0: ["0"]})


def test_what_is_remembered_is_bounded() -> None:
    each = Slots()
    running = each.begin("first", 0.0)
    for n in range(slots._HOSTS + 100):
        known(each, f"h{n}", True)
    assert len(each._hosts) <= slots._HOSTS + 1
    each.end(running, True, 1.0)
