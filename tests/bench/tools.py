"""The load generators that people use, run and read."""

import csv
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdrh.histogram import HdrHistogram

from tests import programs

PROGRAMS = ("wrk", "ab", "siege")
_HERE = Path(__file__).parent
_K6 = Path(sys.executable).with_name("k6")
_LONGEST = 120_000_000  # microseconds, in a histogram
NOW = "i want you, right now!"


class LoadError(Exception):
    """Requests failed that should not have."""


@dataclass(frozen=True)
class Closed:
    """What a closed loop of connections measured: each asks again once it is answered.

    Attributes:
        requests: those that were answered, with any status.
        per_second: how many of them each second.
        failed: answers with a status of 400 or more, and connections that broke.
        wrong: answers with 2xx and another body than expected.
        timeouts: requests without an answer when the time was over.
        p50: half of the answers took at most so many milliseconds.
        p99: 99 % of them took at most so many.
    """

    requests: int
    per_second: float
    failed: int
    wrong: int
    timeouts: int
    p50: float
    p99: float


def wrk(
    url: str, *, connections: int, seconds: int, expected: str | None = None, body: str | None = None, size: int = 0,
    headers: Sequence[str] = (),
) -> Closed:  # fmt: skip
    """As many requests as the connections can make; each answer is compared with `expected`, see check.lua.

    `headers` are lines of the request. Without `expected`, answers are only counted, and all are wrong when they have
    less than `size` bytes on average: to look at each would cost more than to send it, once they are large.
    """
    # In a file: an argument of a program has at most 128 KiB.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="expected-") as file:
        file.write(expected or "")
        file.flush()
        check = [] if expected is None else [file.name, *([] if body is None else [body])]
        command = [
            programs.path("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s",
            *(word for line in headers for word in ("-H", line)), "-s", str(_HERE / "check.lua"), url, "--", *check,
        ]  # fmt: skip
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"^RESULT (.*)$", printed, re.MULTILINE)
    if not found:
        raise LoadError(f"{url}: {printed}")
    told = json.loads(found[1])
    rate = told["requests"] / told["seconds"]
    wrong = told["wrong"] if told["bytes"] >= size * told["requests"] else told["requests"]
    return Closed(told["requests"], rate, told["failed"], wrong, told["timeouts"], told["p50"], told["p99"])


def good(measured: Closed) -> Closed:
    """The same; raises LoadError unless everything was answered as expected."""
    if measured.failed or measured.wrong or not measured.requests:
        raise LoadError(f"{measured}")
    return measured


def ab(url: str, *, connections: int, requests: int) -> float:
    """Requests per second by ApacheBench. Raises LoadError when one fails."""
    command = [programs.path("ab"), "-q", "-l", "-s", "120", "-n", str(requests), "-c", str(connections), url]
    printed = subprocess.run(command, capture_output=True, text=True).stdout
    rate = re.search(r"Requests per second:\s+([\d.]+)", printed)
    if not rate or re.search(r"Failed requests:\s+[1-9]|Non-2xx", printed):
        raise LoadError(f"{url}: {printed}")
    return float(rate[1])


