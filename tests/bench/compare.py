"""This revision against another one: `python -m tests.bench.compare BASE`.

Both run at the same time, each from its own tree with the dependencies of this one, and are measured in turn.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from deploy.local.errors import LocalError
from deploy.local.process import Process
from tests.bench.ratio import Ratio, turn
from tests.bench.site import ROOT, Site, cpu
from tests.bench.tools import LoadError, good, wrk
from tests.http import fetch

# Connections, and how much longer than the others it takes until a round has answers enough, by path; the answers
# have 0, 10, 500 and 6,119 rows.
_PATHS = {
    "/i_want_you_now": (50, 1), "/mysql_query/77": (50, 1), "/mysql_query/1": (50, 1), "/mysql_query/6": (10, 2),
    "/mysql_query/9": (2, 4),
}  # fmt: skip


@dataclass(frozen=True)
class Revision:
    """A server and a worker of one tree."""

    url: str
    server: Process
    worker: Process


def main() -> int:
    """Measure and print. Returns the exit status: 0 when it was measured, whatever came out; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description=__doc__)
    parser.add_argument("base", help="a revision, as git names it")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    options = parser.parse_args()
    # A shell's background processes inherit SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="nowait-compare-") as folder:
        tree = Path(folder) / "base"
        added = subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", str(tree), options.base],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        if added.returncode != 0:
            print(f"{options.base}: {added.stderr.strip()}", file=sys.stderr)
            return 1
        try:
            with Site(Path(folder) / "one") as site, Site(Path(folder) / "other") as other:
                sides = (_start(site, ROOT), _start(other, tree))
                for ratio in _measure(sides, options.base, options.quick):
                    print(ratio)
        except (LocalError, LoadError) as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 1
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT)
    return 0


def _start(site: Site, tree: Path) -> Revision:
    """Each has a broker of its own: workers of both would take each other's tasks."""
    worker = site.worker("tasks", "queries", "-P", "threads", "-c", "8", root=tree)
    server, url = site.server("compared", "/readyz", "server", root=tree)
    return Revision(url, server, worker)


def _measure(sides: tuple[Revision, Revision], base: str, quick: bool) -> list[Ratio]:
    rounds, seconds = (3, 2) if quick else (9, 4)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    expected = {path: fetch(sides[0].url + path).body.decode() for path in _PATHS}

    def one(side: Revision, path: str) -> dict[str, float]:
        parts: dict[str, Callable[[], float]] = {
            "CPU of the server": lambda: cpu(side.server), "CPU of the worker": lambda: cpu(side.worker),
        }  # fmt: skip
        before = {part: used() for part, used in parts.items()}
        connections, times = _PATHS[path]
        url = side.url + path
        measured = good(wrk(url, connections=connections, seconds=times * seconds, expected=expected[path]))
        each = {part: (used() - before[part]) / measured.requests * 1e6 for part, used in parts.items()}
        return {"requests/s": measured.per_second, **each}

    for side in sides:
        for path in _PATHS:
            one(side, path)
    with tqdm(total=rounds * len(_PATHS), unit="round", leave=False) as bar:
        for number in range(rounds):
            for path in _PATHS:
                mine, theirs = turn(number, lambda: one(sides[0], path), lambda: one(sides[1], path))
                for what in mine:
                    if theirs[what]:
                        found.setdefault((path, what), []).append((mine[what], theirs[what]))
                bar.update()
    return [
        Ratio(
            f"{path}, {what}", ("this tree", base), "" if what == "requests/s" else "µs", figures,
            ("at least", 0.95) if what == "requests/s" else ("at most", 1.05),
        )
        for (path, what), figures in found.items()
        if not (path == "/i_want_you_now" and "worker" in what)
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
