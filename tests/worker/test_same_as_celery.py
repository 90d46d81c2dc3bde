"""What Celery documents for its workers stays true with Nowait's consumer: a table; each line is run with both.

A line is what a user sees, stated, and the function that looks. It is run with Celery's own consumer and with
nowait.worker:Consumer; what each of them shows has to be what is stated.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple
from uuid import uuid4

import amqp
import pytest
from celery import group
from celery.canvas import StampingVisitor
from celery.events.state import State
from celery.exceptions import TimeoutError
from celery.result import AsyncResult

from tests.conftest import Start
from tests.worker.queues import DEAD, IMPORTANT, QUEUE, RAW
from tests.worker.side import HOSTNAME, Side, eventually

CELERYS = "celery.worker.consumer:Consumer"
OURS = "nowait.worker:Consumer"
# The workers that each line is run with. Where the signal of an arrival has a receiver, tasks take Celery's way through
# Nowait's consumer, too; elsewhere its own.
SIDES: dict[str, dict[str, Any]] = {
    "Celery's": {"test_consumer": CELERYS, "events": True, "arrivals": True},
    "ours, Celery's way": {"test_consumer": OURS, "events": True, "arrivals": True},
    "ours, with Results": {"test_consumer": OURS, "events": True, "test_backend": "nowait.worker:Results"},
}
ARRIVALS = [name for name, settings in SIDES.items() if settings.get("arrivals")]
# The options of the workers, and how many tasks they run at a time; twice as many more are fetched.
POOLS = {"threads": (["-P", "threads", "-c", "2"], 2), "solo": (["-P", "solo"], 1)}
THREADS, SOLO, BOTH = ("threads",), ("solo",), ("threads", "solo")

Scenario = Callable[[Side], Any]


class Line(NamedTuple):
    """A line of a table: what is to be seen of each side, the function that looks, and the pools."""

    sees: dict[str, Any]
    scenario: Scenario
    pools: tuple[str, ...]


TABLE: list[Line] = []
DIFFERENT: list[Line] = []  # what differs on purpose


def line(
    sees: Any, pools: tuple[str, ...] = THREADS, sides: Iterable[str] = SIDES
) -> Callable[[Scenario], Scenario]:
    """A line of the table: what is to be seen of these sides, with these pools."""

    def add(scenario: Scenario) -> Scenario:
        TABLE.append(Line(dict.fromkeys(sides, sees), scenario, pools))
        return scenario

    return add


def arrivals(sees: Any, pools: tuple[str, ...] = THREADS) -> Callable[[Scenario], Scenario]:
    """A line of the table about those with a receiver for the signal of an arrival."""
    return line(sees, pools, ARRIVALS)


def differs(celerys: Any, ours: Any, results: Any) -> Callable[[Scenario], Scenario]:
    """A line of what differs on purpose: what is to be seen of each side, with the pool threads."""

    def add(scenario: Scenario) -> Scenario:
        DIFFERENT.append(Line(dict(zip(SIDES, (celerys, ours, results), strict=True)), scenario, THREADS))
        return scenario

    return add


def fields(note: dict[str, Any]) -> dict[str, Any]:
    """What a note holds besides its kind and its task."""
    return {name: value for name, value in note.items() if name not in ("kind", "id")}


@contextmanager
def holding(side: Side, count: int, gate: str = "") -> Iterator[list["AsyncResult[Any]"]]:
    """So many tasks run for as long as the block lasts; their ids are the gate's name with a number."""
    gate = gate or uuid4().hex
    results = [side.send("hold", gate, task_id=f"{gate}-{number}") for number in range(count)]
    try:
        for result in results:
            side.noted(result.id, "run")
        yield results
    finally:
        side.release(gate)
        for result in results:
            result.get(timeout=30)


def one_at_a_time(side: Side) -> AbstractContextManager[Any]:
    """For as long as the block lasts the tasks run one after the other."""
    return holding(side, side.threads - 1)


def by_thread(entries: list[Any]) -> dict[str, Any]:
    """Notes' kinds, events or log lines, apart: what the worker does, and what its pool does at the same time."""
    arrived = [entry for entry in entries if "received" in (entry["type"] if isinstance(entry, dict) else entry)]
    return {"arrived": arrived, "ran": [entry for entry in entries if entry not in arrived]}


# Results and states.


@line(("SUCCESS", 5), BOTH)
def a_result(side: Side) -> Any:
    return side.outcome(side.send("add", 2, 3))


@line(("FAILURE", "LookupError('a reason', 5)"), BOTH)
def an_exception(side: Side) -> Any:
    return side.outcome(side.send("fail", "a reason", 5))


@line([("PROGRESS", {"step": 0}), ("PROGRESS", {"step": 1}), ("SUCCESS", 2)], BOTH)
def states_of_the_tasks_own(side: Side) -> Any:
    return side.states(side.send("progress", 2))


@line([("STARTED", {"pid": True, "hostname": HOSTNAME}), ("SUCCESS", 1)], BOTH)
def the_state_of_a_tracked_task(side: Side) -> Any:
    (state, meta), *others = side.states(side.send("tracked"))
    return [(state, {**meta, "pid": meta["pid"] == side.process.pid}), *others]


@line({"replies": [], "runs": 1}, BOTH)
def a_task_whose_result_is_ignored_by_itself(side: Side) -> Any:
    side.send("ignored", task_id="ignored")
    side.noted("ignored", "postrun")
    return {"replies": side.replies("ignored"), "runs": len(side.notes("ignored", "run"))}


@line({"replies": [], "get": None}, BOTH)
def a_task_whose_result_is_ignored_by_its_caller(side: Side) -> Any:
    result = side.send("add", 1, 2, task_id="ignored-by-caller", ignore_result=True)
    side.noted("ignored-by-caller", "postrun")
    return {"replies": side.replies("ignored-by-caller"), "get": result.get(timeout=1)}


@line({"replies": [], "kinds": ["prerun", "run", "postrun"]}, BOTH)
def a_task_that_raises_ignore(side: Side) -> Any:
    side.send("ignore", task_id="ignore")
    return {"kinds": side.kinds("ignore", "postrun"), "replies": side.replies("ignore")}


@line([("OWN", {"own": 1})], BOTH)
def a_task_that_raises_ignore_after_a_state_of_its_own(side: Side) -> Any:
    side.send("ignore_with_state", task_id="ignore-own")
    side.noted("ignore-own", "postrun")
    return side.replies("ignore-own")


