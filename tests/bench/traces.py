"""What traces cost."""

import os
from unittest.mock import patch

from tests.bench.ratio import Ratio, alternate
from tests.bench.site import OURS, THREADS, Site, cpu
from tests.bench.tools import good, wrk
from tests.otlp import receiving

_TRACED, _TIMED = "tasks.spans:TracedTask", "nowait.worker.backend:TimedTask"
_SHARE = 0.01  # of the requests
_SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(_SHARE)}
_NAMES = ("with traces", "without")


def traces(site: Site, quick: bool) -> list[Ratio]:
    """CPU and answers a second of server and worker for a task that returns its argument, with traces of 1 % of the
    requests, which are exported, and without.
    """
    sides = {}
    with receiving() as received:
        for name in _NAMES:
            traced = name == _NAMES[0]
            queue = "bench.traces" if traced else "bench.no-traces"
            options = [*OURS.options("threads", THREADS), "-Q", queue]
            with patch.dict(os.environ, {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, **_SAMPLED}):
                kind = {"test_task": _TRACED, "test_traces": 1} if traced else {"test_task": _TIMED, "test_traces": 0}
                worker = site.worker("tests.celeryapp", queue, *options, **OURS.settings, **kind)
                server, url = site.server(
                    f"echo-{queue}", "/echo/1", "tests.bench.echo", "PORT", test_queue=queue, traces=int(traced)
                )
            sides[name] = (server, worker), url

        def measure(name: str) -> tuple[float, float]:
            processes, url = sides[name]
            before = cpu(*processes)
            load = good(wrk(f"{url}/echo/1", connections=50, seconds=1, expected="1"))
            return (cpu(*processes) - before) / load.requests * 1e6, load.per_second

        for name in sides:
            measure(name)
        found = alternate(2 if quick else 9, lambda: measure(_NAMES[0]), lambda: measure(_NAMES[1]))
        # They are exported.
        names = {"GET /echo/{}", "send test.echo", "test.echo"}
        received.of(None, lambda spans: {span.name for span in spans} == names)
    costs, rates = ([(one[which], other[which]) for one, other in found] for which in (0, 1))
    return [
        Ratio("CPU of server and worker per answer", _NAMES, "µs", costs, ("at most", 1.05)),
        Ratio("answers a second", _NAMES, "/s", rates),
    ]


MEASUREMENTS = (traces,)
