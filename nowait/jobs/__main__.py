"""`make migrate`: the schema of jobs in the database of the settings."""

import argparse
import sys

from nowait.jobs.migrations import MigrationError, migrate, script
from nowait.settings import DatabaseSettings


def main() -> int:
    """Migrate, and print what was done. Returns the exit status: 0 when the schema is the newest, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m nowait.jobs",
        description="Brings the schema of jobs to the newest revision. The account needs the right to create tables.",
        epilog="Settings, from the environment:\n" + DatabaseSettings.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sql",
        nargs="?",
        const="base",
        metavar="REVISION",
        help="print the statements instead, from this revision on or from an empty database; nothing is connected to",
    )
    since = parser.parse_args().sql
    try:
        if since is not None:
            print(script(since), end="")
            return 0
        done = migrate(DatabaseSettings.load().database_url)
    except MigrationError as error:
        print(error, file=sys.stderr)
        return 1
    if done.before == done.after:
        print(f"the schema of jobs is {done.after} already, nothing was changed")
    else:
        print(f"the schema of jobs is {done.after} now, it was {done.before or 'missing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
