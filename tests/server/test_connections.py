"""How many connections there may be, and which one is given up."""

import pytest

from server.http.connections import Connections


class Connection:
    def __init__(self, name: str) -> None:
        self.name = name
        self.open = True

    def __repr__(self) -> str:
        return self.name

    def closed(self) -> bool:
        return not self.open


@pytest.fixture
def connections() -> Connections[Connection]:
    return Connections(2)


def opened(connections: Connections[Connection], name: str, now: float = 0.0) -> Connection:
    connection = Connection(name)
    connections.opened(connection, now)
    return connection


def asks(connections: Connections[Connection], connection: Connection) -> None:
    connections.began(connection)
    connections.got(connection)


def test_there_are_as_many_as_may_be(connections: Connections[Connection]) -> None:
    a = opened(connections, "a")
    assert not connections.full
    opened(connections, "b")
    assert connections.full
    a.open = False
    connections.ended(a)
    assert not connections.full and len(connections) == 1


def test_the_one_is_given_up_that_has_waited_longest(connections: Connections[Connection]) -> None:
    a, b = opened(connections, "a"), opened(connections, "b", 0.1)
    assert connections.give_up(0.9) is None
    asks(connections, a)
    connections.waits(a, 0.5)
    assert [connections.give_up(5.0) for _ in range(3)] == [b, a, None]
    assert len(connections) == 0


def test_one_that_is_being_answered_is_not_given_up(connections: Connections[Connection]) -> None:
    asks(connections, opened(connections, "a"))
    assert connections.give_up(100.0) is None


def test_one_whose_request_has_come_in_part_is(connections: Connections[Connection]) -> None:
    a = opened(connections, "a")
    connections.began(a)
    assert connections.give_up(100.0) is a


def test_a_new_one_has_10_seconds_for_its_first_request(connections: Connections[Connection]) -> None:
    a, b, c = opened(connections, "a"), opened(connections, "b", 1.0), opened(connections, "c", 2.0)
    connections.began(b)
    assert [*connections.overdue(9.9)] == []
    assert [*connections.overdue(11.9)] == [a]
    assert [*connections.overdue(100.0)] == [c]
    assert len(connections) == 1


def test_one_that_has_become_a_websocket_counts_until_it_is_closed(connections: Connections[Connection]) -> None:
    a, _ = opened(connections, "a"), opened(connections, "b")
    asks(connections, a)
    connections.ended(a)
    assert connections.full
    a.open = False
    assert [*connections.overdue(0.0)] == []
    assert not connections.full


def test_what_is_closed_as_it_is_given_up_is_forgotten(connections: Connections[Connection]) -> None:
    a = opened(connections, "a")
    assert connections.give_up(2.0) is a
    connections.waits(a, 2.0)
    connections.ended(a)
    assert len(connections) == 0 and connections.give_up(100.0) is None


def test_a_request_is_under_way_from_when_all_of_it_has_come_until_the_next_is_awaited(
    connections: Connections[Connection],
) -> None:
    a = opened(connections, "a")
    connections.began(a)
    assert connections.under_way() == []
    connections.got(a)
    assert connections.under_way() == [a]
    connections.waits(a, 1.0)
    assert connections.under_way() == []
    asks(connections, a)
    connections.ended(a)
    assert connections.under_way() == []


def test_what_comes_by_one_that_was_given_up_is_not_under_way(connections: Connections[Connection]) -> None:
    a = opened(connections, "a")
    assert connections.give_up(2.0) is a
    connections.got(a)
    assert connections.under_way() == []
