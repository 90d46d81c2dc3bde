"""Who is on which channel, event by event."""

import pytest

from nowait.bridge.channels import Channels, error_of
from nowait.errors import Overloaded, Refused, Unroutable


def opened(*holders: str) -> Channels[str]:
    channels: Channels[str] = Channels(last=2047)
    for holder in holders:
        channels.opened(channels.take(), holder)
    return channels


def test_each_holder_has_a_channel_of_its_own_but_the_first() -> None:
    channels = opened("a", "b")
    assert (channels.on(1), channels.on(2), channels.on(3), channels.on(4)) == (None, "a", "b", None)
    assert list(channels) == ["a", "b"]


def test_a_number_is_used_again_only_once_the_broker_has_closed_the_channel() -> None:
    channels = opened("a")
    assert channels.close(2) is True
    assert (channels.on(2), len(channels), channels.take()) == (None, 0, 3)
    channels.closed(2)
    assert channels.take() == 2


def test_what_is_closed_is_not_closed_again() -> None:
    channels = opened("a")
    channels.close(2)
    assert channels.close(2) is False
    channels.closed(2)
    channels.closed(2)
    assert (channels.take(), channels.take()) == (2, 3)


def test_a_channel_that_the_broker_closes_is_its_holders_loss() -> None:
    channels = opened("a", "b")
    assert channels.lost(2) == "a"
    assert (channels.close(2), channels.take(), list(channels)) == (False, 2, ["b"])


def test_a_channel_that_both_close_is_free_after_the_brokers_answer() -> None:
    channels = opened("a")
    channels.close(2)
    assert channels.lost(2) is None
    assert channels.take() == 3
    channels.closed(2)
    assert channels.take() == 2


def test_channels_are_bounded() -> None:
    channels = opened(*map(str, range(2046)))
    with pytest.raises(Overloaded):
        channels.take()


def test_a_queue_that_is_missing_is_unroutable_and_all_else_refused() -> None:
    assert type(error_of(404, "NOT_FOUND")) is Unroutable
    assert type(error_of(403, "ACCESS_REFUSED")) is Refused
