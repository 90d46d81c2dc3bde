"""What a worker owes to its broker: events in, what is due out."""

import pytest

from nowait.amqp.methods import Confirmed
from nowait.messages.outbound import OutboundMessage
from nowait.worker.unsettled import Receipt, Reply, Settlement, Unsettled


@pytest.fixture
def unsettled() -> Unsettled:
    table = Unsettled()
    table.connected()
    return table


def reply(name: str = "a", body: bytes = b"{}") -> Reply:
    return Reply(OutboundMessage("", name, b"", body))


def published(unsettled: Unsettled) -> list[str]:
    return [each.message.routing_key for each in unsettled.to_publish()]


def deliver(unsettled: Unsettled, count: int) -> list[Receipt]:
    return [unsettled.delivered(tag + 1) for tag in range(count)]


def acknowledge(unsettled: Unsettled, *receipts: Receipt, after: Reply | None = None) -> None:
    for receipt in receipts:
        unsettled.settle(Settlement(receipt, "acknowledge", after))


def test_a_run_of_deliveries_is_acknowledged_at_once_and_those_behind_an_open_one_singly(unsettled: Unsettled) -> None:
    first, second, third, fourth, fifth = deliver(unsettled, 5)
    acknowledge(unsettled, fifth, second, first, fourth)
    assert unsettled.acknowledgements() == [(2, True), (4, False), (5, False)]
    acknowledge(unsettled, third)
    assert unsettled.acknowledgements() == [(3, False)]
    assert unsettled.acknowledgements() == []


def test_one_delivery_is_acknowledged_alone(unsettled: Unsettled) -> None:
    acknowledge(unsettled, *deliver(unsettled, 1))
    assert unsettled.acknowledgements() == [(1, False)]


def test_a_rejection_is_in_no_run(unsettled: Unsettled) -> None:
    first, second, third = deliver(unsettled, 3)
    unsettled.settle(Settlement(first, "requeue"))
    unsettled.settle(Settlement(second, "drop"))
    acknowledge(unsettled, third)
    assert unsettled.rejections() == [(1, True), (2, False)]
    assert unsettled.acknowledgements() == [(3, False)]


def test_a_delivery_is_settled_once(unsettled: Unsettled) -> None:
    [receipt] = deliver(unsettled, 1)
    acknowledge(unsettled, receipt, receipt)
    unsettled.settle(Settlement(receipt, "requeue"))
    assert (unsettled.acknowledgements(), unsettled.rejections()) == ([(1, False)], [])


def test_nothing_is_owed_for_the_deliveries_of_a_lost_link(unsettled: Unsettled) -> None:
    early, late = deliver(unsettled, 2)
    acknowledge(unsettled, early)
    unsettled.disconnected(refused=False)
    unsettled.connected()
    acknowledge(unsettled, late)
    [again] = deliver(unsettled, 1)
    assert unsettled.acknowledgements() == []
    acknowledge(unsettled, again)
    assert unsettled.acknowledgements() == [(1, False)]


def test_a_delivery_is_acknowledged_once_its_reply_is_confirmed(unsettled: Unsettled) -> None:
    [receipt], last = deliver(unsettled, 1), reply()
    unsettled.reply(last)
    assert published(unsettled) == ["a"]
    acknowledge(unsettled, receipt, after=last)
    assert unsettled.acknowledgements() == []
    unsettled.confirmed(Confirmed(1, False, True))
    assert unsettled.acknowledgements() == [(1, False)]


def test_a_delivery_is_rejected_once_its_reply_is_confirmed(unsettled: Unsettled) -> None:
    [receipt], last = deliver(unsettled, 1), reply()
    unsettled.reply(last)
    assert published(unsettled) == ["a"]
    unsettled.settle(Settlement(receipt, "drop", last))
    assert unsettled.rejections() == []
    unsettled.confirmed(Confirmed(1, False, True))
    assert (unsettled.rejections(), unsettled.acknowledgements()) == ([(1, False)], [])


