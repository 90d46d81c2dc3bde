"""What Celery documents for its workers stays true with Nowait's consumer: a table, each line of which is run with both.

A line is what a user sees, stated, and the function that looks. It is run with Celery's own consumer, with
nowait.worker:Consumer, and with nowait.worker:Results besides; what they show has to be what is stated.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.conftest import Start
from tests.worker.side import Side

pytestmark = pytest.mark.xdist_group("same_as_celery")

CELERYS = "celery.worker.consumer:Consumer"
OURS = "nowait.worker:Consumer"
# The workers that each line is run with: consumer and result backend.
SIDES = {
    "Celery's": {"test_consumer": CELERYS, "test_backend": "rpc://"},
    "ours": {"test_consumer": OURS, "test_backend": "rpc://"},
    "ours, with Results": {"test_consumer": OURS, "test_backend": "nowait.worker:Results"},
}
# Two tasks run at a time, and two more are fetched.
POOLS = {"threads": ["-P", "threads", "-c", "2"], "solo": ["-P", "solo"]}

Scenario = Callable[[Side], Any]


class Line(NamedTuple):
    """A line of the table."""

    sees: Any
    scenario: Scenario
    pools: tuple[str, ...]


TABLE: list[Line] = []


def line(sees: Any, *, solo: bool = False) -> Callable[[Scenario], Scenario]:
    """A line of the table, for the pool threads; for the pool solo, too, where that is said."""

    def add(scenario: Scenario) -> Scenario:
        TABLE.append(Line(sees, scenario, ("threads", "solo") if solo else ("threads",)))
        return scenario

    return add


# Results and states.


@line(("SUCCESS", 5), solo=True)
def a_result(side: Side) -> Any:
    return side.outcome(side.send("add", 2, 3))


@line(("FAILURE", "LookupError('a reason', 5)"), solo=True)
def an_exception(side: Side) -> Any:
    return side.outcome(side.send("fail", "a reason", 5))


@line([("PROGRESS", {"step": 0}), ("PROGRESS", {"step": 1}), ("SUCCESS", 2)], solo=True)
def states_of_the_tasks_own(side: Side) -> Any:
    return side.states(side.send("progress", 2))


# Signals.


@line(["received", "prerun", "success", "postrun"], solo=True)
def signals_of_a_success(side: Side) -> Any:
    side.send("add", 2, 3, task_id="signals-success")
    return side.kinds("signals-success", "postrun")


@pytest.fixture(scope="module")
def sides(new_vhosts: Iterator[str], start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The workers of a pool, `sides(pool)`: started once, and all at a time."""
    started: dict[str, dict[str, Side]] = {}

    def sides(pool: str) -> dict[str, Side]:
        if pool not in started:
            started[pool] = {
                name: Side(start, next(new_vhosts), tmp_path_factory.mktemp("side"), "-E", *POOLS[pool], **settings)
                for name, settings in SIDES.items()
            }
        return {name: side.ready() for name, side in started[pool].items()}

    yield sides
    for side in [side for pool in started.values() for side in pool.values()]:
        side.close()


@pytest.mark.parametrize(
    ("pool", "row"),
    [pytest.param(pool, row, id=f"{pool}-{row.scenario.__name__}") for row in TABLE for pool in row.pools],
)
def test_a_worker_keeps_celerys_promises(pool: str, row: Line, sides: Callable[[str], dict[str, Side]]) -> None:
    seen = {name: side.do(row.scenario) for name, side in sides(pool).items()}
    assert {name: future.result() for name, future in seen.items()} == dict.fromkeys(SIDES, row.sees)
