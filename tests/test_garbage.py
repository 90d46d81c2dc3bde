"""What the garbage collector does in a process that lives for long, once it is told what stays."""

import ctypes
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


needs_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library cannot do that")
PIECES = """
import gc
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
print(free > 80, taken() - before < 40)
"""


@needs_glibc
def test_what_is_free_between_what_stays_goes_back_to_the_system() -> None:
    found = subprocess.run([sys.executable, "-c", PIECES], capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("True True\n", "")


THREADS = """
import re, threading
from nowait import garbage


def regions():
    # A thread's own begins at a multiple of 64 MiB.
    with open("/proc/self/maps") as maps:
        starts = re.findall("^([0-9a-f]+)-[0-9a-f]+ rw-p 0+ 00:00 0 $", maps.read(), re.M)
    return sum(int(start, 16) % 2**26 == 0 for start in starts)


def begin():
    kept.append([bytes(1000) for _ in range(100)])
    ready.wait()
    over.wait()


garbage.spare(700, 2, 2)
before, kept, ready, over = regions(), [], threading.Barrier(5), threading.Event()
threads = [threading.Thread(target=begin) for _ in range(4)]
for thread in threads:
    thread.start()
ready.wait()
print(regions() - before)
over.set()
"""


@needs_glibc
def test_threads_have_one_memory() -> None:
    found = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("0\n", "")