@line(("FAILURE", True), BOTH)
def a_result_that_cannot_be_sent(side: Side) -> Any:
    state, error = side.outcome(side.send("not_serializable"))
    return state, "not JSON serializable" in error


@line(("SUCCESS", "in time"), BOTH)
def time_limits_that_the_pool_does_not_know(side: Side) -> Any:
    return side.outcome(side.send("slow"))


@line(("SUCCESS", 0.3))
def time_limits_of_the_caller_that_the_pool_does_not_know(side: Side) -> Any:
    return side.outcome(side.send("sleep", 0.3, time_limit=0.1, soft_time_limit=0.1))


# What a task knows of itself.


def of_itself(side: Side, *args: Any, **options: Any) -> dict[str, Any]:
    """What a task knows of itself, without what differs in each run."""
    known: dict[str, Any] = side.send("request", *args, **options).get(timeout=30)
    return {
        **known,
        "reply_to": known["reply_to"] == side.app.thread_oid,
        "origin": "@" in known["origin"],
        "properties": sorted(known["properties"]),
        "stamps": known["stamps"] or None,
        "stamped_headers": known["stamped_headers"] or None,
    }


@line(
    {
        "id": "request", "task": "test.request", "args": [1, "a"], "kwargs": {"b": 2}, "retries": 0,
        "hostname": HOSTNAME,
        "delivery_info": {"exchange": "", "routing_key": QUEUE, "priority": 0, "redelivered": False},
        "correlation_id": "request", "reply_to": True, "root_id": "request", "parent_id": None, "expires": None,
        "eta": None, "timelimit": [None, None], "group": None, "group_index": None, "shadow": None, "origin": True,
        "lang": "py", "argsrepr": "(1, 'a')", "kwargsrepr": "{'b': 2}", "ignore_result": None, "is_eager": False,
        "called_directly": False, "headers": None, "stamps": None, "stamped_headers": None, "callbacks": None,
        "errbacks": None, "chain": None, "chord": None, "utc": None, "own": "missing", "replaced_task_nesting": 0,
        "properties": [
            "application_headers", "content_encoding", "content_type", "correlation_id", "delivery_mode", "priority",
            "reply_to",
        ],
    },
    BOTH,
)  # fmt: skip
def what_a_task_knows_of_itself(side: Side) -> Any:
    return of_itself(side, 1, "a", kwargs={"b": 2}, task_id="request")


@line(
    {
        "expires": True, "timelimit": [9, 8], "priority": 3, "shadow": "other", "group": "g", "group_index": 1,
        "root_id": "r", "parent_id": "p", "retries": 3, "argsrepr": "(…)", "own": {"a": [1, None, "ü"]},
        "headers": {"own": {"a": [1, None, "ü"]}},
    }
)  # fmt: skip
def what_a_task_knows_of_its_callers_options(side: Side) -> Any:
    known = of_itself(
        side, 1, task_id="options", expires=60, time_limit=9, soft_time_limit=8, priority=3, shadow="other",
        group_id="g", group_index=1, root_id="r", parent_id="p", retries=3, argsrepr="(…)",
        headers={"own": {"a": [1, None, "ü"]}},
    )  # fmt: skip
    names = "timelimit shadow group group_index root_id parent_id retries argsrepr own headers".split()
    return {
        "expires": known["expires"] is not None,
        "priority": known["delivery_info"]["priority"],
        **{name: known[name] for name in names},
    }


@line({"root_id": "parent", "parent_id": "parent"})
def a_task_that_a_task_has_sent(side: Side) -> Any:
    side.send("parent", "child", task_id="parent")
    [note] = side.noted("child", "family")
    return fields(note)


# Signals, and what they carry.


@line(["prerun", "success", "postrun"], BOTH)
def signals_of_a_success(side: Side) -> Any:
    side.send("add", 2, 3, task_id="signals-success")
    return side.kinds("signals-success", "postrun")


@line(["prerun", "failure", "postrun"], BOTH)
def signals_of_a_failure(side: Side) -> Any:
    side.send("fail", task_id="signals-failure")
    return side.kinds("signals-failure", "postrun")


@line(["prerun", "run", "retry", "postrun", "prerun", "run", "success", "postrun"], BOTH)
def signals_of_a_retry(side: Side) -> Any:
    with one_at_a_time(side):
        side.send("retry", 1, task_id="signals-retry")
        return side.kinds("signals-retry", "postrun", 2)


@line(
    {
        "prerun": {"sender": "test.fail", "task": "test.fail", "args": ["a"], "kwargs": {}},
        "failure": {
            "sender": "test.fail", "exception": "LookupError('a')", "args": ["a"], "kwargs": {}, "type": "LookupError",
        },
        "postrun": {"task": "test.fail", "args": ["a"], "kwargs": {}, "retval": "LookupError('a')", "state": "FAILURE"},
    },
)  # fmt: skip
def what_signals_carry(side: Side) -> Any:
    side.send("fail", "a", task_id="signals")
    side.noted("signals", "postrun")
    return {note["kind"]: fields(note) for note in side.notes("signals") if note["kind"] != "received"}


@arrivals(
    {
        "name": "test.add", "args": [1, 2], "kwargs": {}, "hostname": HOSTNAME, "root_id": "arrival",
        "correlation_id": "arrival", "argsrepr": "(1, 2)",
        "delivery_info": {"exchange": "", "routing_key": QUEUE, "priority": 0, "redelivered": False},
    },
    BOTH,
)  # fmt: skip
def the_signal_of_an_arrival(side: Side) -> Any:
    side.send("add", 1, 2, task_id="arrival")
    [note] = side.noted("arrival", "received")
    return fields(note)


@arrivals({"before it arrives": [], "while it waits": ["received"]})
def arrivals_of_tasks_that_are_revoked(side: Side) -> Any:
    side.control("revoke", task_id="arrival-revoked")
    side.send("add", 1, 2, task_id="arrival-revoked")
    side.send("add", 1, 2, task_id="arrival-expired", countdown=1.2, expires=1)
    seen = {"before it arrives": "arrival-revoked", "while it waits": "arrival-expired"}
    for task_id in seen.values():
        side.noted(task_id, "revoked")
    return {
        when: [note["kind"] for note in side.notes(task_id) if note["kind"] != "revoked"]
        for when, task_id in seen.items()
    }


