import json

import pytest

from nowait import errors
from server.http import problem


def leaves(cls: type[errors.BridgeError]) -> set[type[errors.BridgeError]]:
    below = cls.__subclasses__()
    return {cls} if not below else set().union(*(leaves(sub) for sub in below))


def make(cls: type[errors.BridgeError]) -> errors.BridgeError:
    secret = "SELECT secret FROM mysql://user:pw@host"
    if cls is errors.ResultTooLarge:  # its limit is data, see nowait.messages.reply
        return errors.ResultTooLarge(10, "rows")
    return errors.TaskFailed("FAILURE", secret, secret) if cls is errors.TaskFailed else cls(secret)


@pytest.mark.parametrize("cls", sorted(leaves(errors.BridgeError), key=lambda cls: cls.__name__))
def test_every_error_of_the_bridge_has_its_status_and_tells_no_secret(cls: type[errors.BridgeError]) -> None:
    answer = problem.of_bridge_error(make(cls))
    assert answer.status == cls.status
    assert (answer.status == 503) == ("Retry-After" in answer.headers)
    assert answer.type.startswith("urn:problem-type:nowait:")
    document = json.loads(answer.body("the-id"))
    assert "secret" not in json.dumps(document)
    assert (document["status"], document["request_id"]) == (cls.status, "the-id")


def test_an_error_that_is_new_to_it_is_answered_all_the_same() -> None:
    answer = problem.of_bridge_error(errors.BridgeError("text"))
    assert (answer.status, answer.headers) == (500, {})


def test_a_status_alone_is_a_problem_too() -> None:
    assert json.loads(problem.of_status(404).body("r")) == {
        "type": "about:blank", "title": "Not Found", "status": 404, "detail": "Not Found.", "request_id": "r",
    }
    assert problem.of_status(499, "why").title == "Unknown"


def test_clients_that_are_refused_together_do_not_come_again_together() -> None:
    busy = problem.of_bridge_error(errors.Overloaded("busy", retry_after=3.2))
    assert [busy.later(part)["Retry-After"] for part in (0.0, 0.5, 1.0)] == ["4", "8", "12"]
    assert problem.of_bridge_error(errors.Blocked("busy")).later(0.5) == {}
