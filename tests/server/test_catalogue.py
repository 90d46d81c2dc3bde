"""What the server makes of parameters, and when it asks the workers."""

import asyncio
from typing import Any

import pytest

from nowait.errors import DeadlineExceeded, Disconnected
from server.catalogue import Catalogue
from server.jobs.kind import JobKind
from server.parameters import BadParameter
from server.query import Query
from tests.bridge.conftest import until
from tests.server.jobs_site import JOBS

SCHEMAS = {
    "flag": {"type": "integer", "minimum": 0, "maximum": 9},
    "share": {"type": "number", "multipleOf": 0.5, "default": 0},
    "name": {"type": "string", "maxLength": 5, "default": ""},
    "open": {"type": "boolean", "default": False},
    "day": {"format": "date", "type": "string", "default": "2024-01-01"},
    "since": {"format": "date-time", "type": "string", "default": "2024-01-01T00:00:00Z"},
    "key": {"format": "uuid", "type": "string", "default": "123e4567-e89b-12d3-a456-426614174000"},
}
TOLD = [
    {
        "name": "users",
        "description": "Some users.",
        "parameters": {"type": "object", "properties": SCHEMAS},
        "queue": "queries.fast",
        "repeatable": True,
    }
]


class Workers:
    """Tell their queries, when they are asked."""

    def __init__(self, told: Any = TOLD, delay: float = 0) -> None:
        self.told = told
        self.delay = delay
        self.asked = 0
        self.now = 0.0

    async def __call__(self, timeout: float) -> Any:
        self.asked += 1
        await asyncio.sleep(self.delay)
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


def catalogue_of(workers: Workers) -> Catalogue[Query]:
    return Catalogue("queries", Query.of_document, workers, lambda: workers.now)


@pytest.mark.gen_test
async def test_texts_become_values_of_the_parameters_types() -> None:
    query = await catalogue_of(Workers()).get("users", 1.0)
    assert query is not None
    given = {"flag": ["7"], "share": ["-1.5e2"], "name": ["ü"], "open": ["true"]}
    assert query.parameters.parse(given) == {"flag": 7, "share": -150.0, "name": "ü", "open": True}
    assert query.parameters.parse({"flag": ["0"]}) == {"flag": 0}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "flag: it is missing"),
        ({"flag": ["1", "2"]}, "flag: one value is expected, not 2"),
        ({"flag": ["1"], "other": ["1"]}, f"other: there is no such parameter; there is {', '.join(SCHEMAS)}"),
        ({"flag": ["10"]}, "flag: 10 is greater than the maximum of 9"),
        ({"flag": ["1.0"]}, "flag: an integer is expected"),
        ({"flag": ["1_0"]}, "flag: an integer is expected"),
        ({"flag": ["٣"]}, "flag: an integer is expected"),
        ({"flag": ["9" * 5000]}, "flag: an integer is expected"),
        ({"flag": ["1"], "share": ["nan"]}, "share: a number is expected"),
        ({"flag": ["1"], "share": ["1e999"]}, "share: a number is expected"),
        ({"flag": ["1"], "name": ["too long"]}, "name: 'too long' is too long"),
        ({"flag": ["1"], "open": ["yes"]}, "open: true or false is expected"),
        ({"flag": ["1"], "day": ["nonsense"]}, "day: 'nonsense' is not a 'date'"),
        ({"flag": ["1"], "since": ["2024-01-01 00:00:00"]}, "since: '2024-01-01 00:00:00' is not a 'date-time'"),
        ({"flag": ["1"], "key": ["1"]}, "key: '1' is not a 'uuid'"),
    ],
)
async def test_a_text_that_is_no_value_is_refused(given: dict[str, list[str]], says: str) -> None:
    query = await catalogue_of(Workers()).get("users", 1.0)
    assert query is not None
    with pytest.raises(BadParameter) as caught:
        query.parameters.parse(given)
    assert says in str(caught.value)


@pytest.mark.gen_test
async def test_many_callers_fetch_once_and_the_list_is_kept() -> None:
    workers = Workers(delay=0.05)
    catalogue = catalogue_of(workers)
    found = await asyncio.gather(*(catalogue.get("users", 5.0) for _ in range(20)))
    assert [query.name for query in found if query] == ["users"] * 20
    assert await catalogue.get("nobody", 5.0) is None
    assert workers.asked == 1


@pytest.mark.gen_test
async def test_an_old_list_is_served_at_once_and_fetched_again_in_the_background() -> None:
    workers = Workers()
    catalogue = catalogue_of(workers)
    assert await catalogue.get("users", 5.0) is not None
    workers.now, workers.delay, workers.told = 61.0, 0.05, []
    # No wait is needed, and none is possible.
    assert catalogue.known("users") is not None
    assert len(await catalogue.all(0.0)) == 1
    await until(lambda: catalogue.known("users") is None)
    assert workers.asked == 2


