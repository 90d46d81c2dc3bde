"""What receivers get: the message, its id, its signatures; and what is made of their answers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from nowait.jobs.retry import Retry
from nowait.jobs.table import Delivery, State
from server.jobs.document import parts
from server.jobs.model import Job
from server.webhooks.message import body, message_id
from server.webhooks.outcome import PAUSES, TIMEOUT, Outcome
from server.webhooks.signing import Signer, new_secret, parse_secrets
from tests.conftest import ROOT

NOW = datetime(2026, 11, 25, 6, tzinfo=timezone.utc)
JOB = Job(
    id="0193", owner="", name="slow_count", queue="queries.jobs", parameters={"note": "Zoë \ud800"}, retry=Retry(),
    state=State.SUCCEEDED, attempt=1, failures=0, version=7, progress=None, result='{"a": 1.50}', error=None,
    created=datetime(2026, 11, 25, 6), eta=None, expires=None, started=None, finished=datetime(2026, 11, 25, 6, 0, 1),
)  # fmt: skip


def test_the_message_has_the_end_of_the_job_and_its_document() -> None:
    message = json.loads(body(JOB, True))
    document = json.loads(b"".join(parts(JOB, True)))
    del document["worker"], document["history"]
    assert message == {"type": "job.succeeded", "timestamp": "2026-11-25T06:00:01.000000Z", "data": document}
    assert b'"result":{"a": 1.50}' in body(JOB, True)


def test_a_result_that_is_not_read_is_left_out_and_that_of_a_failed_job_is_null() -> None:
    assert "result" not in json.loads(body(replace(JOB, result=None), True))["data"]
    failed = json.loads(body(replace(JOB, state=State.FAILED, result=None), True))
    assert failed["type"] == "job.failed" and failed["data"]["result"] is None


def test_no_name_of_a_worker_is_in_a_message() -> None:
    lost = {"attempt": 1, "worker": "w@host", "started": None, "ended": None, "reason": "lost"}
    assert b"w@host" not in body(replace(JOB, state=State.FAILED, worker="w@host", history=[lost]), True)


def test_another_end_of_a_job_is_another_message() -> None:
    assert message_id(JOB) == "job_0193"
    assert message_id(replace(JOB, reopened=2)) == "job_0193_2"


def test_the_official_vector() -> None:
    signer = Signer(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    sent = datetime.fromtimestamp(1614265330, timezone(timedelta(hours=5)))
    assert signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", sent, b'{"test": 2432232314}') == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_receiver_may_have_either_of_two_secrets() -> None:
    old, new, others = new_secret(), new_secret(), new_secret()
    headers = Signer([old, new]).headers("job_1", datetime.now(timezone.utc), body(JOB, None))
    for secret in (old, new):
        assert Webhook(secret).verify(body(JOB, None), headers)["type"] == "job.succeeded"
    with pytest.raises(WebhookVerificationError):
        Webhook(others).verify(body(JOB, None), headers)


def test_the_command_prints_a_secret_that_is_taken() -> None:
    command = [sys.executable, "-m", "server.webhooks"]
    one, two = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ).stdout.strip()
        for _ in range(2)
    )
    assert one != two and parse_secrets(f"{one},{two}") == (one, two)


def test_the_pauses_are_those_of_the_specification_for_more_than_a_day() -> None:
    assert PAUSES == (5, 300, 1800, 7200, 18000, 36000, 50400)
    assert 86400 < sum(PAUSES) < 2 * 86400


@pytest.mark.parametrize(
    ("status", "attempt", "state"),
    [
        (200, 1, Delivery.DELIVERED),
        (204, 99, Delivery.DELIVERED),
        (299, 1, Delivery.DELIVERED),
        (302, 1, Delivery.PENDING),
        (400, 1, Delivery.PENDING),
        (404, 7, Delivery.PENDING),
        (500, 7, Delivery.PENDING),
        (500, 8, Delivery.FAILED),
        (410, 1, Delivery.FAILED),
    ],
)
def test_what_becomes_of_a_delivery(status: int, attempt: int, state: Delivery) -> None:
    found, pause = Outcome.of_status(status, None, NOW).verdict(attempt)
    assert found is state
    if state is Delivery.PENDING:
        assert 0.9 * PAUSES[attempt - 1] <= pause <= 1.1 * PAUSES[attempt - 1]


def test_no_answer_is_tried_again_as_well() -> None:
    assert Outcome(TIMEOUT).verdict(1)[0] is Delivery.PENDING
    assert Outcome(TIMEOUT).verdict(8)[0] is Delivery.FAILED


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (503, "120", 120.0),
        (429, "120", 120.0),
        (429, "999999999999", 86400.0),
        (503, "Wed, 25 Nov 2026 06:02:00 GMT", 120.0),
        (503, "Wed, 25 Nov 2026 05:00:00 GMT", 0.0),
        (503, "Wed, 25 Nov 2099 05:00:00 GMT", 86400.0),
        (503, "soon", None),
        (503, "Mon, 20 Nov 99999999999999999999 19:12:08 GMT", None),
        (503, "-5", None),
        (500, "120", None),
        (503, None, None),
    ],
)
def test_a_receiver_may_put_it_off(status: int, header: str | None, seconds: float | None) -> None:
    outcome = Outcome.of_status(status, header, NOW)
    assert outcome.retry_after == seconds
    assert outcome.verdict(1)[1] >= (seconds or 0.0)
