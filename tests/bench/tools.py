"""The load generators that people use, run and read."""

import csv
import io
import re
import statistics
import subprocess
from dataclasses import dataclass

from deploy.local import programs

PROGRAMS = ("wrk", "hey")


class LoadError(Exception):
    """Requests failed that should not have."""


@dataclass(frozen=True)
class Throughput:
    """What wrk measured: requests answered with 200, and how many of them each second."""

    requests: int
    per_second: float


def wrk(url: str, *, connections: int, seconds: float) -> Throughput:
    """As many requests as the connections can make. Raises LoadError when one fails."""
    command = [programs.path("wrk"), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", url]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    failed = re.search(r"Non-2xx.*|Socket errors.*", printed)
    requests = re.search(r"(\d+) requests in", printed)
    per_second = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if failed or not requests or not per_second:
        raise LoadError(f"{url}: {failed.group() if failed else printed}")
    return Throughput(int(requests[1]), float(per_second[1]))


def p99(url: str, *, rate: int, seconds: float) -> float:
    """The 99th percentile of the latency, in milliseconds, at a constant rate of requests a second.

    Raises LoadError when one fails.
    """
    workers = 20
    command = [
        programs.path("hey"), "-z", f"{seconds:g}s", "-c", str(workers), "-q", str(rate / workers), "-o", "csv", url,
    ]  # fmt: skip
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = list(csv.DictReader(io.StringIO(printed)))
    failed = [row for row in rows if row["status-code"] != "200"]
    if failed or len(rows) < rate * seconds / 2:
        raise LoadError(f"{url}: {len(failed)} of {len(rows)} requests failed")
    return statistics.quantiles((float(row["response-time"]) * 1000 for row in rows), n=100)[98]
