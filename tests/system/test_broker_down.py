"""A broker that is away, and comes back."""

from pathlib import Path

from deploy.local.broker import Broker
from deploy.local.process import free_port
from deploy.local.services import Services
from tests.conftest import Start, celery_worker, services_settings
from tests.http import assert_problem, fetch
from tests.system.conftest import wait_until


def test_a_broker_that_goes_is_503_and_service_returns_with_it(
    tmp_path: Path, services: Services, start: Start
) -> None:
    broker = Broker(tmp_path / "broker")
    settings = {**services_settings(services), "broker_url": broker.url}
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    try:
        # The server is first: there is no broker yet.
        start("server", "server", port=port, **settings)
        wait_until(lambda: fetch(f"{url}/healthz").status == 200)
        assert_problem(fetch(f"{url}/readyz"), 503)
        broker.start()
        broker.wait_ready()
        celery_worker(start, "tasks", "-P", "solo", **settings)
        wait_until(lambda: fetch(f"{url}/mysql_query/1").status == 200)

        broker.process.stop()
        wait_until(lambda: fetch(f"{url}/readyz").status == 503)
        answer = fetch(f"{url}/mysql_query/1")
        assert assert_problem(answer, 503)["type"].endswith(":broker-unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert fetch(f"{url}/i_want_you_now").body == b"i want you, right now!"
        assert fetch(f"{url}/healthz").status == 200

        broker.start()
        broker.wait_ready()
        wait_until(lambda: fetch(f"{url}/mysql_query/1").status == 200)
    finally:
        broker.stop()
