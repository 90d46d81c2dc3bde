"""Starts a program again within milliseconds whenever it is killed: forked by a process that has imported it."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # prctl(2)


def respawn(program: Callable[[], int], pause: float) -> int:
    """Run a program in a child, in another one when that is killed, until one ends by itself; returns its status.

    Args:
        program: run without threads of this process, which must have none.
        pause: seconds after which a child that has stopped itself goes on.
    """
    while True:
        sys.stdout.flush()
        parent = os.getpid()
        child = os.fork()
        if not child:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                return 1
            return program()
        status = _wait(child, pause)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            return os.waitstatus_to_exitcode(status)


def _wait(child: int, pause: float) -> int:
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return status
        time.sleep(pause)
        os.kill(child, signal.SIGCONT)
