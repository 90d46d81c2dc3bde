"""What is made of the body and the key of `POST /jobs`."""

import time
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from nowait.jobs import ids
from nowait.jobs.retry import Retry
from server.jobs.kind import JobKind
from server.jobs.request import BadRequest, JobRequest, parse_key
from server.parameters import BadParameter
from tests.server.jobs_site import COUNT, JOBS

KIND = JobKind.of_document(JOBS[0])


def test_a_request_becomes_a_job_of_its_kind() -> None:
    body = {**COUNT, "countdown": 60, "expires": 3600.5, "retry": {"max_retries": 5.0}}
    job = JobRequest.of_body(body).job(KIND, "0193", "", "k")
    assert (job.id, job.name, job.queue, job.parameters) == ("0193", "slow_count", "queries.jobs", {"steps": 3})
    assert (job.countdown, job.eta, job.expires_in, job.expires) == (60.0, None, 3600.5, None)
    assert job.retry == Retry(max_retries=5, backoff=1.0, backoff_max=600.0)
    assert job.key == "k" and job.fingerprint is not None and len(job.fingerprint) == 32


def test_without_a_key_there_is_no_fingerprint_and_without_retry_that_of_the_kind() -> None:
    job = JobRequest.of_body(COUNT).job(KIND, "0193", "", None)
    assert (job.key, job.fingerprint, job.retry) == (None, None, KIND.retry)


def test_moments_are_utc_without_a_zone() -> None:
    request = JobRequest.of_body({**COUNT, "eta": "2026-11-25T06:00:00.5+01:00", "expires": "2026-11-26T00:00:00Z"})
    assert request.eta == datetime(2026, 11, 25, 5, 0, 0, 500_000)
    assert (request.expires_in, request.expires) == (None, datetime(2026, 11, 26))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "An object"),
        (None, "An object"),
        ({}, "name: the name of a job is expected"),
        ({"name": 5}, "name: the name of a job is expected"),
        ({**COUNT, "delay": 5}, "delay: there is no such member; there is name, parameters, countdown"),
        ({**COUNT, "x" * 5000: 5}, "there is no such member"),
        ({**COUNT, "countdown": 1, "eta": "2026-11-25T06:00:00Z"}, "countdown: it is expected without eta"),
        ({**COUNT, "countdown": -1}, "countdown: seconds from 0 to 315360000 are expected"),
        ({**COUNT, "countdown": 315_360_001}, "countdown: seconds"),
        ({**COUNT, "countdown": 10**400}, "countdown: seconds"),
        ({**COUNT, "countdown": float("inf")}, "countdown: seconds"),
        ({**COUNT, "countdown": True}, "countdown: seconds"),
        ({**COUNT, "countdown": "60"}, "countdown: seconds"),
        ({**COUNT, "eta": 60}, "eta: a date and time of RFC 3339 with a time zone"),
        ({**COUNT, "eta": "2026-11-25T06:00:00"}, "eta: a date and time"),
        ({**COUNT, "eta": "2026-02-30T06:00:00Z"}, "eta: a date and time"),
        ({**COUNT, "eta": "0001-01-01T00:00:00+01:00"}, "eta: a date and time"),
        ({**COUNT, "eta": "9999-12-31T23:59:59Z"}, "eta: a date and time"),
        ({**COUNT, "expires": True}, "expires: seconds, or a date and time"),
        ({**COUNT, "expires": -0.1}, "expires: seconds from 0"),
        ({**COUNT, "expires": "soon"}, "expires: seconds, or a date and time"),
        ({**COUNT, "retry": 3}, "retry: an object is expected"),
        ({**COUNT, "retry": {"times": 3}}, "retry.times: there is no such member; there is max_retries, backoff"),
        ({**COUNT, "retry": {"max_retries": 101}}, "retry.max_retries: an integer from 0 to 100"),
        ({**COUNT, "retry": {"max_retries": 1.5}}, "retry.max_retries: an integer"),
        ({**COUNT, "retry": {"max_retries": True}}, "retry.max_retries: an integer"),
        ({**COUNT, "retry": {"backoff": "1"}}, "retry.backoff: seconds"),
        ({**COUNT, "retry": {"backoff_max": -1}}, "retry.backoff_max: seconds"),
        ({**COUNT, "retry": {"backoff": 604_801}}, "retry.backoff: seconds from 0 to 604800 are expected"),
        ({**COUNT, "retry": {"backoff": float("nan")}}, "retry.backoff: seconds"),
        ({**COUNT, "webhook": "https://client.example/hook"}, "webhook: none is configured"),
    ],
)
def test_what_cannot_be_understood_is_refused(body: Any, reason: str) -> None:
    with pytest.raises(BadRequest) as caught:
        JobRequest.of_body(body)
    assert reason in str(caught.value) and len(str(caught.value)) < 300


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (None, "steps: it is missing"),
        ([], "An object with the parameters is expected"),
        ({"steps": 0}, "steps: 0 is less than the minimum of 1"),
        ({"steps": 1, "other": 1}, "other: there is no such parameter"),
        ({"steps": 1, "note": ["a", {"b": float("inf")}]}, "note: a number is expected"),
        ({"steps": 1, "note": [10**400]}, "note: a number is expected"),
        ({"steps": 1, "note": {"\ud800": 1}}, "note: a lone surrogate is no character"),
        ({"steps": 1, "note": nested(30)}, "note: at most 30 levels are expected"),
    ],
)
def test_parameters_that_the_kind_does_not_take_are_refused(parameters: Any, reason: str) -> None:
    with pytest.raises(BadParameter) as caught:
        JobRequest.of_body({"name": "slow_count", "parameters": parameters}).job(KIND, "0193", "", None)
    assert reason in str(caught.value)


