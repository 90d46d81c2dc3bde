"""The benchmark: `python -m tests.bench --help`."""

import argparse
import platform
import signal
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from deploy.local.errors import LocalError
from tests.bench import bridge, worker
from tests.bench.site import Site

_MEASUREMENTS = bridge.MEASUREMENTS + worker.MEASUREMENTS


def main() -> int:
    """Measure and print. Returns the exit status: 0 when all was measured, 1 otherwise."""
    names = [measurement.__name__ for measurement in _MEASUREMENTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Ratios of two sides that are measured in turn, on this machine, now.",
        epilog="\n".join(f"  {measurement.__name__:10} {measurement.__doc__}" for measurement in _MEASUREMENTS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument("--only", default=",".join(names), help="some of these, separated by commas")
    options = parser.parse_args()
    chosen = [name for name in options.only.split(",") if name]
    if unknown := set(chosen) - set(names):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"{platform.platform()}, Python {platform.python_version()}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="nowait-bench-") as folder, Site(Path(folder)) as site:
            site.worker("tests.worker", "tests", "-P", "threads", "-c", "8")
            site.worker(
                "tests.worker", bridge.LEAN, "-P", "threads", "-c", "8", "-Q", bridge.LEAN,
                test_backend="tasks.results:Results",
            )  # fmt: skip
            site.worker("tasks", "queries", "-P", "threads", "-c", "32")
            with tqdm([m for m in _MEASUREMENTS if m.__name__ in chosen], unit="figure", leave=False) as bar:
                for measurement in bar:
                    bar.set_description(measurement.__name__)
                    bar.write(str(measurement(site, options.quick)), file=sys.stdout)
    except (LocalError, KeyboardInterrupt) as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
