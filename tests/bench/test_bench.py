"""The benchmark measures what it says, and tells what it found."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import marks, programs
from tests.bench import beat_sides, job_sides, metrics, pair, peer, report, sizes, tools, traces, variants
from tests.bench.__main__ import MEASUREMENTS, SECTIONS, steps
from tests.bench.ratio import Ratio, Table, alternate
from tests.bench.results import Results, about
from tests.bench.site import Site
from tests.conftest import BACKGROUND, ROOT


class Handler(BaseHTTPRequestHandler):
    """GET /right/N is N, /wrong/N now and then something else, /slow/N takes 0.2 seconds; POST takes JSON alone."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    numbers = count()

    def do_GET(self) -> None:
        _, kind, number = self.path.split("/")
        if kind == "slow":
            time.sleep(0.2)
        body = b"?" if kind == "wrong" and next(self.numbers) % 4 == 0 else number.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.headers["Content-Type"] == "application/json" and json.loads(body) == {"a b": 1}
        self.send_response(202 if good else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Load generators hang up in the middle of an answer."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    programs.require(*tools.PROGRAMS)
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_wrk_counts_wrong_answers(url: str) -> None:
    right = tools.wrk(f"{url}/right/1", connections=4, seconds=1, expected="1")
    assert right.requests > 0
    assert (right.failed, right.wrong) == (0, 0)
    wrong = tools.wrk(f"{url}/wrong/1", connections=4, seconds=1, expected="1")
    assert 0 < wrong.wrong < wrong.requests
    with pytest.raises(tools.LoadError):
        tools.good(wrong)


def test_requests_that_come_at_a_constant_rate_do_not_wait_for_answers(url: str) -> None:
    came = tools.Arrivals(f"{url}/slow", rate=50, seconds=2, users=50, numbers=True).result()
    assert (came.failed, came.unsent) == (0, 0)
    assert 90 <= len(came.answers) <= 101
    median, most = came.percentiles(50, 100)
    assert 200 <= median <= most
    assert tools.Arrivals(f"{url}/wrong", rate=50, seconds=1, numbers=True).result().failed > 0


def test_ab_and_siege_tell_their_rates(url: str) -> None:
    assert tools.ab(f"{url}/slow/1", connections=5, requests=10) > 0
    assert tools.siege(f"{url}/slow/1", connections=5, repetitions=2) > 0
    assert tools.siege(f"{url}/posted", connections=5, repetitions=2, body='{"a b": 1}') > 0
    with pytest.raises(tools.LoadError):
        tools.siege(f"{url}/posted", connections=5, repetitions=2, body="{}")


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return len(order)

    figures = alternate(3, lambda: side("a"), lambda: side("b"))
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert figures == [(1, 2), (4, 3), (5, 6)]


def test_a_ratio_is_taken_round_by_round() -> None:
    ratio = Ratio("what", ("a", "b"), "s", [(2, 1), (9, 3), (8, 2)], ("at least", 3))
    assert (ratio.ratios, ratio.holds) == ([2, 3, 4], True)
    assert str(ratio).endswith("ratio 3.00 (2.00 to 4.00) in 3 rounds, at least 3: yes")
    assert str(replace(ratio, bound=None)).endswith("in 3 rounds")
    assert not replace(ratio, bound=("at most", 2)).holds
    assert Ratio.of(json.loads(json.dumps(ratio.document()))).ratios == ratio.ratios


def found() -> Results:
    """Results of every kind."""
    results = Results(about(quick=True))
    rounds = [{"per_second": rate, "p99": 5.0, "failed": 0, "wrong": 0, "timeouts": 0,
               "cpu": {"server": 500.0, "worker": 600.0, "broker": 300.0}, "memory": {"server": 50.0, "worker": 60.0}}
              for rate in (100.0, 110.0)]  # fmt: skip
    results.peers = {name: list(zip(rounds, rounds)) for name in list(pair.PEERS)[:-1]}
    results.missing = {"aio-pika": "it cannot be installed: no | network"}
    for name in variants.TITLES:
        results.cells += [
            {"variant": name, "delay": delay, "connections": connections, "per_second": 10.0, "p50": 1.0, "p99": 2.0,
             "failed": 0, "wrong": 0, "timeouts": 0} for delay in (0, 0.1) for connections in (1, 10)
        ]  # fmt: skip
        results.classic[name] = {"ab": 10.0, "siege": 11.0}
        results.latency[name] = {tick: 12.0 for tick in ("50", "75", "90", "95", "99", "99.9", "100", "failed")}
        results.isolation[name] = [(second / 10, 1.0) for second in range(100)]
    for rows in sizes.SIZES:
        sides = {name: [20.0, 30.0] for name in sizes.SIDES}
        results.sizes[str(rows)] = {"bytes": 20 + rows, "connections": 50, "sides": sides}
        for name in ("idle", *sizes.SIDES):
            results.beside.append({"side": name, "size": f"{rows} rows", "p50": 1.0, "p99": 2.0, "most": 3.0})
    part = {"per_second": 500.0, "done": 300.0, "cpu": {"server": 1.0, "worker": 2.0, "broker": 3.0, "database": 4.0}}
    results.jobs = {name: [(part, part)] for name in job_sides.PEERS}
    counts = {"beats": 2, "sent": 100, "duplicates": 7, "misses": 8, "ignored": 9, "edits": 10}
    results.beats = [{"side": name, "measure": "moments", **counts} for name in beat_sides.SIDES]
    results.beats.append({"side": "nowait-beat", "measure": "ticks", **counts, "edits": 0})
    results.figures = [
        Ratio("CPU", ("a", "b"), "µs", [(1, 2)], ("at most", 1)).document(),
        Table("pools", ["short/s"], {"threads": [3.0]}).document(),
    ]
    return results


def test_a_report_has_every_table_and_picture(tmp_path: Path) -> None:
    file = report.write(found(), tmp_path)
    text = file.read_text()
    peers = [peer.TITLES[name] for name in pair.PEERS]
    figures = ("no \\| network", "| threads | 3 |", "0.50", "1.00, at least 5: NO")
    others = [side.title for side in job_sides.PEERS.values()]
    others += [*beat_sides.SIDES, "by the ticks of its jobs", "9 of 10"]
    for title in (*peers, *others, *variants.TITLES.values(), *figures):
        assert title in text, title
    pictures = ["cpu", "isolation", "latency", "peers", "sizes", "throughput"]
    assert sorted(path.stem for path in tmp_path.glob("*.svg")) == pictures
    page = (tmp_path / "report.html").read_text()
    assert page.count("<table>") == text.count("| --- |\n") > 5
    assert all(f'src="{name}.svg"' in page for name in pictures)
    assert json.loads((tmp_path / "report.json").read_text())["classic"]["bridge"]["ab"] == 10.0


def test_a_report_of_nothing_can_be_written(tmp_path: Path) -> None:
    assert "Nowait" in report.write(Results(about(quick=False)), tmp_path).read_text()


def test_only_some_sides_are_measured_when_that_is_asked_for() -> None:
    nowhere: Any = None
    named = [step.name for step in steps(nowhere, {"peers", "variants"}, {"bridge", "threads"}, True)]
    assert any("threads" in name for name in named) and any("bridge" in name for name in named)
    assert not any(name.startswith(("blocking", "flower", "latency, blocking")) for name in named)


def test_sides_take_turns_at_each_size() -> None:
    nowhere: Any = None
    named = [step.name for step in steps(nowhere, {"sizes"}, {"bridge", "asyncmy"}, False)]
    begins = ["sizes: start", "0 rows, asyncmy", "0 rows, bridge", "0 rows, bridge", "0 rows, asyncmy"]
    assert named[:5] == begins
    assert named[-2:] == [f"latency, {sizes.LARGE}", "sizes: stop"]


def test_a_run_takes_less_than_half_an_hour() -> None:
    nowhere: Any = None
    sides = {*variants.TITLES, *pair.PEERS, *job_sides.PEERS}
    assert sum(step.seconds for step in steps(nowhere, {*SECTIONS, *MEASUREMENTS}, sides, False)) < 30 * 60


def test_wrk_counts_large_answers_by_their_bytes(url: str) -> None:
    assert not tools.wrk(f"{url}/right/1", connections=4, seconds=1, size=1).wrong
    short = tools.wrk(f"{url}/right/1", connections=4, seconds=1, size=10_000)
    assert short.wrong == short.requests > 0


def test_each_pair_is_stopped_before_the_next_one_starts() -> None:
    nowhere: Any = None
    named = [step.name.split(": ") for step in steps(nowhere, {"peers"}, {"bridge", "polling"}, True)]
    expected = ["start", "round 0", "round 1", "stop"]
    assert named == [[name, step] for name in ("bridge", "polling") for step in expected]


def test_a_pair_is_measured_on_both_sides_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(marks.NAME, mark := marks.new())
    results = Results()
    with Site(tmp_path) as site:
        todo = pair.Pair(site, "bridge", quick=True).steps()
        for step in todo[:-1]:
            step.run(results)
        assert programs_of(mark)
        todo[-1].run(results)
        assert not programs_of(mark)
    assert len(results.peers["bridge"]) == 2
    for side in (side for both in results.peers["bridge"] for side in both):
        assert side["per_second"] > 0
        assert (side["failed"], side["wrong"]) == (0, 0)
        assert all(side["cpu"][part] > 0 for part in ("server", "worker"))


def test_what_metrics_and_traces_cost_is_measured_on_both_sides(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        for measure in (metrics.metrics, traces.traces):
            for ratio in measure(site, quick=True):
                assert min(min(both) for both in ratio.rounds) > 0


def programs_of(mark: str) -> list[str]:
    """The servers and workers that carry a mark; not the broker and the database."""
    return [name for name in marks.carriers(mark) if name.startswith(("python", "celery"))]


def test_a_name_that_is_unknown_is_an_error_that_lists_all() -> None:
    command = [sys.executable, "-m", "tests.bench", "--only", "nobody"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no nobody; there are peers, variants, sizes, jobs, beats, sending" in done.stderr


def has_worker(main: psutil.Process) -> bool:
    """True when a Celery worker is among the children of a process."""
    try:
        return any("celery" in " ".join(child.cmdline()) for child in main.children(recursive=True))
    except psutil.NoSuchProcess:  # one that has ended since it was listed; a zombie is one, too
        return False


def test_a_run_that_is_interrupted_leaves_its_report_and_no_process(tmp_path: Path) -> None:
    options = ["--quick", "--only", "sending,pools", "--output", str(tmp_path)]
    command = [*BACKGROUND, sys.executable, "-m", "tests.bench", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        main = psutil.Process(running.pid)
        deadline = time.monotonic() + 60
        while not has_worker(main):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        left = main.children(recursive=True)
        running.send_signal(signal.SIGINT)
        printed, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "interrupted" in printed
    assert "Nowait" in (tmp_path / "report.md").read_text()
    assert not psutil.wait_procs(left, timeout=10)[1]