@line({"sender": "test.retry", "reason": "Retry in 0s: LookupError('again')"})
def what_the_signal_of_a_retry_carries(side: Side) -> Any:
    side.send("retry", 1, task_id="signal-retry")
    [note] = side.noted("signal-retry", "retry")
    return fields(note)


@line(["worker_init", "worker_ready"], BOTH)
def signals_of_a_workers_start(side: Side) -> Any:
    return [note["kind"] for note in side.notes() if note["kind"].startswith("worker_")]


# Retries.


@line([("RETRY", "LookupError('again')"), ("RETRY", "LookupError('again')"), ("SUCCESS", 2)], BOTH)
def states_of_a_task_that_is_tried_again(side: Side) -> Any:
    with one_at_a_time(side):
        return side.states(side.send("retry", 2))


@line({"states": ["RETRY", "RETRY", "FAILURE"], "error": "LookupError('again')", "retries": [0, 1, 2]}, BOTH)
def more_retries_than_a_task_may_have(side: Side) -> Any:
    with one_at_a_time(side):
        states = side.states(side.send("retry", 5, task_id="exhausted"))
    runs = side.notes("exhausted", "run")
    return {
        "states": [state for state, _ in states], "error": states[-1][1], "retries": [run["retries"] for run in runs],
    }  # fmt: skip


@line([(0, False), (1, True)])
def a_retry_with_a_countdown(side: Side) -> Any:
    side.outcome(side.send("retry", 1, 0.2, task_id="retry-countdown"))
    return [(run["retries"], run["eta"]) for run in side.notes("retry-countdown", "run")]


@line({"states": ["RETRY", "FAILURE"], "retries": [0, 1], "backoff": True})
def a_task_that_is_tried_again_by_its_exceptions(side: Side) -> Any:
    states = side.states(side.send("autoretry", task_id="autoretry"))
    first, second = side.notes("autoretry", "run")
    return {
        "states": [state for state, _ in states],
        "retries": [first["retries"], second["retries"]],
        "backoff": second["at"] - first["at"] > 0.99,
    }


# Acknowledgements.


@line({"state": "FAILURE", "runs": 1, "in the queue": 0}, BOTH)
def a_failure_that_is_acknowledged_late(side: Side) -> Any:
    state, _ = side.outcome(side.send("fail_late", task_id="fail-late"))
    side.settle()
    return {"state": state, "runs": len(side.notes("fail-late", "run")), "in the queue": side.waiting()}


@line({"state": "FAILURE", "letter": "unacknowledged", "reason": "rejected"}, BOTH)
def a_failure_that_is_not_acknowledged(side: Side) -> Any:
    state, _ = side.outcome(side.send("fail_unacknowledged", task_id="unacknowledged"))
    _, letter = side.letter()
    return {"state": state, "letter": letter.headers["id"], "reason": letter.headers["x-death"][0]["reason"]}


@line({"outcome": ("SUCCESS", "now"), "redelivered": [False, True]}, BOTH)
def a_task_that_rejects_its_message_to_its_queue(side: Side) -> Any:
    outcome = side.outcome(side.send("reject", True, task_id="requeued"))
    return {"outcome": outcome, "redelivered": [run["redelivered"] for run in side.notes("requeued", "run")]}


@line({"outcome": ("FAILURE", "reject requeue=False: no"), "letter": "rejected", "reason": "rejected", "runs": 1}, BOTH)
def a_task_that_rejects_its_message_for_good(side: Side) -> Any:
    state, error = side.outcome(side.send("reject", False, task_id="rejected"))
    _, letter = side.letter()
    return {
        "outcome": (state, error), "letter": letter.headers["id"],
        "reason": letter.headers["x-death"][0]["reason"], "runs": len(side.notes("rejected", "run")),
    }  # fmt: skip


# Moments.


@line({"early": False, "outcome": ("SUCCESS", None)}, BOTH)
def a_task_with_a_countdown(side: Side) -> Any:
    eta = time.time() + 0.3
    outcome = side.outcome(side.send("note", task_id="countdown", countdown=0.3))
    [run] = side.notes("countdown", "run")
    return {"early": run["at"] < eta, "outcome": outcome}


@line(
    {
        "outcome": ("REVOKED", "TaskRevokedError('expired')"), "kinds": ["revoked"],
        "signal": {"sender": "test.note", "terminated": False, "signum": None, "expired": True},
        "log": "[INFO/MainProcess] Discarding revoked task: test.note[expired]",
    }
)  # fmt: skip
def a_task_that_has_expired(side: Side) -> Any:
    outcome = side.outcome(side.send("note", task_id="expired", countdown=1.2, expires=1))
    [signal] = side.noted("expired", "revoked")
    return {
        "outcome": outcome, "kinds": side.kinds("expired", "revoked"), "signal": fields(signal),
        "log": side.log("[expired]", "Discarding")[-1],
    }  # fmt: skip


# Revocation.


@line(
    {
        "answer": {"ok": "tasks {'revoked'} flagged as revoked"}, "inspected": True,
        "outcome": ("REVOKED", "TaskRevokedError('revoked')"), "kinds": ["revoked"],
        "signal": {"sender": "test.note", "terminated": False, "signum": None, "expired": False},
    },
    BOTH,
)  # fmt: skip
def a_task_that_is_revoked_before_it_arrives(side: Side) -> Any:
    answer = side.control("revoke", task_id="revoked")
    outcome = side.outcome(side.send("note", task_id="revoked"))
    [signal] = side.noted("revoked", "revoked")
    return {
        "answer": answer, "inspected": "revoked" in side.inspect("revoked"), "outcome": outcome,
        "kinds": side.kinds("revoked", "revoked"), "signal": fields(signal),
    }  # fmt: skip


@line({"outcome": ("REVOKED", "TaskRevokedError('revoked')"), "kinds": ["revoked"]})
def a_task_that_is_revoked_while_it_waits_for_its_moment(side: Side) -> Any:
    result = side.send("note", task_id="revoked-eta", countdown=2)
    side.arrived("revoked-eta")
    side.control("revoke", task_id="revoked-eta")
    return {"outcome": side.outcome(result), "kinds": side.kinds("revoked-eta", "revoked")}


