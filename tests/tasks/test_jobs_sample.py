"""The sample's jobs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from nowait.jobs.table import State
from tasks.jobs.registry import registry
from tests.tasks.jobs import Table


@pytest.fixture(autouse=True)
def visits(table: Table) -> Iterator[None]:
    """Has the sample's figures be what they were."""
    import tasks.sample  # noqa: F401

    table.execute("CREATE TABLE visits AS SELECT id, visits FROM users WHERE id IN (2, 6)")
    yield
    table.execute("UPDATE users JOIN visits USING (id) SET users.visits = visits.visits")
    table.execute("DROP TABLE visits")


def run(table: Table, name: str, parameters: dict[str, Any]) -> Any:
    """The row of a job that has ended."""
    job_id = table.add(name, parameters=parameters)
    table.attempt(job_id, 1, registry.find(name)).run()
    return table.row(job_id)


def test_it_counts_and_shows_how_far_it_is(table: Table) -> None:
    row = run(table, "slow_count", {"steps": 3, "pause": 0.01})
    assert (row.state, json.loads(row.result)) == (State.SUCCEEDED.value, 3)
    assert row.progress == {"step": 3, "steps": 3}


def test_a_visit_is_added(table: Table) -> None:
    before = table.execute("SELECT visits FROM users WHERE id = 2")[0]
    for number in (1, 2):
        assert json.loads(run(table, "add_visit", {"user": 2}).result) == before + number
    assert table.execute("SELECT visits FROM users WHERE id = 2") == [before + 2]


@pytest.mark.parametrize(
    ("name", "parameters", "kind"),
    [
        ("add_visit", {"user": 4_000_000}, "task-failed"),
        ("add_visit", {"user": 6}, "task-failed"),  # who has as many as the column can hold
        ("add_visit", {"user": 0}, "bad-parameters"),
        ("slow_count", {"steps": 0}, "bad-parameters"),
        ("slow_count", {"steps": 1, "pause": 11}, "bad-parameters"),
        ("slow_count", {}, "bad-parameters"),
    ],
)
def test_what_cannot_be_done_fails(table: Table, name: str, parameters: dict[str, Any], kind: str) -> None:
    row = run(table, name, parameters)
    assert (row.state, row.error["type"]) == ("failed", f"urn:problem-type:nowait:{kind}")
