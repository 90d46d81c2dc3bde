"""Whatever is sent, the server answers as its document has it."""

import random
from collections.abc import Callable

import pytest

from server.keys.limits import Limits, Rate
from tests.openapi.conftest import Fuzz
from tests.server.key_files import Keys

_LONGEST = 3 * 3600.0  # seconds
# Streams without an end: each example of them is read for a second.
_ENDLESS = ["/events", "/live/events", "/topics/{name}/events"]


@pytest.mark.timeout(_LONGEST)
def test_every_answer_is_as_the_document_has_it(fuzzing: Callable[..., Fuzz], scale: float) -> None:
    seed = random.randrange(2**32)
    fuzz = fuzzing(max(10, int(2000 * min(scale, 1.0))), seed, _LONGEST, demo=1)
    each = "examples,coverage,fuzzing"
    # Stateful in the same process: by what the other phases have seen, it knows more ways between operations.
    others = ["--phases", f"{each},stateful", *(f"--exclude-path={path}" for path in _ENDLESS)]
    found = fuzz.run(others, *(["--phases", each, f"--include-path={path}"] for path in _ENDLESS))
    # The ways to all of them; by itself, as it looks whether what it has deleted is gone.
    found += fuzz.run(["--phases", "coverage,stateful"])
    assert not any(found), f"seed {seed}: {found}"


@pytest.mark.timeout(_LONGEST)
def test_refusals_are_as_the_document_has_them(fuzzing: Callable[..., Fuzz], keys: Keys, scale: float) -> None:
    # Enough to get somewhere, and not everywhere.
    limits = Limits(rate=Rate(60, 2))
    key = keys.add("some", "queries:users jobs.read topics.write queues", limits=limits)["Authorization"]
    seed = random.randrange(2**32)
    fuzz = fuzzing(max(2, int(100 * min(scale, 1.0))), seed, _LONGEST, keys=keys.path)
    assert fuzz.run(["--phases", "coverage,fuzzing", "--header", f"Authorization: {key}"]) == [0], f"seed {seed}"