@line({"answer": {"error": True}, "outcome": "SUCCESS"})
def a_running_task_that_is_to_be_terminated(side: Side) -> Any:
    with holding(side, 1) as [result]:
        answer = side.control("revoke", task_id=result.id, terminate=True)
    state, _ = side.outcome(result)
    return {"answer": {key: "does not implement kill_job" in value for key, value in answer.items()}, "outcome": state}


@line({"answer": True, "outcome": ("REVOKED", "TaskRevokedError('revoked')"), "unmarked": "SUCCESS"})
def tasks_that_are_revoked_by_their_stamps(side: Side) -> Any:
    answer = side.control("revoke_by_stamped_headers", headers={"owner": "me"})
    stamped = side.app.signature("test.add", (1, 2))
    stamped.stamp(owner="me")
    other = side.app.signature("test.add", (1, 2))
    other.stamp(owner="you")
    return {
        "answer": "flagged as revoked" in answer["ok"],
        "outcome": side.outcome(stamped.apply_async()),
        "unmarked": side.outcome(other.apply_async())[0],
    }


# Events.


def told(side: Side, task_id: str, last: str | None) -> list[dict[str, Any]]:
    """The events of a task, without what differs in each run."""
    volatile = ("timestamp", "local_received", "clock", "pid", "utcoffset", "uuid", "hostname")
    found = []
    for event in side.events(task_id, last):
        assert event["hostname"] == HOSTNAME and event["pid"] == side.process.pid
        kept = {name: value for name, value in event.items() if name not in volatile}
        for name in {"runtime", "traceback", "eta", "expires"} & set(kept):
            kept[name] = None if kept[name] is None else type(kept[name]).__name__
        found.append(kept)
    return found


def received_event(name: str, **changed: Any) -> dict[str, Any]:
    """The event of a task that has arrived."""
    event = dict(type="task-received", name=name, args="()", kwargs="{}", parent_id=None, retries=0, eta=None)
    return {**event, "expires": None, **changed}


@line(
    [
        received_event("test.add", root_id="told-success", args="(2, 3)", expires="str"),
        {"type": "task-started"},
        {"type": "task-succeeded", "result": "5", "runtime": "float"},
    ],
    BOTH,
)
def events_of_a_success(side: Side) -> Any:
    side.send("add", 2, 3, task_id="told-success", expires=60)
    return told(side, "told-success", "task-succeeded")


@line(
    [
        received_event("test.fail", root_id="told-failure", args="('a',)"),
        {"type": "task-started"},
        {"type": "task-failed", "exception": "LookupError('a')", "traceback": "str"},
    ],
    BOTH,
)
def events_of_a_failure(side: Side) -> Any:
    side.send("fail", "a", task_id="told-failure")
    return told(side, "told-failure", "task-failed")


@line(
    {
        "arrived": [
            received_event("test.retry", root_id="told-retry", args="(1, 0.1)"),
            received_event(
                "test.retry", root_id="told-retry", args="(1, 0.1)", retries=1, parent_id="told-retry", eta="str"
            ),
        ],
        "ran": [
            {"type": "task-started"},
            {"type": "task-retried", "exception": "Retry(Retry(...), LookupError('again'), 0.1)", "traceback": "str"},
            {"type": "task-started"},
            {"type": "task-succeeded", "result": "1", "runtime": "float"},
        ],
    }
)  # fmt: skip
def events_of_a_retry(side: Side) -> Any:
    with one_at_a_time(side):
        side.send("retry", 1, 0.1, task_id="told-retry")
        return by_thread(told(side, "told-retry", "task-succeeded"))


@line(
    {
        "arrived": [received_event("test.reject", root_id="told-reject", args="(True,)")] * 2,
        "ran": [
            {"type": "task-started"},
            {"type": "task-rejected", "requeue": True},
            {"type": "task-started"},
            {"type": "task-succeeded", "result": "'now'", "runtime": "float"},
        ],
    }
)
def events_of_a_rejection(side: Side) -> Any:
    with one_at_a_time(side):
        side.send("reject", True, task_id="told-reject")
        return by_thread(told(side, "told-reject", "task-succeeded"))


@line([{"type": "task-revoked", "terminated": False, "signum": None, "expired": False}])
def events_of_a_revocation(side: Side) -> Any:
    side.control("revoke", task_id="told-revoked")
    side.send("add", 1, 2, task_id="told-revoked")
    return told(side, "told-revoked", "task-revoked")


@line([])
def events_of_a_task_that_sends_none(side: Side) -> Any:
    side.send("quiet", task_id="quiet")
    side.noted("quiet", "postrun")
    side.send("add", 1, 2, task_id="after-quiet")
    told(side, "after-quiet", "task-succeeded")
    return side.events("quiet")


@line(
    {
        "name": "test.add", "state": "SUCCESS", "args": "(2, 3)", "kwargs": "{}", "result": "5", "worker": HOSTNAME,
        "root_id": "flower", "order": True, "alive": True,
    }
)  # fmt: skip
def a_task_as_a_monitor_reads_it(side: Side) -> Any:
    side.send("add", 2, 3, task_id="flower")
    side.events("flower", "task-succeeded")
    state: Any = State()
    for event in side.events():
        state.event({**event, "local_received": event["timestamp"]})
    task = state.tasks["flower"]
    names = ("name", "state", "args", "kwargs", "result", "root_id")
    return {
        **{name: getattr(task, name) for name in names}, "worker": task.worker.hostname,
        "order": task.received <= task.started <= task.succeeded, "alive": task.worker.alive,
    }  # fmt: skip


@line(
    {
        "online": {"freq", "sw_ident", "sw_ver", "sw_sys", "active", "processed", "loadavg"},
        "heartbeat": {"freq", "sw_ident", "sw_ver", "sw_sys", "active", "processed", "loadavg"},
        "freq": 2.0, "sw_ident": "py-celery",
    }
)  # fmt: skip
def events_of_a_worker(side: Side) -> Any:
    common = {"type", "timestamp", "clock", "pid", "utcoffset", "hostname"}
    beats = [event for event in side.events(None, "worker-heartbeat") if event["type"] == "worker-heartbeat"]
    [online] = [event for event in side.events() if event["type"] == "worker-online"]
    return {
        "online": set(online) - common, "heartbeat": set(beats[0]) - common, "freq": beats[0]["freq"],
        "sw_ident": beats[0]["sw_ident"],
    }  # fmt: skip


# What is logged.


