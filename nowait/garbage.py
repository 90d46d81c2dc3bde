"""Python's garbage collector, in a process that lives for long."""

import gc


def spare(*thresholds: int) -> None:
    """Have it look at what comes from now on alone. Called once, when all is imported that will be.

    What was imported stays: a full collection would stop the process for 10 ms to look at it. As Python begins one when
    a quarter is new, it would also come after hours, and what cycles hold, those of lost connections for example, would
    add up until then.

    Args:
        thresholds: three of them, as gc.set_threshold() takes them.
    """
    gc.collect()
    gc.freeze()
    # The quarter is one of what the last full collection has left.
    gc.collect()
    gc.set_threshold(*thresholds)
