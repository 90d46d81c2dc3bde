"""Values of metrics that several processes keep in files."""

import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from nowait.metrics import shared_values
from tests.metrics import Scrape

# One process, at a place: counts, and has a value of the moment.
PROCESS = """
import sys
from pathlib import Path
from nowait.metrics import shared_values
shared_values.keep(Path(sys.argv[1]), lambda: sys.argv[2])
from prometheus_client import Counter, Gauge
Counter("a", "What has happened").inc()
Gauge("b", "What is", multiprocess_mode="livesum").set(1)
"""


def run(folder: Path, place: str) -> None:
    subprocess.run([sys.executable, "-c", PROCESS, str(folder), place], check=True)


def found(folder: Path) -> Scrape:
    registry = CollectorRegistry()
    shared_values.read(folder, registry)
    return Scrape(generate_latest(registry).decode())


def test_a_process_goes_on_with_what_was_counted_at_its_place(tmp_path: Path) -> None:
    for place in ("0", "1"):
        run(tmp_path, place)
    assert (found(tmp_path)["a_total"], found(tmp_path)["b"]) == (2, 2)
    shared_values.ended(tmp_path, "0")
    assert (found(tmp_path)["a_total"], found(tmp_path)["b"]) == (2, 1)
    run(tmp_path, "0")
    assert (found(tmp_path)["a_total"], found(tmp_path)["b"]) == (3, 2)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_that_has_just_been_made_has_no_values_yet(tmp_path: Path) -> None:
    run(tmp_path, "0")
    (tmp_path / "counter_1.db").touch()
    assert found(tmp_path)["a_total"] == 1