@line(
    [
        "[INFO/MainProcess] Task test.add[log-success] received",
        "[INFO/MainProcess] Task test.add[log-success] succeeded in …s: 5",
    ],
    BOTH,
)
def log_lines_of_a_success(side: Side) -> Any:
    side.send("add", 2, 3, task_id="log-success")
    return side.log("[log-success]", "succeeded")


@line(
    [
        "[INFO/MainProcess] Task test.fail[log-failure] received",
        "[ERROR/MainProcess] Task test.fail[log-failure] raised unexpected: LookupError('a')",
    ],
    BOTH,
)
def log_lines_of_a_failure(side: Side) -> Any:
    side.send("fail", "a", task_id="log-failure")
    return side.log("[log-failure]", "raised")


@line(
    {
        "arrived": ["[INFO/MainProcess] Task test.retry[log-retry] received"] * 2,
        "ran": [
            "[INFO/MainProcess] Task test.retry[log-retry] retry: Retry in 0s: LookupError('again')",
            "[INFO/MainProcess] Task test.retry[log-retry] succeeded in …s: 1",
        ],
    }
)
def log_lines_of_a_retry(side: Side) -> Any:
    with one_at_a_time(side):
        side.send("retry", 1, task_id="log-retry")
        return by_thread(side.log("[log-retry]", "succeeded"))


@line(
    [
        "[INFO/MainProcess] Task test.ignore[log-ignore] received",
        "[INFO/MainProcess] Task test.ignore[log-ignore] ignored",
    ]
)
def log_lines_of_a_task_that_raises_ignore(side: Side) -> Any:
    side.send("ignore", task_id="log-ignore")
    return side.log("[log-ignore]", "ignored")


@line(
    [
        "[INFO/MainProcess] Task test.reject[log-reject] received",
        "[WARNING/MainProcess] Task test.reject[log-reject] reject requeue=True: no",
        "[INFO/MainProcess] Task test.reject[log-reject] received",
        "[INFO/MainProcess] Task test.reject[log-reject] succeeded in …s: 'now'",
    ]
)
def log_lines_of_a_task_that_rejects_its_message(side: Side) -> Any:
    side.send("reject", True, task_id="log-reject")
    return side.log("[log-reject]", "succeeded")


@line(
    [
        "[INFO/MainProcess] Task other[log-shadow] received",
        "[INFO/MainProcess] Task other[log-shadow] succeeded in …s: 5",
    ]
)
def log_lines_of_a_task_with_another_name(side: Side) -> Any:
    side.send("add", 2, 3, task_id="log-shadow", shadow="other")
    return side.log("[log-shadow]", "succeeded")


@line("[WARNING/MainProcess] test.log[log-own]: a text")
def a_log_line_of_the_tasks_own(side: Side) -> Any:
    side.send("log", "a text", task_id="log-own")
    return side.log("[log-own]: ", "a text")[0]


# Inspection.


def info(answer: dict[str, Any], side: Side) -> dict[str, Any]:
    """A request as it is shown, without what differs in each run."""
    return {
        **answer,
        "time_start": answer["time_start"] is not None and abs(answer["time_start"] - time.time()) < 600,
        "worker_pid": answer["worker_pid"] == side.process.pid,
    }


def shown(task_id: str, name: str, *args: Any, running: bool = False) -> dict[str, Any]:
    """A request, as it is to be shown."""
    return {
        "id": task_id, "name": name, "type": name, "args": list(args), "kwargs": {}, "hostname": HOSTNAME,
        "acknowledged": running, "time_start": running, "worker_pid": running,
        "delivery_info": {"exchange": "", "routing_key": QUEUE, "priority": 0, "redelivered": False},
    }  # fmt: skip


@line({"ok": "pong"}, BOTH)
def a_ping(side: Side) -> Any:
    return side.inspect("ping")


@line(
    {
        "active": [shown("active-0", "test.hold", "active", running=True)] * 2,
        "reserved": [shown("reserved", "test.add", 1, 2)],
        "queried": {
            "active-0": ["active", shown("active-0", "test.hold", "active", running=True)],
            "reserved": ["reserved", shown("reserved", "test.add", 1, 2)],
        },
        "afterwards": ([], [], {}),
    }
)
def tasks_that_run_and_wait(side: Side) -> Any:
    with holding(side, 2, "active"):
        result = side.send("add", 1, 2, task_id="reserved")
        side.arrived("reserved")
        active = [{**info(shown, side), "id": "active-0"} for shown in side.inspect("active")]
        reserved = [info(shown, side) for shown in side.inspect("reserved")]
        queried = side.inspect("query_task", "active-0", "reserved", "nobody")
    result.get(timeout=30)
    side.noted("active-1", "postrun")
    side.noted("active-0", "postrun")
    eventually(lambda: not side.inspect("active"))
    return {
        "active": active, "reserved": reserved,
        "queried": {key: [state, info(shown, side)] for key, (state, shown) in queried.items()},
        "afterwards": (side.inspect("active"), side.inspect("reserved"), side.inspect("query_task", "reserved")),
    }  # fmt: skip


@line(
    {
        "scheduled": {"eta": True, "priority": 6, "request": shown("scheduled", "test.add", 1, 2)},
        "queried": ["scheduled", shown("scheduled", "test.add", 1, 2)],
    },
    BOTH,
)
def a_task_that_waits_for_its_moment(side: Side) -> Any:
    side.send("add", 1, 2, task_id="scheduled", countdown=600)
    side.arrived("scheduled")
    eventually(lambda: side.inspect("scheduled"))
    [entry] = [entry for entry in side.inspect("scheduled") if entry["request"]["id"] == "scheduled"]
    state, queried = side.inspect("query_task", "scheduled")["scheduled"]
    return {
        "scheduled": {**entry, "eta": entry["eta"].startswith("20"), "request": info(entry["request"], side)},
        "queried": [state, info(queried, side)],
    }


@line({"names": True, "rate limit": True}, BOTH)
def tasks_that_a_worker_has(side: Side) -> Any:
    return {
        "names": {"test.add [acks_late=False]", "test.hold_late [acks_late=True]"}
        <= set(side.inspect("registered", "acks_late")),
        "rate limit": "test.limited [rate_limit=4/s]" in side.inspect("registered", "rate_limit"),
    }


