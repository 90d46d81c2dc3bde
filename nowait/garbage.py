"""Python's garbage collector, in a process that lives for long."""

import gc


def spare(new: int, middle: int, old: int) -> None:
    """Have it look at what comes from now on alone. Called once, when all is imported that will be.

    What was imported stays: a full collection would stop the process for 10 ms to look at it. As Python begins one when
    a quarter is new, it would also come after hours, and what cycles hold, those of lost connections for example, would
    add up until then.

    Args:
        new, middle, old: the thresholds of the three generations, see gc.set_threshold().
    """
    gc.collect()
    gc.freeze()
    # The quarter is one of what the last full collection has left.
    gc.collect()
    gc.set_threshold(new, middle, old)
