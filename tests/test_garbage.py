"""What the garbage collector does in a process that lives for long, once it is told what stays."""

import subprocess
import sys

PROGRAM = """
import celery, gc, weakref
from nowait import garbage


class Cycle:
    def __init__(self):
        self.own = self


garbage.spare(50, 2, 2)
assert gc.get_freeze_count() > 10_000
left, kept = weakref.ref(cycle := Cycle()), []
gc.collect(1)  # it is old from then on, as if it had been in use for a while
del cycle
for number in range(2_000):
    kept.append([])
print(left() is None)
"""


def test_a_cycle_that_is_old_goes_soon() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("True\n", "")