@line(
    {
        "keys": {"total", "pid", "clock", "uptime", "pool", "broker", "prefetch_count", "rusage"},
        "total": 2, "pid": True, "prefetch_count": 4,
        "pool": {"implementation": "celery.concurrency.thread:TaskPool", "max-concurrency": 2, "threads": 2},
        "broker": {"transport": "amqp", "hostname": "127.0.0.1", "userid": "guest"},
    }
)  # fmt: skip
def statistics_of_a_worker(side: Side) -> Any:
    with holding(side, 2):  # a thread is started for the first task that needs it
        pass
    side.outcome(side.send("tracked"))
    before = side.inspect("stats")
    side.outcome(side.send("tracked"))
    side.outcome(side.send("tracked"))
    after = side.inspect("stats")
    return {
        "keys": set(after),
        "total": after["total"]["test.tracked"] - before["total"]["test.tracked"],
        "pid": after["pid"] == side.process.pid,
        # A task that waits for its moment takes the place of no other.
        "prefetch_count": after["prefetch_count"] - len(side.inspect("scheduled")),
        "pool": after["pool"],
        "broker": {name: after["broker"][name] for name in ("transport", "hostname", "userid")},
    }


@line({"implementation": "celery.concurrency.solo:TaskPool", "max-concurrency": 1, "processes": True}, SOLO)
def statistics_of_the_pool_solo(side: Side) -> Any:
    pool = side.inspect("stats")["pool"]
    return {
        "implementation": pool["implementation"], "max-concurrency": pool["max-concurrency"],
        "processes": pool["processes"] == [side.process.pid],
    }  # fmt: skip


@line(
    {
        "name": QUEUE, "routing_key": QUEUE, "durable": True, "exclusive": False, "auto_delete": False, "no_ack": False,
        "queue_arguments": {"x-queue-type": "classic", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD},
    },
    BOTH,
)  # fmt: skip
def queues_of_a_worker(side: Side) -> Any:
    [queue] = [queue for queue in side.inspect("active_queues") if queue["name"] == QUEUE]
    names = "name routing_key durable exclusive auto_delete no_ack queue_arguments".split()
    return {name: queue[name] for name in names}


@line({"report": True, "conf": (QUEUE, 2), "clock": {"clock"}}, BOTH)
def the_settings_of_a_worker(side: Side) -> Any:
    conf = side.inspect("conf")
    return {
        "report": side.inspect("report")["ok"].lstrip().startswith("software -> celery"),
        "conf": (conf["task_default_queue"], conf["worker_prefetch_multiplier"]),
        "clock": set(side.inspect("clock")),
    }


# Remote control.


@line(
    {
        "answers": [{"ok": "add consumer promises.added"}, {"ok": "no longer consuming from promises.added"}],
        "outcome": ("SUCCESS", 3), "consumed": [True, False], "left": 1,
        "log": ["Started consuming from promises.added", "Canceling queue promises.added"],
    },
    BOTH,
)  # fmt: skip
def a_queue_that_is_consumed_for_a_while(side: Side) -> Any:
    queue = "promises.added"

    def consumed() -> bool:
        return queue in {consumed["name"] for consumed in side.inspect("active_queues")}

    added = side.control("add_consumer", queue=queue)
    outcome = side.outcome(side.send("add", 1, 2, queue=queue))
    before = consumed()
    cancelled = side.control("cancel_consumer", queue=queue)
    eventually(lambda: not consumed())
    side.settle()
    side.send("add", 1, 2, queue=queue, ignore_result=True)
    return {
        "answers": [added, cancelled], "outcome": outcome, "consumed": [before, consumed()],
        "left": eventually(lambda: side.waiting(queue)),
        "log": [line.split("] ")[1] for line in side.log(queue) if "consuming" in line or "Canceling" in line],
    }  # fmt: skip


@line([9, 5, 3, 0])
def priorities(side: Side) -> Any:
    results = [
        side.send("note", number, queue=IMPORTANT, priority=number, task_id=f"priority-{number}")
        for number in (0, 5, 9, 3)
    ]
    eventually(lambda: side.waiting(IMPORTANT) == 4)
    side.control("add_consumer", queue=IMPORTANT)
    for result in results:
        side.outcome(result)
    side.control("cancel_consumer", queue=IMPORTANT)
    return [int(number) for number in side.arrivals("priority-")]


@line({"grow": True, "shrink": True, "autoscale": {"error": "ValueError('Autoscale not enabled')"}, "restart": True})
def pools_that_do_not_change(side: Side) -> Any:
    return {
        "grow": "has no attribute 'grow'" in side.control("pool_grow", n=1)["error"],
        "shrink": "has no attribute 'shrink'" in side.control("pool_shrink", n=1)["error"],
        "autoscale": side.control("autoscale", max=3, min=1),
        "restart": "not enabled" in side.control("pool_restart")["error"],
    }


@line(
    [
        {"ok": "new rate limit set successfully"}, {"ok": "rate limit disabled successfully"},
        {"error": "unknown task"}, {"error": True}, {"ok": "time limits set successfully"}, {"error": "unknown task"},
    ],
    BOTH,
)  # fmt: skip
def answers_to_new_limits(side: Side) -> Any:
    [key] = wrong = side.control("rate_limit", task_name="test.add", rate_limit="often")
    return [
        side.control("rate_limit", task_name="test.add", rate_limit="100/s"),
        side.control("rate_limit", task_name="test.add", rate_limit=0),
        side.control("rate_limit", task_name="test.nobody", rate_limit=0),
        {key: wrong[key].startswith("Invalid rate limit string")},
        side.control("time_limit", task_name="test.sleep", soft=60.0, hard=120.0),
        side.control("time_limit", task_name="test.nobody", soft=1.0, hard=2.0),
    ]


@line({"slow": True, "runs": 4})
def a_task_with_a_rate_limit(side: Side) -> Any:
    runs = sorted(result.get(timeout=30) for result in [side.send("limited") for _ in range(4)])
    return {"slow": runs[-1] - runs[0] > 0.7, "runs": len(runs)}


@line({"slow": True})
def a_rate_limit_that_is_set_from_afar(side: Side) -> Any:
    side.control("rate_limit", task_name="test.note", rate_limit="5/s")
    for result in [side.send("note", task_id=f"rate-{number}") for number in range(3)]:
        side.outcome(result)
    side.control("rate_limit", task_name="test.note", rate_limit=0)
    runs = [note["at"] for note in side.notes(kind="run") if note["id"].startswith("rate-")]
    return {"slow": max(runs) - min(runs) > 0.35}