def siege(url: str, *, connections: int, repetitions: int, body: str | None = None) -> float:
    """Requests per second by siege; `body` is JSON that is posted, None for a GET. Raises LoadError when one fails."""
    target = url if body is None else f"{url} POST {body}"
    command = [
        programs.path("siege"), "--quiet", "--json-output", "--benchmark", "--no-parser", "--no-follow",
        f"--concurrent={connections}", f"--reps={repetitions}", "--content-type=application/json", target,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        # It writes a configuration into HOME when there is none.
        done = subprocess.run(command, capture_output=True, text=True, env={"HOME": home, "PATH": "/usr/bin:/bin"})
    told = json.loads(done.stdout[done.stdout.index("{") :])
    # A status of 4xx fails no transaction; it is none that is successful.
    if told["successful_transactions"] != connections * repetitions:
        raise LoadError(f"{url}: {done.stdout}")
    # It counts hundredths of a second, and has a rate of 0 for none.
    return float(told["successful_transactions"] / max(told["elapsed_time"], 0.01))


@dataclass(frozen=True)
class Open:
    """What a constant rate of requests met.

    Attributes:
        answers: when each request was sent, in seconds from the first, and the milliseconds to its answer.
        failed: requests without an answer of 200, or with a wrong one.
        unsent: requests that there was nobody left to send for.
    """

    answers: Sequence[tuple[float, float]]
    failed: int
    unsent: int

    def percentiles(self, *which: float) -> list[float]:
        """Latencies in milliseconds."""
        histogram = HdrHistogram(1, _LONGEST, 3)
        for _, milliseconds in self.answers:
            histogram.record_value(round(milliseconds * 1000))
        return [histogram.get_value_at_percentile(one) / 1000 for one in which]


class Arrivals:
    """Requests at a constant rate, by k6, from now on; result() waits for their end.

    Args:
        url: what is asked for.
        rate: requests a second.
        seconds: for how long.
        users: how many may wait for an answer at once.
        expected: the body of each answer; None for any.
        numbers: each asks for URL/N, and has to be answered with N.
    """

    def __init__(
        self, url: str, *, rate: int, seconds: float, users: int = 100, expected: str | None = None,
        numbers: bool = False,
    ) -> None:  # fmt: skip
        self._folder = tempfile.TemporaryDirectory()
        self._csv = Path(self._folder.name) / "answers.csv"
        if not _K6.exists():
            raise LoadError("k6 is not installed: it has no package for this machine")
        given = {"URL": url, "RATE": rate, "SECONDS": f"{seconds:g}", "USERS": users, "EXPECTED": expected}
        given["NUMBERS"] = "1" if numbers else None
        options = [word for name, value in given.items() if value is not None for word in ("-e", f"{name}={value}")]
        command = [str(_K6), "run", "--quiet", "--no-usage-report", "--no-summary", "--no-thresholds"]
        self._process = subprocess.Popen(
            [*command, "--address", "", "-o", f"csv={self._csv}", *options, str(_HERE / "open.js")],
            env={"K6_CSV_TIME_FORMAT": "unix_micro", "HOME": self._folder.name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not self._csv.exists() and self._process.poll() is None:
            time.sleep(0.01)

    def result(self) -> Open:
        """What came back. Raises LoadError when k6 fails."""
        _, complaint = self._process.communicate()
        if self._process.returncode != 0 or not self._csv.exists():
            raise LoadError(complaint)
        rows = list(csv.DictReader(io.StringIO(self._csv.read_text())))
        self._folder.cleanup()
        answers, totals = [], {"wrong": 0.0, "dropped_iterations": 0.0}
        for row in rows:
            if row["metric_name"] == "http_req_duration":
                milliseconds = float(row["metric_value"])
                answers.append((int(row["timestamp"]) / 1e6 - milliseconds / 1000, milliseconds))
            elif row["metric_name"] in totals:
                totals[row["metric_name"]] += float(row["metric_value"])
        first = min((sent for sent, _ in answers), default=0.0)
        answers = sorted((sent - first, milliseconds) for sent, milliseconds in answers)
        return Open(answers, int(totals["wrong"]), int(totals["dropped_iterations"]))


def p99(url: str, *, rate: int, seconds: float, expected: str) -> float:
    """The 99th percentile of the latency, in milliseconds, at a constant rate. Raises LoadError when one fails."""
    came = Arrivals(url, rate=rate, seconds=seconds, expected=expected).result()
    if came.failed or came.unsent or len(came.answers) < rate * seconds / 2:
        raise LoadError(f"{url}: {came.failed} failed, {came.unsent} not sent, {len(came.answers)} answered")
    return came.percentiles(99)[0]