def test_parameters_may_be_nested_as_deep_as_databases_have_it() -> None:
    note = nested(28)
    job = JobRequest.of_body({"name": "slow_count", "parameters": {"steps": 1, "note": note}}).job(KIND, "1", "", None)
    assert job.parameters["note"] == note


def test_equal_requests_have_one_fingerprint_however_they_are_written() -> None:
    one = JobRequest.of_body({"name": "slow_count", "parameters": {"steps": 1, "pause": 2}, "countdown": None})
    two = JobRequest.of_body({"parameters": {"pause": 2, "steps": 1}, "name": "slow_count"})
    assert one.fingerprint == two.fingerprint
    without = JobRequest.of_body({"name": "mail.send"})
    assert without.fingerprint == JobRequest.of_body({"name": "mail.send", "parameters": {}}).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"parameters": {"steps": 4}}, {"name": "mail.send"}, {"countdown": 0}, {"eta": "2026-11-25T06:00:00Z"},
        {"expires": 1}, {"retry": {"max_retries": 1}},
    ],
)  # fmt: skip
def test_other_requests_have_other_fingerprints(other: dict[str, Any]) -> None:
    assert JobRequest.of_body({**COUNT, **other}).fingerprint != JobRequest.of_body(COUNT).fingerprint


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("8e03978e", "8e03978e"),
        ('"a\\"b\\\\c"', 'a"b\\c'),
        ("a b", "a b"),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
    ],
)
def test_a_key_is_taken_quoted_and_bare(value: str, key: str) -> None:
    assert parse_key([value]) == key


@pytest.mark.parametrize(
    "values",
    [
        [""], ['""'], ["x" * 256], [f'"{"x" * 256}"'], ['"open'], ['"a"b"'], ["ü"], ["a\tb"], ['"\\x"'], ["a", "a"],
        ['"a "'], ["a "],
    ],
)
def test_any_other_key_is_refused(values: list[str]) -> None:
    with pytest.raises(BadRequest, match="Idempotency-Key: one of 1 to 255 printable ASCII characters is expected"):
        parse_key(values)


def test_without_the_header_there_is_no_key() -> None:
    assert parse_key([]) is None


def test_ids_are_of_version_7_and_in_the_order_of_their_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(1_700_000_000_000_000_000, 1_700_000_001_000_000_000, 1_000_000))
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    made = [ids.new_id() for _ in range(1000)]
    assert made == sorted(made) and len(set(made)) == 1000
    for each in map(UUID, made):
        assert (each.version, each.variant) == (7, "specified in RFC 4122")
    assert UUID(made[0]).int >> 80 == 1_700_000_000_000
