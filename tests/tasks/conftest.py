"""What the tests of jobs share."""

from collections.abc import Iterator

import pytest

from tests.tasks.jobs import Table, made


@pytest.fixture
def table(database_url: str) -> Iterator[Table]:
    """The table of jobs, empty."""
    table = Table(database_url)
    with made(table.steps_engine):
        yield table
    table.jobs_engine.dispose()
    table.steps_engine.dispose()
