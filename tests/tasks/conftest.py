"""What the tests of jobs share."""

from collections.abc import Iterator

import pytest

from deploy.local.services import Services
from tests.tasks.jobs import Table, made


@pytest.fixture
def table(services: Services) -> Iterator[Table]:
    """The table of jobs, empty."""
    table = Table(services.database_url)
    with made(table.steps_engine):
        yield table
    table.jobs_engine.dispose()
    table.steps_engine.dispose()
