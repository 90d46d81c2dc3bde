"""The address of the metrics: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, disable_created_metrics, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import nowait
from nowait.settings import HostPort


def listen(at: HostPort, registry: CollectorRegistry) -> None:
    """Answer at an address from now on, by a thread, which also answers while a loop is held up. Raises OSError.

    The registry gets the version, too.
    """
    # A series beside each, for nobody: with the values in files there is none.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry.register(_Build())
    start_http_server(at.port, at.host, registry)


class _Build(Collector):
    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("nowait_build_info", "1, with the version as a label", labels=["version"])
        build.add_metric([nowait.__version__], 1)
        yield build
