"""Which attempts of the fault tests' jobs raise. No I/O."""

import random


def raises(job_id: str, attempt: int, failing: float) -> bool:
    """Does this attempt raise? The same attempt of the same job always ends alike.

    Args:
        failing: the part of attempts that do.
    """
    return random.Random(f"{job_id} {attempt}").random() < failing
