"""What the garbage collector does in a process that lives for long, once it is told what stays."""

import subprocess
import sys

import pytest

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


PIECES = """
import ctypes, gc
from nowait import garbage

garbage._PAUSE = 0.0
garbage.spare(700, 2, 2)


def taken():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon:"))


before = taken()
pieces = [bytes(1000) for _ in range(100_000)]
kept = pieces[::100]
del pieces
free = taken() - before
gc.collect()
print(free > 80, taken() - before < 40, hasattr(ctypes.CDLL(None), "malloc_trim"))
"""


def test_what_is_free_between_what_stays_goes_back_to_the_system() -> None:
    found = subprocess.run([sys.executable, "-c", PIECES], capture_output=True, text=True, timeout=60)
    free, gone, possible = found.stdout.split()
    if possible == "False":
        pytest.skip("the C library cannot do that")
    assert (free, gone, found.stderr) == ("True", "True", "")
