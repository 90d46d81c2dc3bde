"""What callers of the mill's tasks get, as JSON: by name."""

import json
import sys

from celery import chord, group
from celery.exceptions import NotRegistered
from mill import add, again, app, total, wrong

TIMEOUT = 30.0  # seconds


def error(result):
    """The exception of a result."""
    found = result.get(timeout=TIMEOUT, propagate=False)
    return "NotRegistered" if isinstance(found, NotRegistered) else repr(found)


seen = {
    "result": add.delay(1, 2).get(timeout=TIMEOUT),
    "routed": total.delay([1, 2, 3]).get(timeout=TIMEOUT),
    "chain": (add.s(1, 2) | add.s(3) | add.s(4)).delay().get(timeout=TIMEOUT),
    "group": group(add.s(number, 1) for number in range(3)).delay().get(timeout=TIMEOUT),
    "later": add.apply_async((1, 2), countdown=0.1).get(timeout=TIMEOUT),
    "retry": again.delay().get(timeout=TIMEOUT),
    "failure": error(wrong.delay()),
    "no task": error(app.send_task("mill.nothing")),
}
if "chord" in sys.argv:
    seen["chord"] = chord((add.s(number, 1) for number in range(3)), total.s()).delay().get(timeout=TIMEOUT)
print(json.dumps(seen))
