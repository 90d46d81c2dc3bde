"""Whatever is sent, the server answers as its document has it."""

import random

import pytest

from tests.openapi.conftest import Fuzz

_LONGEST = 3 * 3600.0  # seconds


@pytest.mark.timeout(_LONGEST)
def test_every_answer_is_as_the_document_has_it(fuzz: Fuzz, scale: float) -> None:
    seed = random.randrange(2**32)
    assert fuzz(max(20, int(2000 * min(scale, 1.0))), seed, _LONGEST) == 0, f"seed {seed}"
