"""A parallel run, `pytest -n 3`: one broker and one database for all of its processes, with a part of its own for each.

The process that starts the others owns both services: they are there before the first test runs, and end with that
process, however it ends (see deploy.local.process). A part is a virtual host, a database and an account that sees
nobody else's queries, so that no test can tell that another one runs beside it.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest
from xdist.scheduler import LoadFileScheduling

from deploy.local import sample
from deploy.local.errors import LocalError
from deploy.local.services import Services
from nowait.jobs.migrations import migrate
from tests import vhosts

# These share the hosts of a page, which take minutes to set up.
_HOSTS = ("tests/faults/test_accounts.py", "tests/faults/test_hosts.py")
# These measure times, or what memory is taken: one process runs them, one after the other.
MEASURED = (
    "tests/faults/test_broker.py", "tests/faults/test_cluster.py", "tests/faults/test_connections.py",
    "tests/faults/test_database.py", "tests/faults/test_frames.py", "tests/faults/test_load.py",
    "tests/faults/test_messages.py", "tests/faults/test_network.py", "tests/faults/test_overload.py",
    "tests/faults/test_queues.py", "tests/faults/test_readers.py", "tests/faults/test_slow_clients.py",
    "tests/capacity/test_real.py",
)  # fmt: skip
# These measure minutes, in which they hardly do anything: they run beside those.
WAITING = (
    "tests/faults/jobs/test_away.py", "tests/faults/jobs/test_keys.py", "tests/faults/jobs/test_takeover.py",
    "tests/faults/jobs/test_waiting.py", "tests/faults/jobs/test_webhooks.py",
)  # fmt: skip


class ByFile(LoadFileScheduling):
    """One process runs a file, or those that share what takes minutes or a quiet machine, one after the other."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "hosts" if file in _HOSTS else "measured" if file in MEASURED else file


def owns(config: pytest.Config) -> bool:
    """True in the process that starts the others."""
    return config.getoption("dist", "no") != "no" and not config.option.collectonly


class Owner:
    """A plugin of the process that starts the others.

    Args:
        services: where all tests of the run find broker and database; not started yet.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pickled = pickle.dumps(services)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Start the broker, which takes longest: meanwhile the other processes start and collect."""
        with _exits():
            if self._services.broker is not None:
                self._services.broker.start()

    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["services"] = self._pickled

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        with _exits():
            if self._services.database is not None:
                self._services.database.start()
                self._services.database.wait_ready()
            if self._services.broker is not None:
                self._services.broker.wait_ready()

    def pytest_unconfigure(self) -> None:
        self._services.stop()


@contextmanager
def _exits() -> Iterator[None]:
    """End the run with one line when a service cannot be had."""
    try:
        yield
    except LocalError as error:
        pytest.exit(str(error), 1)


def part(config: pytest.Config) -> Services | None:
    """The services as one of several processes has them, with sample data and table of jobs; None in one alone."""
    given = getattr(config, "workerinput", {})
    if "services" not in given:
        return None
    services: Services = pickle.loads(given["services"])
    name: str = given["workerid"]
    if services.broker is not None:
        vhosts.add(services.broker, [name])
        services.broker_url = vhosts.url(services.broker, name)
    if services.database is not None:
        root = pymysql.connect(
            unix_socket=str(services.database.directory / "data/database.sock"), user="root",
            password=urlsplit(services.database.url).password or "",
        )  # fmt: skip
        with root, root.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            cursor.execute(f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1' IDENTIFIED BY '{name}'")
        services.database_url = f"mysql://{name}:{name}@127.0.0.1:{services.database.port}/{name}"
    sample.load(services.database_url)
    migrate(services.database_url)
    return services
