"""What is counted for a histogram until it is flushed."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from nowait.metrics.tally import Tally
from tests.metrics import Scrape

BOUNDS = (0.001, 0.5, 1.0)


def test_a_tally_is_as_if_each_value_was_observed() -> None:
    registry = CollectorRegistry()
    values = [0.0, 0.001, 0.0011, 0.5, 7.0, 1.0, 1000.0]
    tallied, other = (Histogram(name, name, ["a"], buckets=BOUNDS, registry=registry) for name in ("tallied", "other"))
    counter = Counter("counted", "The same", registry=registry)
    tally = Tally(tallied.labels("x"), counter)
    for part in (values[:3], values[3:], []):
        for value in part:
            tally.add(value)
            other.labels("x").observe(value)
        tally.flush()
    found = Scrape(generate_latest(registry).decode())
    for end in ("count", "sum"):
        assert found.of(f"tallied_{end}", a="x") == found.of(f"other_{end}", a="x")
    for bound in ("0.001", "0.5", "1.0", "+Inf"):
        assert found.of("tallied_bucket", a="x", le=bound) == found.of("other_bucket", a="x", le=bound)
    assert found["counted_total"] == len(values)