@line([{"ok": "task events already enabled"}, {"ok": "task events already disabled"}])
def events_that_are_on_by_an_option(side: Side) -> Any:
    return [side.control("enable_events"), side.control("disable_events")]


# What an application may add.


@line({"accepted": QUEUE, "failed": "LookupError('own')"})
def a_request_of_the_applications_own_that_fails(side: Side) -> Any:
    side.outcome(side.send("own_request", True, task_id="own-request-fails"))
    [accepted] = side.noted("own-request-fails", "accepted")
    [failed] = side.noted("own-request-fails", "failed")
    return {"accepted": accepted["delivery"], "failed": failed["exception"]}


@line({"strategy": "test.own_strategy", "outcome": ("SUCCESS", "own")})
def a_strategy_of_the_applications_own(side: Side) -> Any:
    outcome = side.outcome(side.send("own_strategy", task_id="own-strategy"))
    return {"strategy": side.notes("own-strategy", "strategy")[0]["task"], "outcome": outcome}


@line(
    {
        "success": ["before_start", "on_success", "after_return"],
        "failure": ["before_start", "on_failure", "after_return"],
        "retry": ["before_start", "on_retry", "before_start", "on_failure", "after_return"],
    },
    BOTH,
)
def methods_of_a_task_that_are_called(side: Side) -> Any:
    seen = {}
    for how in ("success", "failure", "retry"):
        with one_at_a_time(side):
            side.send("hooked", how, task_id=f"hooked-{how}")
            kinds = side.kinds(f"hooked-{how}", "after_return")
        seen[how] = [kind for kind in kinds if "_" in kind]
    return seen


@line(
    {
        "found": [
            "app", "controller", "hostname", "pool", "timer", "hub", "qos", "connection", "task_consumer",
            "event_dispatcher", "strategies",
        ],
        "timer": 1,
    },
    BOTH,
)  # fmt: skip
def a_step_of_the_applications_own(side: Side) -> Any:
    [started] = side.notes(kind="step started")
    return {"found": started["found"], "timer": len(side.noted(None, "step's timer"))}


@line({"id": "raw", "text": "ü"}, BOTH)
def a_consumer_of_other_messages(side: Side) -> Any:
    body = json.dumps({"id": "raw", "text": "ü"}).encode()
    side.publish(amqp.Message(body, content_type="application/json", content_encoding="utf-8"), RAW)
    return side.noted("raw", "raw")[0]["body"]


@line(
    {
        "answers": [{"ok": "prefetch count incremented"}, {"ok": "prefetch count decremented"}],
        "counts": [4, 5, 4], "left": [1, 0],
    }
)  # fmt: skip
def commands_of_the_applications_own(side: Side) -> Any:
    def count() -> int:
        # Without those for a later time, which may come while one counts.
        while True:
            later = len(side.inspect("scheduled"))
            found = int(side.inspect_own("current_prefetch_count")["prefetch_count"])
            if len(side.inspect("scheduled")) == later:
                return found - later

    counts = [count()]
    with holding(side, 2):
        results = [side.send("add", number, 1) for number in range(5)]
        eventually(lambda: len(side.inspect("reserved")) == 4 and side.waiting() == 1)
        left = [side.waiting()]
        answers = [side.control("increase_prefetch_count", n=1)]
        eventually(lambda: len(side.inspect("reserved")) == 5)
        counts.append(count())
        left.append(side.waiting())
        answers.append(side.control("decrease_prefetch_count", n=1))
        counts.append(count())
    for result in results:
        side.outcome(result)
    return {"answers": answers, "counts": counts, "left": left}


# Fetching.


@line({"active": 2, "reserved": 4, "left": 1})
def messages_that_are_fetched(side: Side) -> Any:
    with holding(side, 2):
        results = [side.send("add", number, 1) for number in range(5)]
        eventually(lambda: len(side.inspect("reserved")) == 4 and side.waiting() == 1)
        seen = {
            "active": len(side.inspect("active")), "reserved": len(side.inspect("reserved")), "left": side.waiting(),
        }  # fmt: skip
    for result in results:
        side.outcome(result)
    return seen


@line({"order": list(range(20)), "outcomes": {"SUCCESS"}}, BOTH)
def the_order_of_many(side: Side) -> Any:
    results = [side.send("note", number, task_id=f"many-{number}") for number in range(20)]
    outcomes = {side.outcome(result)[0] for result in results}
    return {"order": [int(number) for number in side.arrivals("many-")], "outcomes": outcomes}


# Tasks that name other tasks.


@line(("SUCCESS", 10), BOTH)
def a_chain(side: Side) -> Any:
    add = side.app.signature
    return side.outcome((add("test.add", (1, 2)) | add("test.add", (3,)) | add("test.add", (4,))).apply_async())


@line([3, 5, 7])
def a_group(side: Side) -> Any:
    members = [side.app.signature("test.add", (number, number + 1)) for number in (1, 2, 3)]
    return group(members, app=side.app).apply_async().get(timeout=30)


@line({"linked": [5], "errors": True})
def callbacks_and_errbacks(side: Side) -> Any:
    signature = side.app.signature
    side.send("add", 2, 3, link=signature("test.note", task_id="linked"))
    errback = signature("test.note", ("an error",), task_id="errback", immutable=True)
    side.send("fail", task_id="failing", link_error=errback)
    [linked] = side.noted("linked", "run")
    return {"linked": linked["args"], "errors": len(side.noted("errback", "run")) == 1}


@line({"run": [1, 2], "log": {"arrived": ["received"] * 2, "ran": ["ignored", "succeeded in …s: None"]}})
def a_task_that_another_one_takes_the_place_of(side: Side) -> Any:
    with one_at_a_time(side):
        side.send("replace", 1, 2, task_id="replaced")
        [run] = side.noted("replaced", "run")
        log = [line.partition("[replaced] ")[2] for line in side.log("[replaced]", "succeeded")]
    return {"run": run["args"], "log": by_thread(log)}


@line({"stamps": {"maker": ["me"]}, "stamped_headers": ["maker"]}, BOTH)
def stamps_of_a_task(side: Side) -> Any:
    signature = side.app.signature("test.request")
    signature.stamp(maker=["me"])
    known = signature.apply_async().get(timeout=30)
    return {name: known[name] for name in ("stamps", "stamped_headers")}


