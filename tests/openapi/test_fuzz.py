"""Whatever is sent, the server answers as its document has it."""

import random

from tests.openapi.conftest import Fuzz


def test_every_answer_is_as_the_document_has_it(fuzz: Fuzz) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    done = fuzz(30, seed, 600)
    assert done.returncode == 0, done.stdout