@pytest.mark.gen_test
async def test_a_list_is_served_for_as_long_as_no_newer_one_can_be_had() -> None:
    workers = Workers()
    catalogue = catalogue_of(workers)
    await catalogue.all(5.0)
    workers.told = Disconnected("away")
    for now in (61.0, 62.0, 64.0, 600.0):
        workers.now = now
        assert catalogue.known("users") is not None
        await asyncio.sleep(0.01)
        assert len(await catalogue.all(0.0)) == 1
    assert workers.asked == 4  # not again within two seconds of one that failed


@pytest.mark.gen_test
async def test_a_list_that_cannot_be_had_is_not_fetched_for_each_one_who_does_not_wait() -> None:
    workers = Workers(told=Disconnected("away"))
    catalogue = catalogue_of(workers)
    for now in (0.0, 0.0, 1.9, 2.0, 2.1):
        workers.now = now
        assert catalogue.known("users") is None
        await asyncio.sleep(0.01)
    assert workers.asked == 2


@pytest.mark.gen_test
async def test_a_list_that_is_none_is_an_error_and_not_kept() -> None:
    workers = Workers(told=[{"name": "users"}])
    catalogue = catalogue_of(workers)
    with pytest.raises(KeyError):
        await catalogue.all(5.0)
    workers.told = TOLD
    assert len(await catalogue.all(5.0)) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "unusable", [{"queue": "q" * 101}, {"queue": "\U0001f422" * 30}, {"queue": ""}, {"queue": "\ud800"},
                 {"name": "n" * 101}, {"retry": {"max_retries": 101}}, {"retry": {"backoff": "1"}}],
)  # fmt: skip
async def test_a_job_that_no_row_could_hold_is_left_out_and_no_other(
    unusable: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    workers = Workers(told=[{**JOBS[0], **unusable}, JOBS[1]])
    kinds = Catalogue("jobs", JobKind.of_document, workers, lambda: workers.now)
    assert [kind.name for kind in await kinds.all(5.0)] == ["mail.send"]
    assert "one of the jobs is left out" in caplog.text


@pytest.mark.gen_test
async def test_a_new_query_is_known_soon() -> None:
    workers = Workers(told=[])
    catalogue = catalogue_of(workers)
    assert await catalogue.get("users", 5.0) is None
    workers.told, workers.now = TOLD, 3.0
    assert await catalogue.get("users", 5.0) is not None


@pytest.mark.gen_test
async def test_a_caller_with_little_time_gives_up_and_the_next_gets_the_answer() -> None:
    workers = Workers(delay=0.3)
    catalogue = catalogue_of(workers)
    with pytest.raises(DeadlineExceeded):
        await catalogue.all(0.01)
    assert len(await catalogue.all(5.0)) == 1
    assert workers.asked == 1


@pytest.mark.gen_test
async def test_a_failure_that_nobody_waits_for_any_more_is_no_matter() -> None:
    workers = Workers(told=Disconnected("away"), delay=0.05)
    with pytest.raises(DeadlineExceeded):
        await catalogue_of(workers).all(0.001)
    await asyncio.sleep(0.2)  # the loop of the test fails it for an exception that is lost


@pytest.mark.gen_test
async def test_a_failure_is_told_and_not_kept() -> None:
    workers = Workers(told=Disconnected("away"))
    catalogue = catalogue_of(workers)
    for _ in range(2):
        with pytest.raises(Disconnected):
            await catalogue.all(5.0)
    assert workers.asked == 2


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "An object with the parameters is expected"),
        ({"flag": "7"}, "flag: '7' is not of type 'integer'"),
        ({"flag": 1, "name": "\ud800"}, "name: a lone surrogate is no character"),
        ({"flag": 10}, "flag: 10 is greater than the maximum of 9"),
        ({"flag": 1, "other": 1}, "other: there is no such parameter"),
        ({"flag": 1, "share": float("inf")}, "share: a number is expected"),
        ({"flag": 1, "share": float("nan")}, "share: a number is expected"),
        ({"flag": 1, "share": 10**400}, "share: a number is expected"),
        ({"name": "x"}, "flag: it is missing"),
        ({"flag": 1, "day": 20240101}, "day: 20240101 is not of type 'string'"),
    ],
)
async def test_json_values_are_checked_by_the_same_schemas(values: Any, reason: str) -> None:
    query = await catalogue_of(Workers()).get("users", 1.0)
    assert query is not None
    with pytest.raises(BadParameter) as caught:
        query.parameters.check(values)
    assert reason in str(caught.value)
    assert query.parameters.check({"flag": 7, "open": True}) == {"flag": 7, "open": True}
