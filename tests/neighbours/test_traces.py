"""A worker of Celery's alone goes on with the traces of Nowait's server, by OpenTelemetry's CeleryInstrumentor."""

from pathlib import Path
from secrets import token_hex

import pytest

from deploy.local.process import free_port
from deploy.local.services import Services
from tests.conftest import Start, ready
from tests.http import fetch
from tests.neighbours.conftest import Run
from tests.otlp import receiving

# The environment is made within the first test.
pytestmark = pytest.mark.timeout(600)


def test_a_stock_worker_goes_on_with_the_trace_of_a_request(
    run: Run, start: Start, vhost: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, client = token_hex(16), token_hex(8)
    with receiving() as traces:
        variables = {**traces.variables, "BROKER_URL": vhost, "OTEL_SERVICE_NAME": "stock"}
        options = "-A stock worker -P threads -c 2 -l INFO --without-gossip --without-mingle".split()
        worker = run("celery", *options, cwd=Path(__file__).with_name("stock"), **variables)
        for name, value in traces.variables.items():
            monkeypatch.setenv(name, value)
        settings = {"broker_url": vhost, "database_url": services.database_url, "traces": 1, "trust_traceparent": 1}
        port = free_port()
        url = ready(start("server", "server", port=port, **settings), port)
        worker.wait_until(lambda: " ready." in worker.output.read_text(), 60.0)
        answer = fetch(f"{url}/mysql_query/1", headers={"traceparent": f"00-{trace}-{client}-01"})
        assert answer.json() == {"flag": 1, "rows": []}
        spans = traces.of(trace, lambda spans: len(spans) == 4)
        worker.kill()
    by_id = {span.id: span for span in spans}
    (span,) = (span for span in spans if span.name == "inside")
    path = [span]
    while path[0].parent in by_id:
        path.insert(0, by_id[path[0].parent])
    assert [(span.service, span.name) for span in path] == [
        ("nowait-server", "GET /mysql_query/{}"),
        ("nowait-server", "send task.query_users"),
        ("stock", "run/task.query_users"),
        ("stock", "inside"),
    ]
    assert path[0].parent == client
