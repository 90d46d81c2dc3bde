"""Whatever is sent, the server answers as its document has it."""

import random

import pytest

from server.keys.limits import Limits, Rate
from tests.openapi.conftest import Fuzz
from tests.server.key_files import Keys

_LONGEST = 3 * 3600.0  # seconds


@pytest.mark.timeout(_LONGEST)
def test_every_answer_is_as_the_document_has_it(fuzz: Fuzz, scale: float) -> None:
    seed = random.randrange(2**32)
    phases = "examples,coverage,fuzzing,stateful"
    examples = max(10, int(2000 * min(scale, 1.0)))
    assert fuzz(examples, seed, _LONGEST, "--phases", phases, demo=1) == 0, f"seed {seed}"


@pytest.mark.timeout(_LONGEST)
def test_refusals_are_as_the_document_has_them(fuzz: Fuzz, keys: Keys, scale: float) -> None:
    # Enough to get somewhere, and not everywhere.
    limits = Limits(rate=Rate(60, 2))
    key = keys.add("some", "queries:users jobs.read topics.write queues", limits=limits)["Authorization"]
    seed = random.randrange(2**32)
    options = ["--phases", "coverage,fuzzing", "--header", f"Authorization: {key}"]
    examples = max(2, int(100 * min(scale, 1.0)))
    assert fuzz(examples, seed, _LONGEST, *options, keys=keys.path) == 0, f"seed {seed}"
