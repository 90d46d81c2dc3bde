"""Commands for worker hosts: `python -m tasks --help`."""

import argparse
import sys

from tasks.app import catalogue, settings
from tasks.checks import check
from tasks.database import make_engine
from tasks.settings import Settings


def main() -> int:
    """Check the queries. Returns the exit status: 0 when all can work, 1 otherwise; 2 is that of a bad catalogue."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks",
        description="Commands for worker hosts; the worker itself is `celery -A tasks worker`.",
        epilog="Settings, from the environment:\n" + Settings.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser(
        "check",
        help="have the database prepare each query, without running it",
        description="Has the database prepare each query, without running it, and prints which cannot work and why. "
        "Exit status: 0 when all can, 1 when one cannot, or could not be checked, 2 when the folder holds a query that "
        "cannot be served.",
    )
    parser.parse_args()
    findings = check(make_engine(settings.database_url), catalogue.values())
    for name, reason in findings.broken.items():
        print(f"{name} cannot work: {reason}")
    for name, reason in findings.unchecked.items():
        print(f"{name} could not be checked: {reason}")
    bad = len(findings.broken) + len(findings.unchecked)
    print(f"{len(catalogue) - bad} of {len(catalogue)} queries can work")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
