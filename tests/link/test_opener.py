"""What opens connections to the broker, and is not needed any more once they are open."""

import gc
import tracemalloc
from collections.abc import Iterator

import kombu
import pytest

from nowait.link.opener import ConnectionLost, SingleOpener

TIMES = 10
_FRAME = 128 * 1024  # bytes: the largest frame, for which py-amqp has a buffer


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The garbage collector does not run, and memory is measured."""
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def taken() -> int:
    return tracemalloc.get_traced_memory()[0]


def test_what_opened_a_connection_leaves_no_buffers_to_the_garbage_collector(vhost: str, uncollected: None) -> None:
    opener = SingleOpener(kombu.Connection(vhost))
    opener.open().close()
    before = taken()
    for _ in range(TIMES):
        opener.open().close()
    assert taken() - before < TIMES * _FRAME / 4


def test_nor_does_one_that_could_not_be_set_up(vhost: str, uncollected: None) -> None:
    opener = SingleOpener(kombu.Connection(vhost))

    def fail() -> None:
        with pytest.raises(ConnectionLost, match="NOT_FOUND"):
            opener.do(lambda channel: channel.queue_declare("no such queue", passive=True))

    fail()
    before = taken()
    for _ in range(TIMES):
        fail()
    assert taken() - before < TIMES * _FRAME / 4
