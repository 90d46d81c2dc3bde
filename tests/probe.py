"""Not collected by itself: what tests/test_suite.py runs, to end it in several ways."""

import sys
import time

from deploy.local.services import Services


def test_that_fails(services: Services) -> None:
    assert services.broker_url == "something else"


def test_that_hangs(services: Services) -> None:
    print("the services are up", file=sys.stderr, flush=True)
    time.sleep(600)