@line({"second": {"trace": ["abc"]}})
def stamps_of_a_chain(side: Side) -> Any:
    class Trace(StampingVisitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"trace": ["abc"], "stamped_headers": ["trace"]}

    chained = side.app.signature("test.add", (1, 2)) | side.app.signature("test.request")
    chained.stamp(Trace())
    return {"second": chained.apply_async().get(timeout=30)["stamps"]}


# Messages that are not run.


@line({"ready": True, "state": "FAILURE"}, BOTH)
def a_caller_that_waits_for_a_task_that_the_worker_lacks(side: Side) -> Any:
    result = side.send("nobody", task_id="nobody")
    side.letter()
    side.settle()
    with suppress(TimeoutError):
        result.get(timeout=1, propagate=False)
    return {"ready": result.ready(), "state": result.state}


@line(["test.nobody"])
def the_signal_of_a_task_that_the_worker_lacks(side: Side) -> Any:
    side.send("nobody", task_id="signal-nobody")
    side.letter()
    side.settle()
    return [note["name"] for note in side.notes("signal-nobody", "unknown")]


@line([{"type": "task-failed", "exception": "NotRegistered('test.nobody')"}])
def the_event_of_a_task_that_the_worker_lacks(side: Side) -> Any:
    side.send("nobody", task_id="event-nobody")
    side.letter()
    side.send("add", 1, 2, task_id="after-nobody")
    told(side, "after-nobody", "task-succeeded")
    return told(side, "event-nobody", None)


@line(["no task", "pickled"])
def signals_of_messages_that_are_no_tasks(side: Side) -> Any:
    side.publish(foreign("no task", {}), QUEUE)
    side.letter()
    pickled = foreign("pickled", {"task": "test.add"}, content_type="application/x-python-serialize")
    side.publish(pickled, QUEUE)
    side.letter()
    side.settle()
    return [note["id"] for note in side.notes(kind="rejected") if note["id"] in ("no task", "pickled")]


def foreign(message_id: str, headers: dict[str, Any], content_type: str = "application/json") -> amqp.Message:
    """A message that is no task."""
    return amqp.Message(
        b"[[], {}, {}]", content_type=content_type, content_encoding="utf-8",
        application_headers={"id": message_id, **headers},
    )  # fmt: skip


# What differs on purpose.


@differs(
    {"queue": DEAD, "reason": None, "reply": ("FAILURE", "NotRegistered"), "log": "Received unregistered task of type"},
    *[
        {
            "queue": "queries.dead", "reason": "there is no task 'test.nobody'", "reply": ("FAILURE", "NotRegistered"),
            "log": "message rejected: there is no task 'test.nobody'",
        }
    ] * 2,
)  # fmt: skip
def a_task_that_the_worker_lacks(side: Side) -> Any:
    side.send("nobody", task_id="lacking")
    queue, letter = side.letter()
    [(state, error)] = side.replies("lacking")
    log = [line.partition("] ")[2] for line in side.log("unregistered task") + side.log("message rejected")]
    return {
        "queue": queue, "reason": letter.headers.get("x-rejected"), "reply": (state, error["exc_type"]),
        "log": next(line.removesuffix(" 'test.nobody'.") for line in log if "nobody" in line),
    }  # fmt: skip


@differs(DEAD, "queries.dead", "queries.dead")
def the_queue_of_messages_that_are_no_tasks(side: Side) -> Any:
    side.publish(foreign("letter", {}), QUEUE)
    return side.letter()[0]


@differs("str", "str", "NoneType")
def the_traceback_that_a_caller_gets(side: Side) -> Any:
    result = side.send("fail")
    side.outcome(result)
    return type(result.traceback).__name__


@differs(
    *[{"error": "EncodeError", "last": "failure"}] * 2,
    {"error": "ResultNotSerializable", "last": "success"},
)
def a_result_that_is_no_json(side: Side) -> Any:
    result = side.send("not_serializable", task_id="no-json")
    [_, last, _] = side.kinds("no-json", "postrun")
    return {"error": type(result.get(timeout=30, propagate=False)).__name__, "last": last}


# Whether it is revoked is looked up as it begins; Celery has handed it to its pool by then.
@differs(*[{"outcome": "SUCCESS", "runs": 1}] * 2, {"outcome": "REVOKED", "runs": 0})
def a_task_that_is_revoked_while_it_waits_for_a_thread(side: Side) -> Any:
    with holding(side, 2):
        result = side.send("note", task_id="revoked-waiting")
        side.arrived("revoked-waiting")
        side.control("revoke", task_id="revoked-waiting")
    state, _ = side.outcome(result)
    return {"outcome": state, "runs": len(side.notes("revoked-waiting", "run"))}


@differs(["mingle: searching for neighbors", "mingle: all alone"], [], [])
def workers_that_greet_each_other(side: Side) -> Any:
    return [line.partition("] ")[2] for line in side.log("mingle: ")]


@pytest.fixture(scope="module")
def sides(new_vhosts: Iterator[str], start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The workers of a pool, `sides(pool)`: started once, and all at a time."""
    started: dict[str, dict[str, Side]] = {}
    new_folder = tmp_path_factory.mktemp

    def sides(pool: str) -> dict[str, Side]:
        if pool not in started:
            options, threads = POOLS[pool]
            started[pool] = {
                name: Side(start, next(new_vhosts), new_folder("side"), *options, threads=threads, **settings)
                for name, settings in SIDES.items()
            }
        return {name: side.ready() for name, side in started[pool].items()}

    yield sides
    for side in [side for pool in started.values() for side in pool.values()]:
        side.close()


Sides = Callable[[str], dict[str, Side]]


def seen(row: Line, sides: dict[str, Side]) -> dict[str, Any]:
    """What each side shows, or the exception with which the function ended."""
    futures = {name: sides[name].do(row.scenario) for name in row.sees}
    return {name: future.exception() or future.result() for name, future in futures.items()}


@pytest.mark.parametrize(
    ("pool", "row"),
    [pytest.param(pool, row, id=f"{pool}-{row.scenario.__name__}") for row in TABLE for pool in row.pools],
)
def test_a_worker_keeps_celerys_promises(pool: str, row: Line, sides: Sides) -> None:
    assert seen(row, sides(pool)) == row.sees


@pytest.mark.parametrize("row", [pytest.param(row, id=row.scenario.__name__) for row in DIFFERENT])
def test_a_worker_differs_on_purpose(row: Line, sides: Sides) -> None:
    assert seen(row, sides("threads")) == row.sees