def test_a_delivery_whose_reply_is_confirmed_already_is_acknowledged_at_once(unsettled: Unsettled) -> None:
    [receipt], last = deliver(unsettled, 1), reply()
    unsettled.reply(last)
    assert published(unsettled) == ["a"]
    unsettled.confirmed(Confirmed(1, False, True))
    acknowledge(unsettled, receipt, after=last)
    assert unsettled.acknowledgements() == [(1, False)]


@pytest.mark.parametrize(("tag", "multiple", "left"), [(2, True, 1), (2, False, 2), (0, True, 0), (7, False, 3)])
def test_a_confirm_is_of_one_reply_or_of_all_up_to_it(
    unsettled: Unsettled, tag: int, multiple: bool, left: int
) -> None:
    for name in "abc":
        unsettled.reply(reply(name))
    assert published(unsettled) == ["a", "b", "c"]
    assert unsettled.confirmed(Confirmed(tag, multiple, True)) == []
    assert unsettled.replies == left


def test_a_reply_that_its_queue_refuses_is_given_up_and_its_delivery_acknowledged(unsettled: Unsettled) -> None:
    [receipt], last = deliver(unsettled, 1), reply()
    unsettled.reply(last)
    assert published(unsettled) == ["a"]
    acknowledge(unsettled, receipt, after=last)
    assert unsettled.confirmed(Confirmed(1, False, False)) == [last]
    assert (unsettled.acknowledgements(), unsettled.replies) == ([(1, False)], 0)


def test_replies_that_are_not_confirmed_are_published_again_in_their_order(unsettled: Unsettled) -> None:
    for name in "abcd":
        unsettled.reply(reply(name))
    assert published(unsettled) == ["a", "b", "c", "d"]
    unsettled.confirmed(Confirmed(2, False, True))
    unsettled.disconnected(refused=False)
    unsettled.reply(reply("e"))
    assert published(unsettled) == []
    unsettled.connected()
    assert published(unsettled) == ["a", "c", "d", "e"]
    unsettled.confirmed(Confirmed(4, True, True))
    assert unsettled.replies == 0


def test_a_reply_for_which_the_broker_closes_the_link_is_found_and_given_up(unsettled: Unsettled) -> None:
    for name in "abc":
        unsettled.reply(reply(name))
    assert published(unsettled) == ["a", "b", "c"]
    assert unsettled.disconnected(refused=True) == []
    unsettled.connected()
    # One at a time now, until the one is found.
    assert published(unsettled) == ["a"]
    assert published(unsettled) == []
    unsettled.confirmed(Confirmed(1, False, True))
    assert published(unsettled) == ["b"]
    assert [each.message.routing_key for each in unsettled.disconnected(refused=True)] == ["b"]
    unsettled.connected()
    assert published(unsettled) == ["c"]
    unsettled.reply(reply("d"))
    unsettled.confirmed(Confirmed(1, False, True))
    assert published(unsettled) == ["d"]
    assert unsettled.replies == 1


def test_replies_are_published_together_again_once_none_is_suspected(unsettled: Unsettled) -> None:
    for name in "ab":
        unsettled.reply(reply(name))
    assert published(unsettled) == ["a", "b"]
    unsettled.disconnected(refused=True)
    unsettled.connected()
    for name in "cd":
        unsettled.reply(reply(name))
    for tag, expected in enumerate([["a"], ["b"], ["c", "d"]], 1):
        assert published(unsettled) == expected
        unsettled.confirmed(Confirmed(tag, False, True))


def test_it_is_full_by_the_number_of_replies_or_by_their_bytes(unsettled: Unsettled) -> None:
    for _ in range(9_999):
        unsettled.reply(reply())
    assert not unsettled.full
    unsettled.reply(reply())
    assert unsettled.full
    assert len(published(unsettled)) == 10_000 and unsettled.full
    unsettled.confirmed(Confirmed(1, False, True))
    assert not unsettled.full
    unsettled.reply(reply(body=b"x" * 64 * 1024 * 1024))
    assert unsettled.full and "9999 replies" not in repr(unsettled) and "10000 replies" in repr(unsettled)
