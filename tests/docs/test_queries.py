"""docs/queries.md followed: its query, its task and its route are added to a copy of the tree, and answer."""

import re
import sys
from pathlib import Path

import pytest

from deploy.local.process import free_port
from deploy.local.services import Services
from nowait.jobs.retry import Retry
from tasks.catalogue import load
from tests.conftest import printed, ready
from tests.docs.conftest import Launch
from tests.docs.pages import PAGES, blocks, files, requests
from tests.docs.test_readme import assert_answered
from tests.http import fetch

PAGE = "docs/queries.md"


def add_query(folder: Path) -> None:
    """Write the query of the page."""
    (folder / "flags.sql").write_text(blocks(PAGE, "sql")[0])
    (folder / "flags.toml").write_text(blocks(PAGE, "toml")[0])


def add_task(checkout: Path) -> None:
    """Write the task and the route of the page, and change `make_app` as it describes."""
    with (checkout / "tasks/queries.py").open("a") as file:
        file.write(files(PAGE)["tasks/queries.py"])
    (checkout / "server/routes/count.py").write_text(files(PAGE)["server/routes/count.py"])
    ((added, before),) = re.findall(r"`(\w+)`, behind `(\w+)`\. Restart", PAGES[PAGE])
    app = checkout / "server/app.py"
    changed, times = re.subn(rf"modules: list\[Any\] = \[.*?\b{before}\b", rf"\g<0>, {added}", app.read_text())
    assert times == 1
    app.write_text(f"from server.routes import count\n{changed}")


@pytest.fixture
def url(checkout: Path, vhost: str, services: Services, launch: Launch) -> str:
    """The URL of a stack with all that the page adds."""
    add_query(checkout / "tasks/sql")
    add_task(checkout)
    worker = launch(
        "worker", sys.executable, *"-m celery -A tasks worker -P threads -c 4 -l INFO".split(), cwd=checkout,
        NOWAIT_BROKER_URL=vhost, NOWAIT_DATABASE_URL=services.database_url,
    )  # fmt: skip
    worker.wait_until(lambda: " ready." in printed(worker), 60.0)
    port = free_port()
    server = launch(
        "server", sys.executable, "-m", "server", cwd=checkout, NOWAIT_BROKER_URL=vhost, NOWAIT_PORT=str(port)
    )
    return ready(server, port)


def test_what_the_page_adds_is_served(url: str) -> None:
    assert fetch(f"{url}/users/count").json() == {"users": 10_000}
    paths = fetch(f"{url}/openapi.json").json()["paths"]
    assert paths["/users/count"]["get"]["operationId"] == "count" and "/queries/flags" in paths
    for command, expected in requests(PAGE):
        assert_answered(command, expected, url)


def test_the_query_of_the_page_has_the_limits_of_its_comments(tmp_path: Path) -> None:
    add_query(tmp_path)
    query = load(tmp_path)["flags"]
    assert (query.queue, query.time_limit, query.row_limit, query.repeatable) == ("queries.fast", 5.0, 1, True)
    assert (query.stream_time_limit, query.stream_row_limit) == (60.0, 1)
    assert (query.cache, query.coalesce) == (60.0, True)
    assert (query.job, query.job_time_limit, query.retry) == (False, 60.0, Retry(max_retries=3))
    (tmp_path / "flags.toml").write_text('[flags.parameters.flag]\ntype = "integer"\n')
    query = load(tmp_path)["flags"]
    comments = re.findall(r"^[a-z_]+_limit = .*?([0-9]+) otherwise$", blocks(PAGE, "toml")[0], re.MULTILINE)
    limits = [query.time_limit, query.row_limit, query.stream_time_limit, query.stream_row_limit, query.job_time_limit]
    assert comments == [f"{limit:.0f}" for limit in limits]
    assert (query.cache, query.coalesce) == (0.0, True)
    assert f'"{query.queue}" otherwise' in blocks(PAGE, "toml")[0]
